package proxy

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics reports what tallies count. No label has a value that a client sends: they are
// names that the Table has, statuses, and words of this package.
type metrics struct {
	proxy *Proxy

	requests, duration, received, sent, refused, shed, panics          *prometheus.Desc
	connections, accepted, versions, handshakes, handshakeFailures     *prometheus.Desc
	upstreamRequests, upstreamDuration, upstreamFailures, upstreamTry  *prometheus.Desc
	upstreamEjections, upstreamRefused, upstreamUnused, upstreamChecks *prometheus.Desc
	streamConnections, streamOpen, streamDuration, streamBytes         *prometheus.Desc
	logged, unlogged                                                   *prometheus.Desc
}

func newMetrics(p *Proxy) *metrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("fairlead_l7_"+name, help, labels, nil)
	}
	return &metrics{
		proxy:    p,
		requests: desc("requests_total", "Requests answered, by the object and rule that they were routed by, and the rule's host.", "source", "rule", "host", "code"),
		duration: desc("request_duration_seconds", "Time from the header of a request to the end of its answer.", "source", "rule", "host"),
		received: desc("request_bytes_total", "Bytes of requests, with their headers.", "source", "rule", "host"),
		sent:     desc("response_bytes_total", "Bytes of answers, with their headers.", "source", "rule", "host"),
		refused:  desc("refused_messages_total", "Messages of clients that were malformed, too large or too slow to be requests.", "code"),
		shed:     desc("shed_connections_total", "Connections of clients closed because there were too many."),
		panics:   desc("panics_total", "Bugs of the proxy that ended a connection each, or something in the background."),

		connections:       desc("connections", "Connections of clients.", "listener"),
		accepted:          desc("connections_total", "Connections of clients that were accepted.", "listener"),
		versions:          desc("protocol_requests_total", "Requests answered, by the version of HTTP that the client speaks.", "listener", "protocol"),
		handshakes:        desc("tls_handshakes_total", "TLS handshakes with clients that succeeded.", "listener", "version", "resumed"),
		handshakeFailures: desc("tls_handshake_failures_total", "TLS handshakes with clients that failed, by why.", "listener", "reason"),

		upstreamRequests: desc("upstream_requests_total", "Answers of endpoints, by their backend.", "backend", "code"),
		upstreamDuration: desc("upstream_duration_seconds", "Time from the choice of an endpoint to the end of its answer.", "backend"),
		upstreamFailures: desc("upstream_failures_total", "Endpoints that did not answer, or not to the end, by why.", "backend", "kind"),
		upstreamTry:      desc("upstream_retries_total", "Requests that were sent to one more endpoint after one had failed.", "backend"),

		upstreamEjections: desc("upstream_ejections_total", "Endpoints that get no requests for a while because of how they answered, by why.", "backend", "reason"),
		upstreamUnused:    desc("upstream_unused_endpoints", "Endpoints that are ready and get no requests at the moment: they are ejected, or their health checks fail (unhealthy).", "backend", "reason"),
		upstreamChecks:    desc("upstream_health_checks_total", "Health checks of endpoints, by whether they found them well.", "backend", "result"),
		upstreamRefused:   desc("upstream_refused_total", "Requests, and retries, that a limit of their backend has not let through, by which.", "backend", "limit"),

		streamConnections: desc("stream_connections_total", "Connections that were passed on as they are (200), or not, and have ended; by the object and rule that they were routed by, and the rule's host.", "source", "rule", "host", "code"),
		streamOpen:        desc("stream_connections", "Connections that are being passed on as they are.", "source", "rule", "host"),
		streamDuration:    desc("stream_duration_seconds", "Time from the beginning of such a connection to its end.", "source", "rule", "host"),
		streamBytes:       desc("stream_bytes_total", "Bytes that such connections have passed on, from clients (in) and to them (out).", "source", "rule", "host", "direction"),

		logged:   desc("access_log_lines_total", "Lines of the access log that were written."),
		unlogged: desc("access_log_dropped_lines_total", "Lines of the access log that were dropped: too many waited (full), or they could not be written (failed).", "reason"),
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		m.requests, m.duration, m.received, m.sent, m.refused, m.shed, m.panics, m.connections, m.accepted, m.versions, m.handshakes,
		m.handshakeFailures, m.upstreamRequests, m.upstreamDuration, m.upstreamFailures, m.upstreamTry, m.upstreamEjections, m.upstreamRefused, m.upstreamUnused, m.upstreamChecks,
		m.streamConnections, m.streamOpen, m.streamDuration, m.streamBytes, m.logged, m.unlogged,
	} {
		out <- d
	}
}

// output is where metrics go.
type output chan<- prometheus.Metric

func (o output) counter(d *prometheus.Desc, n uint64, labels ...string) {
	o <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}

func (o output) gauge(d *prometheus.Desc, n int64, labels ...string) {
	o <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
}

// some does so unless nothing has been counted.
func (o output) some(d *prometheus.Desc, n uint64, labels ...string) {
	if n > 0 {
		o.counter(d, n, labels...)
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(to chan<- prometheus.Metric) {
	out, t := output(to), m.proxy.tally
	m.route(out, &t.none, "", "", "")
	m.route(out, &t.rest, "other", "", "")
	t.mu.Lock()
	for k, s := range t.all {
		m.route(out, s, k.source.String(), k.rule, k.host)
	}
	m.stream(out, &t.noStream, "", "", "")
	m.stream(out, &t.restStreams, "other", "", "")
	for k, s := range t.streams {
		m.stream(out, s, k.source.String(), k.rule, k.host)
	}
	for name, l := range t.listeners {
		m.listener(out, l, name)
	}
	t.mu.Unlock()
	for status := range t.refused {
		out.some(m.refused, t.refused[status].Load(), strconv.Itoa(status))
	}
	out.counter(m.shed, t.shed.Load())
	out.counter(m.panics, t.panics.Load())
	for id, b := range m.proxy.state.Load().backends.All() {
		m.backend(out, b.meter, id.String())
		m.health(out, b, id.String())
	}
	if b := &m.proxy.lines; m.proxy.book.Load() != nil || b.written.Load() > 0 {
		out.counter(m.logged, b.written.Load())
		out.counter(m.unlogged, b.full.Load(), "full")
		out.counter(m.unlogged, b.failed.Load(), "failed")
	}
}

func (m *metrics) route(out output, s *series, source, rule, host string) {
	if s.last.Load() == 0 {
		return
	}
	s.collect(out, m.requests, m.duration, source, rule, host)
	out.counter(m.received, s.received.Load(), source, rule, host)
	out.counter(m.sent, s.sent.Load(), source, rule, host)
}

func (m *metrics) backend(out output, b *backendMeter, name string) {
	if b.last.Load() != 0 {
		b.collect(out, m.upstreamRequests, m.upstreamDuration, name)
	}
	for k := range kinds {
		out.some(m.upstreamFailures, b.failures[k].Load(), name, k.String())
	}
	out.some(m.upstreamTry, b.retries.Load(), name)
}

func (m *metrics) health(out output, b *backend, name string) {
	for c := range causes {
		out.some(m.upstreamEjections, b.meter.ejections[c].Load(), name, c.String())
	}
	for r := range bounds {
		out.some(m.upstreamRefused, b.meter.refused[r].Load(), name, r.String())
	}
	out.some(m.upstreamChecks, b.meter.checks[0].Load(), name, "failed")
	out.some(m.upstreamChecks, b.meter.checks[1].Load(), name, "well")
	ejected, sick := 0, 0
	for _, e := range b.endpoints {
		ejected += bit(e.out.Load() != 0)
		sick += bit(e.sick.Load())
	}
	for reason, n := range map[string]int{"ejected": ejected, "unhealthy": sick} {
		if n > 0 {
			out <- prometheus.MustNewConstMetric(m.upstreamUnused, prometheus.GaugeValue, float64(n), name, reason)
		}
	}
}

func (m *metrics) listener(out output, l *listenerMeter, name string) {
	out.gauge(m.connections, l.open.Load(), name)
	out.counter(m.accepted, l.accepted.Load(), name)
	for version, protocol := range []string{"HTTP/1.0", "HTTP/1.1", "HTTP/2", "HTTP/3"} {
		out.some(m.versions, l.requests[version].Load(), name, protocol)
	}
	for version, text := range []string{"1.2", "1.3"} {
		for resumed, word := range []string{"false", "true"} {
			out.some(m.handshakes, l.handshakes[version][resumed].Load(), name, text, word)
		}
	}
	for r := range refusals {
		out.some(m.handshakeFailures, l.failures[r].Load(), name, r.String())
	}
}

// collect reports a series: counters by status, and a histogram.
func (s *series) collect(out output, requests, duration *prometheus.Desc, labels ...string) {
	for class := range s.classes {
		block := s.classes[class].Load()
		if block == nil {
			continue
		}
		for i := range block {
			if n := block[i].Load(); n > 0 {
				out.counter(requests, n, append(labels[:len(labels):len(labels)], strconv.Itoa(class*100+i))...)
			}
		}
	}
	cumulative, count := make(map[float64]uint64, buckets), uint64(0)
	for i, bound := range timeBuckets {
		count += s.counts[i].Load()
		cumulative[bound] = count
	}
	count += s.counts[buckets].Load()
	out <- prometheus.MustNewConstHistogram(duration, count, float64(s.sum.Load())/1e9, cumulative, labels...)
}
