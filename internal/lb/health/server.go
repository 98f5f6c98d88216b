package health

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The most that a peer may take. Who asks whether a node works asks little, and
// asks again.
const (
	maxConnections = 64 // per listener
	maxHeader      = 8 << 10
	requestTime    = 5 * time.Second
)

// server is an HTTP server on one listener.
type server struct {
	http  *http.Server
	done  chan struct{}
	ended atomic.Bool
}

// newServer serves until close is called. Every connection serves one request:
// kept ones would fill the few places.
func newServer(listener net.Listener, handler http.Handler, log *slog.Logger) *server {
	s := &server{done: make(chan struct{}), http: &http.Server{
		Handler: handler, ReadTimeout: requestTime, WriteTimeout: requestTime, MaxHeaderBytes: maxHeader,
		// Else "OPTIONS *" is answered with 200 whatever the handler would say.
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}
	s.http.SetKeepAlivesEnabled(false)
	go func() {
		defer close(s.done)
		err := s.http.Serve(&crowded{Listener: listener})
		s.ended.Store(true)
		if !errors.Is(err, http.ErrServerClosed) {
			log.Error("health checks are not answered any more", "address", listener.Addr().String(), "error", err)
		}
	}()
	return s
}

// alive tells whether the server still accepts connections.
func (s *server) alive() bool { return !s.ended.Load() }

// close cuts all connections and returns when the listener is closed.
func (s *server) close() {
	_ = s.http.Close() // the listener goes, whatever a connection says
	<-s.done
}

// listen opens a port on one address, or, for the unspecified IPv6 address, on
// all of both families. Errors say what to do.
func listen(ctx context.Context, at netip.AddrPort) (net.Listener, error) {
	network, address := "tcp6", at.String()
	switch {
	case at.Addr() == netip.IPv6Unspecified():
		// Without a host, Go takes what families the kernel has.
		network, address = "tcp", fmt.Sprintf(":%d", at.Port())
	case at.Addr().Is4():
		network = "tcp4"
	}
	return listenOn(ctx, network, address)
}

func listenOn(ctx context.Context, network, address string) (net.Listener, error) {
	listener, err := (&net.ListenConfig{Control: reusePort}).Listen(ctx, network, address)
	if err == nil {
		return listener, nil
	}
	advice := "this is tried again"
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		advice = "another program listens on this port of the node; stop it, kube-proxy for one, or free the port"
	case errors.Is(err, unix.EADDRNOTAVAIL):
		advice = "the node has no such address, or not yet"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		advice = "ports below 1024 need the capability NET_BIND_SERVICE"
	}
	return nil, fmt.Errorf("cannot listen on %s: %s: %w", address, advice, err)
}

// reusePort lets the next version of the program listen before this one ends.
func reusePort(_, _ string, raw syscall.RawConn) error {
	var failure error
	err := raw.Control(func(fd uintptr) {
		failure = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	})
	return errors.Join(err, failure)
}
