package agent

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-net/fairlead/internal/lb/uplink"
)

// uplinkMetrics reads the counters of the packet path when it is scraped.
type uplinkMetrics struct{ plane *uplink.Plane }

func uplinkDesc(name, help, label string) *prometheus.Desc {
	return prometheus.NewDesc("fairlead_uplink_"+name, help, []string{label}, nil)
}

// Describe implements prometheus.Collector.
func (m *uplinkMetrics) Describe(out chan<- *prometheus.Desc) {
	prometheus.DescribeByCollect(m, out)
}

// Collect sends one sample per counter, or an error in their place.
func (m *uplinkMetrics) Collect(out chan<- prometheus.Metric) {
	flows := uplinkDesc("flows_total", "Connections from outside that eBPF began to forward, by where the endpoint is: on this node (local), on another (remote), or on another that answers itself (direct).", "kind")
	forwarded := uplinkDesc("forwarded_packets_total", "Packets that eBPF forwarded, by where the endpoint is; reply are its answers, error ICMP messages about connections; passed_on went to the node that had the address before.", "kind")
	passed := uplinkDesc("passed_packets_total", "Packets for Services that eBPF left to nftables, by reason.", "reason")
	dropped := uplinkDesc("dropped_packets_total", "Packets that eBPF could not forward, by reason.", "reason")
	c, err := m.plane.Counters()
	if err != nil {
		out <- prometheus.NewInvalidMetric(flows, err)
		return
	}
	for _, s := range []struct {
		desc  *prometheus.Desc
		label string
		value uint64
	}{
		{flows, "local", c.Started.Local}, {flows, "remote", c.Started.Remote}, {flows, "direct", c.Started.Direct},
		{forwarded, "local", c.Forwarded.Local}, {forwarded, "remote", c.Forwarded.Remote}, {forwarded, "direct", c.Forwarded.Direct},
		{forwarded, "reply", c.Replies}, {forwarded, "error", c.Errors}, {forwarded, "passed_on", c.PassedOn},
		{passed, "no_port", c.Passed.NoPort}, {passed, "full", c.Passed.Full}, {passed, "tracked", c.Passed.Tracked}, {passed, "route", c.Passed.Route},
		{dropped, "too_big", c.Dropped.TooBig}, {dropped, "route", c.Dropped.Route}, {dropped, "ttl", c.Dropped.TTL}, {dropped, "broken", c.Dropped.Broken}, {dropped, "returned", c.Dropped.Returned},
	} {
		out <- prometheus.MustNewConstMetric(s.desc, prometheus.CounterValue, float64(s.value), s.label)
	}
}
