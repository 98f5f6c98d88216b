package health

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// bindPause is how often a port that another program has is tried again.
const bindPause = 2 * time.Second

// HealthzConfig is what a Healthz is made with.
type HealthzConfig struct {
	// Address is HOST:PORT; an empty host means all addresses of the node.
	Address string
	// Healthy tells whether the proxy does its work, and when it last applied a
	// change; the zero time stands for never.
	Healthy func() (healthy bool, lastUpdated time.Time)
	// Eligible is false while the node is about to be removed.
	Eligible func() bool
	Log      *slog.Logger
}

// Healthz answers how the proxy of this node is. /healthz is what load balancers
// of externalTrafficPolicy: Cluster ask, and says no on a node that is about to
// be removed, so that it gets no new connections; /livez is for whoever would
// restart the proxy, which would help nothing there (KEP-3836).
type Healthz struct {
	config         HealthzConfig
	healthz, livez *prometheus.CounterVec
	problem        atomic.Pointer[string]
}

// NewHealthz returns a server that Run starts.
func NewHealthz(config HealthzConfig) *Healthz {
	count := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"code"})
	}
	return &Healthz{
		config:  config,
		healthz: count("kubeproxy_proxy_healthz_total", "Answers of /healthz by HTTP status."),
		livez:   count("kubeproxy_proxy_livez_total", "Answers of /livez by HTTP status."),
	}
}

// Metrics returns the counters of answers.
func (h *Healthz) Metrics() []prometheus.Collector { return []prometheus.Collector{h.healthz, h.livez} }

// Describe says in words what keeps the server from answering, if anything.
func (h *Healthz) Describe() []string {
	if problem := h.problem.Load(); problem != nil {
		return []string{"the proxy's health is not answered: " + *problem}
	}
	return nil
}

// Run serves until ctx ends. A port that another program has is tried again
// until it is free: kube-proxy may still run while Fairlead takes its place.
func (h *Healthz) Run(ctx context.Context) error {
	log := h.config.Log.With("component", "healthz")
	for ctx.Err() == nil {
		listener, err := listenOn(ctx, "tcp", h.config.Address)
		if err == nil {
			h.problem.Store(nil)
			log.Info("answers how the proxy is", "address", listener.Addr().String())
			s := newServer(listener, h.handler(), log)
			select {
			case <-ctx.Done():
			case <-s.done:
			}
			s.close()
			continue
		}
		problem := err.Error()
		if old := h.problem.Swap(&problem); old == nil || *old != problem {
			log.Error("nobody can ask how the proxy is, trying again", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(bindPause):
		}
	}
	return nil
}

// body has the fields of kube-proxy 1.37, without those per IP family: one plane
// serves both.
type body struct {
	LastUpdated  time.Time `json:"lastUpdated"`
	CurrentTime  time.Time `json:"currentTime"`
	NodeEligible *bool     `json:"nodeEligible,omitempty"`
	Healthy      bool      `json:"healthy"`
}

func (h *Healthz) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/healthz", h.HealthzHandler())
	mux.Handle("/livez", h.LivezHandler())
	return mux
}

// HealthzHandler answers /healthz, for a process that has a server of its own at
// the port where it is asked.
func (h *Healthz) HealthzHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		eligible := h.config.Eligible()
		b := h.body()
		b.NodeEligible = &eligible
		count(h.healthz, send(w, b, b.Healthy && eligible))
	})
}

// LivezHandler answers /livez.
func (h *Healthz) LivezHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		b := h.body()
		count(h.livez, send(w, b, b.Healthy))
	})
}

func (h *Healthz) body() body {
	healthy, updated := h.config.Healthy()
	return body{LastUpdated: updated, CurrentTime: time.Now(), Healthy: healthy}
}

// send answers. While all is well lastUpdated is the present, however long ago
// the last change was: there are tools that take an old one for a failure.
func send(w http.ResponseWriter, b body, well bool) int {
	if well {
		b.LastUpdated = b.CurrentTime
	}
	return reply(w, well, b)
}

func count(answers *prometheus.CounterVec, status int) {
	answers.WithLabelValues(strconv.Itoa(status)).Inc()
}
