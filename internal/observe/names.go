package observe

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

const prefix = "kubeproxy_"

func histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: prefix + name, Help: help, Buckets: buckets}, labels)
}

func gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: prefix + name, Help: help}, labels)
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help}, labels)
}

func newChanges(kind, objects string) *changes {
	name := prefix + "sync_proxy_rules_" + kind + "_changes_"
	return &changes{
		total:   prometheus.NewCounter(prometheus.CounterOpts{Name: name + "total", Help: "Changes of " + objects + " that came."}),
		pending: prometheus.NewGauge(prometheus.GaugeOpts{Name: name + "pending", Help: "Changes of " + objects + " that are not applied yet."}),
	}
}

// programmingBuckets are seconds; whoever computes the service level of network
// programming (sig-scalability) expects these.
func programmingBuckets() []float64 {
	return slices.Concat(
		prometheus.LinearBuckets(0.25, 0.25, 2), prometheus.LinearBuckets(1, 1, 59),
		prometheus.LinearBuckets(60, 5, 12), prometheus.LinearBuckets(120, 30, 7),
	)
}

// applyBuckets are seconds, from one millisecond to 16.
func applyBuckets() []float64 { return prometheus.ExponentialBuckets(0.001, 2, 15) }
