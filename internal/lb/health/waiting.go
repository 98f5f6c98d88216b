package health

import (
	"context"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"
)

// bindPause is how often a port that another program has is tried again.
const bindPause = 2 * time.Second

// Waiting is an HTTP server for a port that another program may still have, as
// kube-proxy while Fairlead takes its place.
type Waiting struct {
	// What names in words what is served, for Describe and the log.
	What string
	// Address is HOST:PORT; an empty host means all addresses of the node.
	Address string
	Handler http.Handler
	Log     *slog.Logger

	problem atomic.Pointer[string]
}

// Describe says in words what keeps the server from answering, if anything.
func (s *Waiting) Describe() []string {
	if problem := s.problem.Load(); problem != nil {
		return []string{s.What + " not served: " + *problem}
	}
	return nil
}

// Run serves until ctx ends. A port that another program has is tried again
// until it is free.
func (s *Waiting) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		listener, err := listenOn(ctx, "tcp", s.Address)
		if err == nil {
			s.problem.Store(nil)
			s.Log.Info("serving", "what", s.What, "address", listener.Addr().String())
			server := newServer(listener, s.Handler, s.Log)
			select {
			case <-ctx.Done():
			case <-server.done:
			}
			server.close()
			continue
		}
		problem := err.Error()
		if old := s.problem.Swap(&problem); old == nil || *old != problem {
			s.Log.Warn("not serving yet, trying again", "what", s.What, "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(bindPause):
		}
	}
	return nil
}
