package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/fairlead-net/fairlead/internal/lb/health"
	"github.com/fairlead-net/fairlead/internal/lb/kubeproxy"
)

// own returns the mux of this process's own address, Options.HTTP.
func (a *Agent) own() *http.ServeMux {
	if a.ownMux == nil {
		a.ownMux = http.NewServeMux()
	}
	return a.ownMux
}

// serveHTTP serves health, metrics and status until ctx ends.
func (a *Agent) serveHTTP(ctx context.Context) error {
	mux := a.own()
	// For whoever would restart a process that hangs. /livez of a node process is
	// kube-proxy's, and says no until Services are served: a restart would not help.
	mux.HandleFunc("GET /alive", alive)
	ready := func(w http.ResponseWriter, _ *http.Request) {
		if reason := a.ready(); reason != "" {
			http.Error(w, reason, http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	}
	mux.HandleFunc("GET /readyz", ready)
	if a.healthz != nil {
		mux.Handle("GET /healthz", a.healthz.HealthzHandler())
		mux.Handle("GET /livez", a.healthz.LivezHandler())
		mux.HandleFunc("GET /trace", a.serveTrace)
	} else {
		mux.HandleFunc("GET /livez", alive)
		mux.HandleFunc("GET /healthz", ready)
	}
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(a.Status()); err != nil {
			a.log.Debug("status not sent", "error", err)
		}
	})
	if a.dnsTop != nil {
		mux.Handle("GET /dns/top", a.dnsTop)
	}
	mux.Handle("GET /metrics", a.metrics())
	return serveMux(ctx, a.options.HTTP, mux)
}

func alive(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") }

func (a *Agent) metrics() http.Handler {
	return promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// serveAsKubeProxy adds what kube-proxy serves at its own ports, which load
// balancers, dashboards and the tests of Kubernetes ask.
func (a *Agent) serveAsKubeProxy() {
	c := a.options.Config.LB
	metrics := http.NewServeMux()
	metrics.HandleFunc("GET /healthz", alive)
	metrics.HandleFunc("GET /proxyMode", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		fmt.Fprint(w, a.proxyMode)
	})
	metrics.Handle("GET /metrics", a.metrics())
	named := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Server", kubeproxy.Server) // as cleanup --kube-proxy asks who has the port
		metrics.ServeHTTP(w, r)
	})
	a.wait("kube-proxy's /metrics and /proxyMode (lb.metricsBindAddress)", c.MetricsBindAddress, named)
	healthz := http.NewServeMux()
	healthz.Handle("GET /healthz", a.healthz.HealthzHandler())
	healthz.Handle("GET /livez", a.healthz.LivezHandler())
	if !covers(a.options.HTTP, c.HealthzBindAddress) {
		a.wait("kube-proxy's /healthz and /livez (lb.healthzBindAddress)", c.HealthzBindAddress, healthz)
	}
}

// covers tells whether a server at HOST:PORT, of which an empty host means all
// addresses, answers at an address too.
func covers(server string, at netip.AddrPort) bool {
	host, port, err := net.SplitHostPort(server)
	if err != nil || port != strconv.Itoa(int(at.Port())) {
		return false
	}
	address, err := netip.ParseAddr(host)
	switch all := at.Addr() == netip.IPv6Unspecified(); {
	case host == "" || address == netip.IPv6Unspecified():
		return true // Go listens for both families there
	case err != nil || all:
		return false
	}
	return address == at.Addr() || address == netip.IPv4Unspecified() && at.Addr().Is4()
}

// wait serves at an address as soon as nobody else does.
func (a *Agent) wait(what string, at netip.AddrPort, handler http.Handler) {
	if !at.IsValid() {
		return
	}
	port := &health.Waiting{What: what, Address: at.String(), Handler: handler, Log: a.log}
	a.proxyPorts = append(a.proxyPorts, port)
	a.services = append(a.services, port.Run)
}

// serveMux serves until ctx ends. Everything that a peer controls is limited.
func serveMux(ctx context.Context, address string, handler http.Handler) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("health and metrics: %w; is another process on this port? (set another with --http)", err)
	}
	server := &http.Server{
		Handler: handler, ReadTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 8 << 10,
	}
	stopped := context.AfterFunc(ctx, func() {
		deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = server.Shutdown(deadline) // what is still open after a second is cut
	})
	defer stopped()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
