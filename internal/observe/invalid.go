package observe

import "github.com/prometheus/client_golang/prometheus"

// invalidDropped counts packets by asking when it is scraped.
type invalidDropped struct {
	desc *prometheus.Desc
	read func() (uint64, error)
}

// NewInvalidDropped returns the counter of packets that were dropped because
// conntrack called them invalid. read is asked at each scrape; while it fails
// there is no sample, and the scrape has the rest.
func NewInvalidDropped(read func() (uint64, error)) prometheus.Collector {
	desc := prometheus.NewDesc(prefix+"iptables_ct_state_invalid_dropped_packets_total",
		"Packets dropped because conntrack called them invalid.", nil, nil)
	return &invalidDropped{desc, read}
}

// Describe implements prometheus.Collector.
func (c *invalidDropped) Describe(out chan<- *prometheus.Desc) { out <- c.desc }

// Collect implements prometheus.Collector.
func (c *invalidDropped) Collect(out chan<- prometheus.Metric) {
	if n, err := c.read(); err == nil {
		out <- prometheus.MustNewConstMetric(c.desc, prometheus.CounterValue, float64(n))
	}
}
