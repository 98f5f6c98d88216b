package server

import (
	"fmt"
	"net/http"
	"strings"
)

// Ready reports whether clients should be sent here, and if not, why.
func (p *Plane) Ready() (bool, []string) {
	var reasons []string
	if !p.started.Load() {
		reasons = append(reasons, "the sockets are not bound yet")
	}
	if !p.live.Load().table.Synced {
		reasons = append(reasons, "the objects of the cluster have not all arrived yet")
	}
	if p.closing.Load() {
		reasons = append(reasons, "the server is closing")
	}
	return len(reasons) == 0, reasons
}

// ReadyHandler answers /ready: 200 and "OK", or 503 and the reasons.
func (p *Plane) ReadyHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		ready, reasons := p.Ready()
		if !ready {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintln(w, strings.Join(reasons, "\n"))
			return
		}
		fmt.Fprint(w, "OK")
	})
}

// HealthHandler answers /health: 200 and "OK" as long as the process can
// answer at all. A server that waits for the cluster, or closes, is healthy: a
// restart would not help it.
func (p *Plane) HealthHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "OK") })
}
