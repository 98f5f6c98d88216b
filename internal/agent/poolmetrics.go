package agent

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-net/fairlead/internal/ipam"
)

// poolMetrics tells how much of each pool is in use, under the names that MetalLB
// gives it.
type poolMetrics struct{ table atomic.Pointer[ipam.Table] }

// Describe sends nothing: the pools are known only once they have been read.
func (m *poolMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect sends two samples per pool.
func (m *poolMetrics) Collect(out chan<- prometheus.Metric) {
	t := m.table.Load()
	if t == nil {
		return
	}
	inUse := prometheus.NewDesc("metallb_allocator_addresses_in_use_total", "Addresses of the pool that Services have.", []string{"pool"}, nil)
	all := prometheus.NewDesc("metallb_allocator_addresses_total", "Addresses of the pool that can be given.", []string{"pool"}, nil)
	for name, u := range t.Pools.All() {
		used := float64(u.Assigned4) + float64(u.Assigned6)
		out <- prometheus.MustNewConstMetric(inUse, prometheus.GaugeValue, used, name.Name)
		out <- prometheus.MustNewConstMetric(all, prometheus.GaugeValue, used+float64(u.Available4)+float64(u.Available6), name.Name)
	}
}
