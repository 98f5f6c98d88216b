package observe

import (
	"errors"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// peer are the names, types and labels of kube-proxy 1.37, from its source
// (pkg/proxy/metrics/metrics.go).
var peer = map[string]string{
	"kubeproxy_network_programming_duration_seconds":            "HISTOGRAM ip_family",
	"kubeproxy_sync_proxy_rules_duration_seconds":               "HISTOGRAM ip_family",
	"kubeproxy_sync_proxy_rules_last_timestamp_seconds":         "GAUGE ip_family",
	"kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds":  "GAUGE ip_family",
	"kubeproxy_sync_proxy_rules_endpoint_changes_pending":       "GAUGE",
	"kubeproxy_sync_proxy_rules_endpoint_changes_total":         "COUNTER",
	"kubeproxy_sync_proxy_rules_service_changes_pending":        "GAUGE",
	"kubeproxy_sync_proxy_rules_service_changes_total":          "COUNTER",
	"kubeproxy_sync_proxy_rules_no_local_endpoints_total":       "GAUGE ip_family traffic_policy",
	"kubeproxy_sync_proxy_rules_nftables_sync_failures_total":   "COUNTER ip_family",
	"kubeproxy_conntrack_reconciler_sync_duration_seconds":      "HISTOGRAM ip_family",
	"kubeproxy_conntrack_reconciler_deleted_entries_total":      "COUNTER ip_family",
	"kubeproxy_iptables_ct_state_invalid_dropped_packets_total": "COUNTER",
}

func at(seconds float64) time.Time {
	return time.Unix(1_700_000_000, 0).Add(time.Duration(seconds * 1e9))
}

// busy returns metrics of which each has at least one series.
func busy() *Proxy {
	p := NewProxy(IPv4, IPv6)
	p.Queued(at(1), 3, 5)
	p.Applied(at(2), 30*time.Millisecond, nil)
	p.Applied(at(3), time.Second, errors.New("no"))
	p.Programmed([]Trigger{{at(0), IPv4}, {at(-1), IPv4}, {at(9), IPv6}}, at(2))
	p.WithoutLocal(4, 7)
	p.Flows(IPv6, 3*time.Millisecond, 11)
	return p
}

// TestNames compares with kube-proxy.
func TestNames(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(busy(), NewInvalidDropped(func() (uint64, error) { return 5, nil }))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range families {
		kinds := []string{f.GetType().String()}
		for _, l := range f.GetMetric()[0].GetLabel() {
			kinds = append(kinds, l.GetName())
		}
		got[f.GetName()] = strings.Join(kinds, " ")
	}
	if diff := cmp.Diff(peer, got); diff != "" {
		t.Errorf("names, types and labels (-kube-proxy +here):\n%s", diff)
	}
}

// TestDocumented finds every name in docs/metrics.md, and no other of
// kube-proxy's there but those that lb/health has.
func TestDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	want := slices.Collect(maps.Keys(peer))
	want = append(want, "kubeproxy_proxy_healthz_total", "kubeproxy_proxy_livez_total")
	slices.Sort(want)
	var got []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(kubeproxy_[a-z_]+)").FindAllStringSubmatch(string(page), -1) {
		got = append(got, m[1])
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/metrics.md (-want +got):\n%s", diff)
	}
}

// values returns every series; of histograms the count and the sum.
func values(t *testing.T, p *Proxy) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(p)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := strings.TrimPrefix(strings.TrimPrefix(f.GetName(), prefix), "sync_proxy_rules_")
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			if h := m.GetHistogram(); h != nil {
				all[name+" count"], all[name+" sum"] = float64(h.GetSampleCount()), h.GetSampleSum()
				continue
			}
			all[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return all
}

func TestValues(t *testing.T) {
	got := values(t, busy())
	queued, applied := seconds(at(1)), seconds(at(2).Add(30*time.Millisecond))
	want := map[string]float64{
		"service_changes_total": 3, "endpoint_changes_total": 5, "service_changes_pending": 0, "endpoint_changes_pending": 0,
		"last_queued_timestamp_seconds IPv4": queued, "last_queued_timestamp_seconds IPv6": queued,
		"last_timestamp_seconds IPv4": applied, "last_timestamp_seconds IPv6": applied,
		"duration_seconds IPv4 count": 2, "duration_seconds IPv4 sum": 1.03, "duration_seconds IPv6 count": 2, "duration_seconds IPv6 sum": 1.03,
		"nftables_sync_failures_total IPv4": 1, "nftables_sync_failures_total IPv6": 1,
		"network_programming_duration_seconds IPv4 count": 2, "network_programming_duration_seconds IPv4 sum": 5,
		"network_programming_duration_seconds IPv6 count": 1, "network_programming_duration_seconds IPv6 sum": 0,
		"no_local_endpoints_total IPv4 internal": 4, "no_local_endpoints_total IPv4 external": 7,
		"conntrack_reconciler_sync_duration_seconds IPv6 count": 1, "conntrack_reconciler_sync_duration_seconds IPv6 sum": 0.003,
		"conntrack_reconciler_deleted_entries_total IPv4": 0, "conntrack_reconciler_deleted_entries_total IPv6": 11,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestInvalidDropped leaves the sample out, and it alone, while there is none.
func TestInvalidDropped(t *testing.T) {
	read, failure := uint64(7), error(nil)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(NewInvalidDropped(func() (uint64, error) { return read, failure }), busy().failures)
	for _, want := range []float64{7, -1} {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := -1.0
		for _, f := range families {
			if f.GetName() == "kubeproxy_iptables_ct_state_invalid_dropped_packets_total" {
				got = f.GetMetric()[0].GetCounter().GetValue()
			}
		}
		if got != want || len(families) == 0 {
			t.Errorf("%v of %d families, want %v", got, len(families), want)
		}
		failure = errors.New("no such table")
	}
}

// TestPending follows what waits, through failures and changes that come while
// a plane works.
func TestPending(t *testing.T) {
	p := NewProxy()
	expect := func(step string, services, endpoints float64) {
		t.Helper()
		got := values(t, p)
		if got["service_changes_pending"] != services || got["endpoint_changes_pending"] != endpoints {
			t.Errorf("%s: %v Services and %v EndpointSlices wait, want %v and %v", step, got["service_changes_pending"], got["endpoint_changes_pending"], services, endpoints)
		}
	}
	p.Queued(at(1), 1, 2)
	p.Queued(at(2), 10, 20)
	expect("queued", 11, 22)
	p.Applied(at(3), time.Second, errors.New("no"))
	expect("failed", 11, 22)
	p.Queued(at(4), 100, 200)
	p.Applied(at(3.5), time.Second, nil)
	expect("applied while another came", 100, 200)
	for i := range 2 * maxWaiting {
		p.Queued(at(5+float64(i)), 1, 0)
	}
	if len(p.waiting) > maxWaiting {
		t.Errorf("%d batches", len(p.waiting))
	}
	expect("many", 100+2*maxWaiting, 200)
	p.Applied(at(5+2*maxWaiting), time.Second, nil)
	expect("all applied", 0, 0)
}

func TestBuckets(t *testing.T) {
	b := programmingBuckets()
	if len(b) != 80 || b[0] != 0.25 || b[1] != 0.5 || b[2] != 1 || b[60] != 59 || b[61] != 60 || b[72] != 115 || b[73] != 120 || b[79] != 300 || !slices.IsSorted(b) {
		t.Errorf("%v", b)
	}
}

// TestTracker is the way of triggers through revisions.
func TestTracker(t *testing.T) {
	var tracker Tracker
	note := func(revision uint64, ids ...float64) {
		var triggers []Trigger
		for _, id := range ids {
			triggers = append(triggers, Trigger{at(id), IPv4})
		}
		tracker.Note(revision, triggers)
	}
	applied := func(revision uint64, ids ...float64) {
		t.Helper()
		var want []Trigger
		for _, id := range ids {
			want = append(want, Trigger{at(id), IPv4})
		}
		if diff := cmp.Diff(want, tracker.Applied(revision)); diff != "" {
			t.Errorf("revision %d (-want +got):\n%s", revision, diff)
		}
	}
	applied(9)
	note(10, 1, 2)
	note(11)
	note(12, 3)
	note(14, 4)
	applied(9)
	applied(10, 1, 2)
	applied(10)
	applied(13, 3) // one that a later State replaced before the plane had it
	applied(20, 4)
	note(21, 5)
	applied(21, 5)

	for i := range maxTriggers + 10 {
		note(uint64(30+i), float64(i))
	}
	if kept, dropped := len(tracker.Applied(1<<60)), tracker.Dropped(); kept != maxTriggers || dropped != 10 {
		t.Errorf("kept %d, dropped %d", kept, dropped)
	}
	note(1<<61, 6)
	applied(1<<61, 6)
}

// TestConcurrent is for the race detector: the builder, planes and scrapes meet.
func TestConcurrent(t *testing.T) {
	const changes = 200
	p, tracker := NewProxy(IPv4, IPv6), new(Tracker)
	var all sync.WaitGroup
	all.Go(func() {
		for n := range changes {
			p.Queued(at(float64(n)), 1, 1)
			tracker.Note(uint64(n), []Trigger{{at(float64(n)), IPv6}})
		}
	})
	for range 2 {
		all.Go(func() {
			for n := range changes {
				p.Applied(at(float64(n)), time.Millisecond, nil)
				p.Programmed(tracker.Applied(uint64(n)), at(float64(n)))
			}
		})
	}
	for range 20 {
		p.Collect(make(chan prometheus.Metric, 100))
	}
	all.Wait()
	p.Programmed(tracker.Applied(changes), at(changes))
	if got := values(t, p); got["service_changes_total"] != changes || got["network_programming_duration_seconds IPv6 count"] != changes {
		t.Errorf("%v", got)
	}
}
