// Package shop is the demo: a shop of four services in one program.
//
// In: a role and switches (slow, failing). Out: an HTTP or gRPC server in that role, and an admin port.
// It keeps nothing but memory, and never trusts what a client sends beyond its length.
package shop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Ports that every role listens on, in both families.
const (
	HTTPAddress  = ":8080"
	GRPCAddress  = ":50051"
	AdminAddress = ":9000"
)

// Roles of the program.
const (
	Front     = "front"
	Catalogue = "catalogue"
	Cart      = "cart"
	Payments  = "payments"
)

// Config says what one process is.
type Config struct {
	Role string
	// Pod and Node are shown in every answer, so that balancing can be seen.
	Pod, Node string
	// Slow and Fail are the switches' first positions: a delay, and an HTTP status or zero.
	Slow time.Duration
	Fail int
}

// Run serves until ctx ends.
func Run(ctx context.Context, c Config, log *slog.Logger) error {
	switches := NewSwitches(c.Slow, c.Fail)
	handler, err := roleHandler(c)
	if err != nil {
		return err
	}
	admin := http.NewServeMux()
	admin.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	admin.Handle("/switch", switches)
	failed := make(chan error, 2)
	go func() { failed <- serveHTTP(ctx, AdminAddress, admin) }()
	go func() {
		if c.Role == Payments {
			failed <- servePayments(ctx, c, switches)
			return
		}
		failed <- serveHTTP(ctx, HTTPAddress, label(c, switches.Wrap(handler)))
	}()
	log.Info("serving", "role", c.Role, "pod", c.Pod, "node", c.Node)
	return errors.Join(<-failed, <-failed)
}

func roleHandler(c Config) (http.Handler, error) {
	switch c.Role {
	case Front:
		return newFront(c)
	case Catalogue:
		return newCatalogue(), nil
	case Cart:
		return newCart(), nil
	case Payments:
		return http.NotFoundHandler(), nil // speaks gRPC only
	default:
		return nil, fmt.Errorf("unknown role %q: use %s, %s, %s or %s", c.Role, Front, Catalogue, Cart, Payments)
	}
}

// label says in every answer who gave it.
func label(c Config, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Served-By", c.Role+" "+c.Pod+" "+c.Node)
		next.ServeHTTP(w, r)
	})
}

func serveHTTP(ctx context.Context, address string, handler http.Handler) error {
	server := &http.Server{Addr: address, Handler: handler, ReadHeaderTimeout: 5 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx }}
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(grace) // what is still open after the grace dies with the process
	})
	defer stop()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP on %s: %w", address, err)
	}
	return nil
}

func writeJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value) // a client that hung up needs no answer
}
