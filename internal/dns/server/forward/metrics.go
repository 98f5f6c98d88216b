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
	shared        *shared
	duration      *prometheus.HistogramVec
	probeFailures *prometheus.CounterVec
	rejects       prometheus.Counter
	broken        prometheus.Counter
	hedged        prometheus.Counter
	connHits      *prometheus.CounterVec
	connMisses    *prometheus.CounterVec
	scrubbed      prometheus.Counter
	cache         []cacheMetric
	loops         *prometheus.Desc
	foreign       *prometheus.Desc
}

func newMetrics(s *shared) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	vector := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	return &metrics{
		shared: s,
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "coredns_proxy_request_duration_seconds", Help: "Time that an upstream took to reply.",
			Buckets: prometheus.ExponentialBuckets(0.00025, 2, 16),
		}, []string{"proxy_name", "to", "rcode"}),
		probeFailures: vector("coredns_proxy_healthcheck_failures_total", "Probes that an upstream left unanswered.", "proxy_name", "to"),
		rejects:       counter("coredns_forward_max_concurrent_rejects_total", "Queries refused because too many were under way."),
		broken:        counter("coredns_forward_healthcheck_broken_total", "Queries for which no healthy upstream was left."),
		hedged:        counter("fairlead_dns_forward_hedged_total", "Queries sent to one more upstream because another one was late."),
		connHits:      vector("coredns_proxy_conn_cache_hits_total", "Queries sent by a connection that was open.", "proxy_name", "to", "proto"),
		connMisses:    vector("coredns_proxy_conn_cache_misses_total", "Queries sent by a new connection.", "proxy_name", "to", "proto"),
		scrubbed:      counter("fairlead_dns_forward_removed_records_total", "Records removed from replies because they do not belong to the question."),
		cache:         newCacheMetrics(),
		loops:         prometheus.NewDesc("fairlead_dns_forward_loop", "1 for an upstream that leads back to this server and is not asked.", []string{"to"}, nil),
		foreign:       prometheus.NewDesc("fairlead_dns_forward_foreign_replies_total", "Packets from an upstream that answer no query that waits.", []string{"to"}, nil),
	}
}

func (m *metrics) parts() []prometheus.Collector {
	return []prometheus.Collector{m.duration, m.probeFailures, m.rejects, m.broken, m.hedged, m.connHits, m.connMisses, m.scrubbed}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(out chan<- *prometheus.Desc) {
	for _, part := range m.parts() {
		part.Describe(out)
	}
	for _, c := range m.cache {
		out <- c.desc
	}
	out <- m.loops
	out <- m.foreign
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	for _, part := range m.parts() {
		part.Collect(out)
	}
	current := m.shared.current.Load()
	for _, c := range m.cache {
		c.collect(current.cache, out)
	}
	// An address may be an upstream of several zones.
	loops, foreign := map[string]float64{}, map[string]float64{}
	for _, u := range current.all() {
		to := u.Address.String()
		if loops[to] += 0; u.own.Load() {
			loops[to] = 1
		}
		foreign[to] += float64(u.foreign.Load())
	}
	for to := range loops {
		out <- prometheus.MustNewConstMetric(m.loops, prometheus.GaugeValue, loops[to], to)
		out <- prometheus.MustNewConstMetric(m.foreign, prometheus.CounterValue, foreign[to], to)
	}
}

// Metrics returns what to register with Prometheus.
func (f *Forwarder) Metrics() prometheus.Collector { return f.metrics }

func (m *metrics) exchanged(u *upstream, reply *wire.Msg, took time.Duration) {
	rcode, ok := wire.RcodeToString[reply.Rcode]
	if !ok {
		rcode = "other"
	}
	m.duration.WithLabelValues(proxyName, u.Address.String(), rcode).Observe(took.Seconds())
}

func (m *metrics) probeFailed(u *upstream) {
	m.probeFailures.WithLabelValues(proxyName, u.Address.String()).Inc()
}

// reused returns a function that counts the queries of an upstream that are
// sent by a connection, by whether it was open.
func (m *metrics) reused(u *upstream) func(bool) {
	proto := string(u.Protocol)
	switch u.Protocol {
	case UDP:
		proto = string(TCP)
	case TLS:
		proto = "tcp-tls"
	}
	hits, misses := m.connHits.WithLabelValues(proxyName, u.Address.String(), proto), m.connMisses.WithLabelValues(proxyName, u.Address.String(), proto)
	return func(open bool) {
		if open {
			hits.Inc()
		} else {
			misses.Inc()
		}
	}
}
