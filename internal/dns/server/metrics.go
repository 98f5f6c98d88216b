package server

import (
	"strconv"

	wire "github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// metrics reports the sum of all tallies under the names and labels of CoreDNS.
type metrics struct {
	plane *Plane

	requests, responses, duration, received, sent, panics, ignored, shed, refused, autopath, https, tapped *prometheus.Desc
}

func newMetrics(p *Plane) *metrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &metrics{
		plane:     p,
		requests:  desc("coredns_dns_requests_total", "Queries received.", "server", "zone", "view", "proto", "family", "type"),
		responses: desc("coredns_dns_responses_total", "Replies sent.", "server", "zone", "view", "rcode", "plugin"),
		duration:  desc("coredns_dns_request_duration_seconds", "Time from a query to its reply.", "server", "zone", "view"),
		received:  desc("coredns_dns_request_size_bytes", "Size of queries.", "server", "zone", "view", "proto"),
		sent:      desc("coredns_dns_response_size_bytes", "Size of replies.", "server", "zone", "view", "proto"),
		panics:    desc("coredns_panics_total", "Queries that made the server panic."),
		ignored:   desc("fairlead_dns_ignored_packets_total", "Packets that are no queries and get no reply."),
		refused:   desc("fairlead_dns_shed_queries_total", "Queries refused because the server had no time for them, or too many waited for upstreams."),
		autopath:  desc("coredns_autopath_success_total", "Queries answered along the client's search path.", "server"),
		https:     desc("coredns_dns_https_responses_total", "Replies of DNS over HTTPS by HTTP status.", "server", "status"),
		tapped:    desc("fairlead_dns_dnstap_messages_total", "Messages for collectors of dnstap; left out are those that they did not take in time.", "collector", "result"),
		shed:      desc("fairlead_dns_shed_connections_total", "TCP connections closed because there were too many."),
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.requests, m.responses, m.duration, m.received, m.sent, m.panics, m.ignored, m.shed, m.refused, m.autopath, m.https, m.tapped} {
		out <- d
	}
}

// The labels that CoreDNS gives to the one server block of a default Corefile.
const (
	labelZone = "."
	labelView = ""
)

var (
	networkNames = [networks]string{"udp", "tcp"}
	familyNames  = [families]string{"1", "2"}
	sourceNames  = [sources]string{"", "kubernetes", "cache", "forward", "acl", "any", "chaos", "local", "template", "hosts", "whoami"}
)

// Collect implements prometheus.Collector.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	server := "dns://:" + strconv.Itoa(int(m.plane.config.Listen[0].Port()))
	counter := func(d *prometheus.Desc, value uint64, labels ...string) {
		if value > 0 || len(labels) == 0 {
			out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), labels...)
		}
	}
	sum := m.sum()
	for n := range networks {
		for f := range families {
			for i, name := range types {
				counter(m.requests, sum.requests[n][f][i].Load(), server, labelZone, labelView, networkNames[n], familyNames[f], name)
			}
		}
		out <- sum.received[n].metric(m.received, sizeBuckets[:], server, labelZone, labelView, networkNames[n])
		out <- sum.sent[n].metric(m.sent, sizeBuckets[:], server, labelZone, labelView, networkNames[n])
	}
	for s := range sources {
		for rcode := range rcodes {
			name, ok := wire.RcodeToString[rcode]
			if !ok {
				name = strconv.Itoa(rcode)
			}
			counter(m.responses, sum.responses[s][rcode].Load(), server, labelZone, labelView, name, sourceNames[s])
		}
	}
	out <- sum.duration.metric(m.duration, timeBuckets[:], server, labelZone, labelView)
	counter(m.panics, sum.panics.Load())
	counter(m.ignored, sum.ignored.Load())
	counter(m.shed, sum.shed.Load())
	counter(m.refused, sum.refused.Load())
	counter(m.autopath, sum.autopath.Load(), server)
	for collector, n := range m.plane.tapped() {
		counter(m.tapped, n[0], collector, "sent")
		counter(m.tapped, n[1], collector, "left_out")
	}
	if listen := m.plane.config.HTTPS.Listen; len(listen) > 0 {
		for i, status := range statuses {
			counter(m.https, sum.statuses[i].Load(), "https://:"+strconv.Itoa(int(listen[0].Port())), strconv.Itoa(status))
		}
	}
}

// sum returns the sum of all tallies, and of what the kernel has counted.
func (m *metrics) sum() *tally {
	total := new(tally)
	for _, t := range m.plane.tallies {
		for n := range networks {
			for f := range families {
				for i := range types {
					total.requests[n][f][i].Add(t.requests[n][f][i].Load())
				}
			}
			total.received[n].add(&t.received[n])
			total.sent[n].add(&t.sent[n])
		}
		for s := range sources {
			for rcode := range rcodes {
				total.responses[s][rcode].Add(t.responses[s][rcode].Load())
			}
		}
		total.duration.add(&t.duration)
		total.panics.Add(t.panics.Load())
		total.ignored.Add(t.ignored.Load())
		total.shed.Add(t.shed.Load())
		total.refused.Add(t.refused.Load())
		total.autopath.Add(t.autopath.Load())
		for i := range statuses {
			total.statuses[i].Add(t.statuses[i].Load())
		}
	}
	m.plane.fast.count(total)
	return total
}

func (h *histogram) add(other *histogram) {
	for i := range h.counts {
		h.counts[i].Add(other.counts[i].Load())
	}
	h.sum.Add(other.sum.Load())
}

func (h *histogram) metric(d *prometheus.Desc, bounds []float64, labels ...string) prometheus.Metric {
	cumulative := make(map[float64]uint64, len(bounds))
	count := uint64(0)
	for i, bound := range bounds {
		count += h.counts[i].Load()
		cumulative[bound] = count
	}
	count += h.counts[len(bounds)].Load()
	return prometheus.MustNewConstHistogram(d, count, float64(h.sum.Load())/1e6, cumulative, labels...)
}
