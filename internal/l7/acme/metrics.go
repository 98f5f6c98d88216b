package acme

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// maxSeries bounds the certificates that metrics tell apart.
const maxSeries = 10_000

// metrics are those of the replica that leads.
type metrics struct {
	certificates atomic.Pointer[[]Certificate]
	orders       *prometheus.CounterVec
	expiry       *prometheus.Desc
	wanted       *prometheus.Desc
}

func newMetrics() *metrics {
	m := &metrics{
		orders: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fairlead_acme_orders_total", Help: "Certificates ordered, by what became of it.",
		}, []string{"result"}),
		expiry: prometheus.NewDesc("fairlead_acme_certificate_expiry_timestamp_seconds",
			"When the certificate in a Secret ends, in seconds since 1970.", []string{"namespace", "secret"}, nil),
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
	out <- m.metrics.expiry
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
	for i, c := range *certificates {
		if !c.valid() {
			missing++
		}
		if i < maxSeries && !c.NotAfter.IsZero() {
			out <- prometheus.MustNewConstMetric(m.metrics.expiry, prometheus.GaugeValue, float64(c.NotAfter.Unix()), c.Secret.Namespace, c.Secret.Name)
		}
	}
	out <- prometheus.MustNewConstMetric(m.metrics.wanted, prometheus.GaugeValue, float64(missing), "missing")
	out <- prometheus.MustNewConstMetric(m.metrics.wanted, prometheus.GaugeValue, float64(len(*certificates)-missing), "valid")
}
