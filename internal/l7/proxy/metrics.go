package proxy

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics reports what tallies count.
type metrics struct {
	proxy *Proxy

	requests, duration, refused, shed, connections *prometheus.Desc
}

func newMetrics(p *Proxy) *metrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &metrics{
		proxy:       p,
		requests:    desc("fairlead_l7_requests_total", "Requests answered, by the object and rule that they were routed by.", "source", "rule", "code"),
		duration:    desc("fairlead_l7_request_duration_seconds", "Time from the header of a request to the end of its answer.", "source", "rule"),
		refused:     desc("fairlead_l7_refused_messages_total", "Messages of clients that were malformed, too large or too slow to be requests.", "code"),
		shed:        desc("fairlead_l7_shed_connections_total", "Connections of clients closed because there were too many."),
		connections: desc("fairlead_l7_connections", "Connections of clients."),
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.requests, m.duration, m.refused, m.shed, m.connections} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	t := m.proxy.tally
	m.collect(out, &t.none, "", "")
	m.collect(out, &t.rest, "other", "")
	t.mu.Lock()
	for k, s := range t.all {
		m.collect(out, s, k.source.String(), k.rule)
	}
	t.mu.Unlock()
	for status := range t.refused {
		if n := t.refused[status].Load(); n > 0 {
			out <- prometheus.MustNewConstMetric(m.refused, prometheus.CounterValue, float64(n), strconv.Itoa(status))
		}
	}
	out <- prometheus.MustNewConstMetric(m.shed, prometheus.CounterValue, float64(t.shed.Load()))
	out <- prometheus.MustNewConstMetric(m.connections, prometheus.GaugeValue, float64(m.proxy.connections.Load()))
}

func (m *metrics) collect(out chan<- prometheus.Metric, s *series, source, rule string) {
	if s.last.Load() == 0 {
		return
	}
	for class := range s.classes {
		block := s.classes[class].Load()
		if block == nil {
			continue
		}
		for i := range block {
			if n := block[i].Load(); n > 0 {
				out <- prometheus.MustNewConstMetric(m.requests, prometheus.CounterValue, float64(n), source, rule, strconv.Itoa(class*100+i))
			}
		}
	}
	cumulative, count := make(map[float64]uint64, buckets), uint64(0)
	for i, bound := range timeBuckets {
		count += s.counts[i].Load()
		cumulative[bound] = count
	}
	count += s.counts[buckets].Load()
	out <- prometheus.MustNewConstHistogram(m.duration, count, float64(s.sum.Load())/1e9, cumulative, source, rule)
}
