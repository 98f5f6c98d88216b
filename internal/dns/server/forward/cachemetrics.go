package forward

import "github.com/prometheus/client_golang/prometheus"

// The labels of cache metrics: one server, all zones, no view.
const (
	labelServer = "dns://:53"
	labelZones  = "."
	labelView   = ""
)

// cacheMetric is one of CoreDNS's metrics of its cache, and how it is read.
type cacheMetric struct {
	desc  *prometheus.Desc
	gauge bool
	// all is set for one without the label type, each for one with it.
	all  func(*cache) uint64
	each func(*cache, kind) uint64
}

func newCacheMetrics() []cacheMetric {
	plain := []string{"server", "zones", "view"}
	typed := []string{"server", "type", "zones", "view"}
	desc := func(name, help string, labels []string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	hits := func(c *cache) uint64 { return c.counts.hits[success].sum() + c.counts.hits[denial].sum() }
	return []cacheMetric{
		{desc: desc("coredns_cache_entries", "Replies in the cache.", typed), gauge: true,
			each: func(c *cache, k kind) uint64 { return uint64(c.tables[k].count.Load()) }},
		{desc: desc("coredns_cache_hits_total", "Queries answered from the cache.", typed),
			each: func(c *cache, k kind) uint64 { return c.counts.hits[k].sum() }},
		{desc: desc("coredns_cache_evictions_total", "Replies that others took the place of.", typed),
			each: func(c *cache, k kind) uint64 { return c.counts.evicted[k].Load() + c.tables[k].evicted.Load() }},
		{desc: desc("coredns_cache_requests_total", "Queries for which the cache was asked.", plain),
			all: func(c *cache) uint64 { return hits(c) + c.counts.misses.sum() }},
		{desc: desc("coredns_cache_misses_total", "Queries that the cache could not answer.", plain),
			all: func(c *cache) uint64 { return c.counts.misses.sum() }},
		{desc: desc("coredns_cache_prefetch_total", "Replies asked for again before they expired.", plain),
			all: func(c *cache) uint64 { return c.counts.prefetches.sum() }},
		{desc: desc("coredns_cache_served_stale_total", "Queries answered with a reply that had expired.", plain),
			all: func(c *cache) uint64 { return c.counts.stale.sum() }},
		{desc: desc("fairlead_dns_cache_bytes", "Memory that replies in the cache take.", typed), gauge: true,
			each: func(c *cache, k kind) uint64 { return uint64(c.tables[k].bytes.Load()) }},
	}
}

func (m cacheMetric) collect(c *cache, out chan<- prometheus.Metric) {
	as := prometheus.CounterValue
	if m.gauge {
		as = prometheus.GaugeValue
	}
	if m.all != nil {
		out <- prometheus.MustNewConstMetric(m.desc, as, float64(m.all(c)), labelServer, labelZones, labelView)
		return
	}
	for k := range kinds {
		out <- prometheus.MustNewConstMetric(m.desc, as, float64(m.each(c, k)), labelServer, k.String(), labelZones, labelView)
	}
}
