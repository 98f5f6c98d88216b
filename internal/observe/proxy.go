package observe

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Family is the value of label ip_family.
type Family string

// The IP families.
const (
	IPv4 Family = "IPv4"
	IPv6 Family = "IPv6"
)

// Trigger is a change in the cluster whose way into the kernel is timed.
type Trigger struct {
	// At is when the change happened: an EndpointSlice says so in its annotation
	// endpoints.kubernetes.io/last-change-trigger-time.
	At     time.Time
	Family Family // of the EndpointSlice's addresses
}

// Proxy is what kube-proxy tells of itself. It is a prometheus.Collector, and
// safe for concurrent use. Make one with NewProxy.
//
// kube-proxy applies each IP family on its own. Here one Apply serves all, so
// what is said of an Apply is said of each family, as kube-proxy would. What
// counts Services is said of the first family only: sums stay right.
type Proxy struct {
	families []Family

	programming, apply, flows     *prometheus.HistogramVec
	applied, queued, withoutLocal *prometheus.GaugeVec
	failures, deletedFlows        *prometheus.CounterVec
	endpoints, services           *changes

	mu sync.Mutex
	// waiting lists what was queued and is not applied, in order of time.
	waiting []batch
}

// changes are those of one kind of object.
type changes struct {
	total   prometheus.Counter
	pending prometheus.Gauge
}

// batch is what was queued at one time.
type batch struct {
	at                  time.Time
	services, endpoints int
}

// maxWaiting bounds the batches; what comes on top counts with the last one.
const maxWaiting = 1024

// NewProxy returns metrics of a proxy that serves these families, the cluster's
// first one first; none stands for IPv4 alone.
func NewProxy(families ...Family) *Proxy {
	if len(families) == 0 {
		families = []Family{IPv4}
	}
	p := &Proxy{
		families:     slices.Clone(families),
		programming:  histogram("network_programming_duration_seconds", "Time from a change of endpoints to the kernel having it.", programmingBuckets(), "ip_family"),
		apply:        histogram("sync_proxy_rules_duration_seconds", "Time that one Apply of the Services took, failed ones included.", applyBuckets(), "ip_family"),
		flows:        histogram("conntrack_reconciler_sync_duration_seconds", "Time that one look at tracked connections took.", applyBuckets(), "ip_family"),
		applied:      gauge("sync_proxy_rules_last_timestamp_seconds", "When the Services were last applied in full.", "ip_family"),
		queued:       gauge("sync_proxy_rules_last_queued_timestamp_seconds", "When a change to be applied last came.", "ip_family"),
		withoutLocal: gauge("sync_proxy_rules_no_local_endpoints_total", "Services that have endpoints, but none on this node, though their policy wants that.", "traffic_policy", "ip_family"),
		failures:     counter("sync_proxy_rules_nftables_sync_failures_total", "Applies of the Services that failed.", "ip_family"),
		deletedFlows: counter("conntrack_reconciler_deleted_entries_total", "Tracked connections forgotten because their endpoint is gone.", "ip_family"),
		endpoints:    newChanges("endpoint", "EndpointSlices"),
		services:     newChanges("service", "Services"),
	}
	for _, f := range p.families {
		p.failures.WithLabelValues(string(f)) // a counter that is there from the start shows its first rise
		p.deletedFlows.WithLabelValues(string(f))
	}
	return p
}

// Queued tells that changes of so many Services and EndpointSlices came and will
// be applied. Tell it before they are offered to a plane.
func (p *Proxy) Queued(now time.Time, services, endpoints int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.waiting); n >= maxWaiting {
		last := &p.waiting[n-1]
		last.at, last.services, last.endpoints = now, last.services+services, last.endpoints+endpoints
	} else {
		p.waiting = append(p.waiting, batch{now, services, endpoints})
	}
	p.services.total.Add(float64(services))
	p.endpoints.total.Add(float64(endpoints))
	p.count()
	for _, f := range p.families {
		p.queued.WithLabelValues(string(f)).Set(seconds(now))
	}
}

// Applied tells that an Apply of everything that came before start took so long,
// and whether it failed.
func (p *Proxy) Applied(start time.Time, took time.Duration, err error) {
	for _, f := range p.families {
		p.apply.WithLabelValues(string(f)).Observe(took.Seconds())
		if err != nil {
			p.failures.WithLabelValues(string(f)).Inc()
			continue
		}
		p.applied.WithLabelValues(string(f)).Set(seconds(start.Add(took)))
	}
	if err != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = slices.DeleteFunc(p.waiting, func(b batch) bool { return !b.at.After(start) })
	p.count()
}

// count sets the gauges of what waits.
func (p *Proxy) count() {
	var services, endpoints int
	for _, b := range p.waiting {
		services, endpoints = services+b.services, endpoints+b.endpoints
	}
	p.services.pending.Set(float64(services))
	p.endpoints.pending.Set(float64(endpoints))
}

// Programmed tells that the kernel has had the changes since now. A trigger in
// the future, by another machine's clock, counts as no time at all.
func (p *Proxy) Programmed(triggers []Trigger, now time.Time) {
	for _, t := range triggers {
		p.programming.WithLabelValues(string(t.Family)).Observe(max(0, now.Sub(t.At).Seconds()))
	}
}

// WithoutLocal tells how many Services have endpoints, but none on this node,
// though their policy for traffic of this kind is Local.
func (p *Proxy) WithoutLocal(internal, external int) {
	first := string(p.families[0])
	p.withoutLocal.WithLabelValues("internal", first).Set(float64(internal))
	p.withoutLocal.WithLabelValues("external", first).Set(float64(external))
}

// Flows tells of one look at the tracked connections of a family: how long it
// took and how many were forgotten.
func (p *Proxy) Flows(family Family, took time.Duration, deleted int) {
	p.flows.WithLabelValues(string(family)).Observe(took.Seconds())
	p.deletedFlows.WithLabelValues(string(family)).Add(float64(max(0, deleted)))
}

// Describe implements prometheus.Collector.
func (p *Proxy) Describe(out chan<- *prometheus.Desc) {
	for _, c := range p.collectors() {
		c.Describe(out)
	}
}

// Collect implements prometheus.Collector.
func (p *Proxy) Collect(out chan<- prometheus.Metric) {
	for _, c := range p.collectors() {
		c.Collect(out)
	}
}

func (p *Proxy) collectors() []prometheus.Collector {
	return []prometheus.Collector{
		p.programming, p.apply, p.flows, p.applied, p.queued, p.withoutLocal, p.failures, p.deletedFlows,
		p.endpoints.total, p.endpoints.pending, p.services.total, p.services.pending,
	}
}

// seconds since 1970, as gauges of times have it.
func seconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }
