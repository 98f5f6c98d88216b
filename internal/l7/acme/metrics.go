package acme

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are those of the replica that leads. When certificates end, gateways say, of all
// that they show.
type metrics struct {
	certificates atomic.Pointer[[]Certificate]
	orders       *prometheus.CounterVec
	wanted       *prometheus.Desc
}

func newMetrics() *metrics {
	m := &metrics{
		orders: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fairlead_acme_orders_total", Help: "Certificates ordered, by what became of it.",
		}, []string{"result"}),
		wanted: prometheus.NewDesc("fairlead_acme_certificates",
			"Certificates that are wanted: valid, or missing because there is none or it has expired.", []string{"state"}, nil),
	}
	for _, how := range []outcome{issued, refused, unavailable, interrupted} {
		m.orders.WithLabelValues(string(how))
	}
	return m
}

// Describe implements prometheus.Collector.
func (m *Manager) Describe(out chan<- *prometheus.Desc) {
	m.metrics.orders.Describe(out)
	out <- m.metrics.wanted
}

// Collect implements prometheus.Collector.
func (m *Manager) Collect(out chan<- prometheus.Metric) {
	m.metrics.orders.Collect(out)
	certificates := m.metrics.certificates.Load()
	if certificates == nil || *certificates == nil {
		return // this replica does not lead
	}
	missing := 0
	for _, c := range *certificates {
		if !c.valid() {
			missing++
		}
	}
	out <- prometheus.MustNewConstMetric(m.metrics.wanted, prometheus.GaugeValue, float64(missing), "missing")
	out <- prometheus.MustNewConstMetric(m.metrics.wanted, prometheus.GaugeValue, float64(len(*certificates)-missing), "valid")
}
