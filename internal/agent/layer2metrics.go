package agent

import (
	"github.com/prometheus/client_golang/prometheus"
)

// layer2Metrics tells what is announced by ARP and NDP, under the names that
// MetalLB gives it, and how the probes between nodes fare.
type layer2Metrics struct{ *layer2 }

// Describe sends nothing: the addresses are known only once Services have some.
func (m *layer2Metrics) Describe(chan<- *prometheus.Desc) {}

// Collect sends three samples for each address that this node announces, and
// those of the probes.
func (m *layer2Metrics) Collect(out chan<- prometheus.Metric) {
	count := func(name, help string, value uint64, label, of string) {
		if label == "" {
			out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, nil, nil), prometheus.CounterValue, float64(value))
			return
		}
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, []string{label}, nil), prometheus.CounterValue, float64(value), of)
	}
	for address, c := range m.Counters() {
		ip := address.String()
		count("metallb_layer2_requests_received", "ARP requests and neighbour solicitations for the address.", c.Requests, "ip", ip)
		count("metallb_layer2_responses_sent", "Answers to them.", c.Responses, "ip", ip)
		count("metallb_layer2_gratuitous_sent", "Announcements of the address that nobody asked for.", c.Gratuitous, "ip", ip)
	}
	c := m.probes.Counters()
	count("fairlead_probe_sent_total", "Probes sent to other nodes.", c.Sent, "", "")
	count("fairlead_probe_received_total", "Probes of other nodes that were believed.", c.Received, "", "")
	for why, value := range map[string]uint64{"malformed": c.Malformed, "unknown node": c.Unknown, "wrong key": c.WrongKey, "old": c.Stale} {
		count("fairlead_probe_refused_total", "Probes that were not believed.", value, "reason", why)
	}
}
