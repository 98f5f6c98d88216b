package agent

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// registerMetrics registers the process's own metrics. They are read from the
// same health that /status shows, so the two cannot differ.
func (a *Agent) registerMetrics() {
	if a.healthz != nil {
		a.registry.MustRegister(a.healthz.Metrics()...)
	}
	if a.programming != nil {
		a.registry.MustRegister(a.programming.proxy, a.programming.invalid)
	}
	a.registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&planeMetrics{agent: a},
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "fairlead_state_revision", Help: "Revision of the State that was built last."},
			func() float64 { return float64(a.revision.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "fairlead_state_synced", Help: "1 once everything has been read from the API server."},
			func() float64 { return truth(a.synced.Load()) }),
	)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// planeMetrics reads the health of every plane when it is scraped.
type planeMetrics struct{ agent *Agent }

func planeDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("fairlead_plane_"+name, help, []string{"plane"}, nil)
}

// Describe sends nothing: the set of planes is known only once they run.
func (m *planeMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect sends one sample per plane and metric.
func (m *planeMetrics) Collect(out chan<- prometheus.Metric) {
	for _, p := range m.agent.pipelines {
		h := p.health()
		send := func(name, help string, kind prometheus.ValueType, value float64) {
			out <- prometheus.MustNewConstMetric(planeDesc(name, help), kind, value, h.Plane)
		}
		send("healthy", "1 while the plane has applied something and has no problem.", prometheus.GaugeValue, truth(h.Healthy()))
		send("wanted_revision", "Revision that the plane was offered last.", prometheus.GaugeValue, float64(h.Wanted))
		send("applied_revision", "Revision that the plane applied last.", prometheus.GaugeValue, float64(h.Applied))
		send("applies_total", "Calls of the plane's Apply.", prometheus.CounterValue, float64(h.Applies))
		send("apply_failures_total", "Calls of the plane's Apply that failed.", prometheus.CounterValue, float64(h.Failures))
		send("last_apply_seconds", "Duration of the last Apply.", prometheus.GaugeValue, h.LastApply.Seconds())
	}
}
