package forward

import (
	"time"

	wire "github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// proxyName is the value that dashboards for CoreDNS select by.
const proxyName = "forward"

// metrics are those of CoreDNS's forward and cache plugins, by their names.
type metrics struct {
	forwarder     *Forwarder
	duration      *prometheus.HistogramVec
	probeFailures *prometheus.CounterVec
	rejects       prometheus.Counter
	broken        prometheus.Counter
	hits          *prometheus.CounterVec
	misses        *prometheus.CounterVec
	lookups       *prometheus.CounterVec
	entries       *prometheus.GaugeVec
}

// The labels of cache metrics: one server, all zones, no view.
const (
	labelServer = "dns://:53"
	labelZones  = "."
	labelView   = ""
)

func newMetrics(f *Forwarder) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	vector := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	return &metrics{
		forwarder: f,
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "coredns_proxy_request_duration_seconds", Help: "Time that an upstream took to reply.",
			Buckets: prometheus.ExponentialBuckets(0.00025, 2, 16),
		}, []string{"proxy_name", "to", "rcode"}),
		probeFailures: vector("coredns_proxy_healthcheck_failures_total", "Probes that an upstream left unanswered.", "proxy_name", "to"),
		rejects:       counter("coredns_forward_max_concurrent_rejects_total", "Queries refused because too many were under way."),
		broken:        counter("coredns_forward_healthcheck_broken_total", "Queries for which no healthy upstream was left."),
		hits:          vector("coredns_cache_hits_total", "Queries answered from the cache.", "server", "type", "zones", "view"),
		misses:        vector("coredns_cache_misses_total", "Queries that the cache could not answer.", "server", "zones", "view"),
		lookups:       vector("coredns_cache_requests_total", "Queries for which the cache was asked.", "server", "zones", "view"),
		entries: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "coredns_cache_entries", Help: "Replies in the cache."},
			[]string{"server", "type", "zones", "view"}),
	}
}

func (m *metrics) parts() []prometheus.Collector {
	return []prometheus.Collector{m.duration, m.probeFailures, m.rejects, m.broken, m.hits, m.misses, m.lookups, m.entries}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(out chan<- *prometheus.Desc) {
	for _, part := range m.parts() {
		part.Describe(out)
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	m.entries.WithLabelValues(labelServer, "success", labelZones, labelView).Set(float64(m.forwarder.cache.len()))
	for _, part := range m.parts() {
		part.Collect(out)
	}
}

// Metrics returns what to register with Prometheus.
func (f *Forwarder) Metrics() prometheus.Collector { return f.metrics }

func (m *metrics) cached(reply *wire.Msg, hit bool) {
	m.lookups.WithLabelValues(labelServer, labelZones, labelView).Inc()
	if !hit {
		m.misses.WithLabelValues(labelServer, labelZones, labelView).Inc()
		return
	}
	kind := "success"
	if reply.Rcode != wire.RcodeSuccess || len(reply.Answer) == 0 {
		kind = "denial"
	}
	m.hits.WithLabelValues(labelServer, kind, labelZones, labelView).Inc()
}

func (m *metrics) exchanged(u *upstream, reply *wire.Msg, err error, took time.Duration) {
	if err != nil {
		return
	}
	rcode, ok := wire.RcodeToString[reply.Rcode]
	if !ok {
		rcode = "other"
	}
	m.duration.WithLabelValues(proxyName, u.address.String(), rcode).Observe(took.Seconds())
}
