package health

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// HealthzConfig is what a Healthz is made with.
type HealthzConfig struct {
	// Healthy tells whether the proxy does its work, and when it last applied a
	// change; the zero time stands for never.
	Healthy func() (healthy bool, lastUpdated time.Time)
	// Eligible is false while the node is about to be removed.
	Eligible func() bool
}

// Healthz answers how the proxy of this node is. /healthz is what load balancers
// of externalTrafficPolicy: Cluster ask, and says no on a node that is about to
// be removed, so that it gets no new connections; /livez is for whoever would
// restart the proxy, which would help nothing there (KEP-3836).
type Healthz struct {
	config         HealthzConfig
	healthz, livez *prometheus.CounterVec
}

// NewHealthz returns the handlers, for whoever serves HTTP at kube-proxy's port.
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

// body has the fields of kube-proxy 1.37 (pkg/proxy/healthcheck).
type body struct {
	LastUpdated  time.Time `json:"lastUpdated"`
	CurrentTime  time.Time `json:"currentTime"`
	NodeEligible *bool     `json:"nodeEligible,omitempty"`
	Healthy      bool      `json:"healthy"`
	// Status says it for each IP family, once there was an update. One plane
	// serves both here, so they say the same.
	Status map[string]familyHealth `json:"status,omitempty"`
}

type familyHealth struct {
	LastUpdated time.Time `json:"lastUpdated"`
	Healthy     bool      `json:"healthy"`
}

// HealthzHandler answers /healthz.
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
	b := body{LastUpdated: updated, CurrentTime: time.Now(), Healthy: healthy}
	if !updated.IsZero() {
		family := familyHealth{updated, healthy}
		b.Status = map[string]familyHealth{"IPv4": family, "IPv6": family}
	}
	return b
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
