package forward

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// TestMetrics holds the names and labels that dashboards for CoreDNS know, and
// that they count what they say.
func TestMetrics(t *testing.T) {
	up := serve(t, "127.0.0.43:0", says("192.0.2.43"))
	f := forwarder(t, Config{Zones: []Zone{{Name: ".", TCP: true, Servers: []Server{{Address: up}}}, {Name: "a.example", Servers: []Server{{Address: up}}}}})
	// Zones are ordered by length: the first is a.example, which leads back here.
	defer f.all()[1].streams.close()
	f.all()[0].own.Store(true)
	for range 3 {
		if _, ok := f.Cached(a("www.example.com.")); !ok {
			f.Exchange(t.Context(), a("www.example.com."))
		}
	}
	f.Exchange(t.Context(), a("mail.example.com."))
	values := gathered(t, f)
	to := up.String()
	for key, want := range map[string]float64{
		"coredns_cache_entries{server=dns://:53,type=success,view=,zones=.,}":                     2,
		"coredns_cache_entries{server=dns://:53,type=denial,view=,zones=.,}":                      0,
		"coredns_cache_hits_total{server=dns://:53,type=success,view=,zones=.,}":                  2,
		"coredns_cache_misses_total{server=dns://:53,view=,zones=.,}":                             1,
		"coredns_cache_requests_total{server=dns://:53,view=,zones=.,}":                           3,
		"coredns_cache_prefetch_total{server=dns://:53,view=,zones=.,}":                           0,
		"coredns_cache_served_stale_total{server=dns://:53,view=,zones=.,}":                       0,
		"coredns_cache_evictions_total{server=dns://:53,type=success,view=,zones=.,}":             0,
		"coredns_forward_max_concurrent_rejects_total{}":                                          0,
		"coredns_forward_healthcheck_broken_total{}":                                              0,
		"coredns_proxy_request_duration_seconds{proxy_name=forward,rcode=NOERROR,to=" + to + ",}": 2,
		"coredns_proxy_conn_cache_hits_total{proto=tcp,proxy_name=forward,to=" + to + ",}":        1,
		"coredns_proxy_conn_cache_misses_total{proto=tcp,proxy_name=forward,to=" + to + ",}":      1,
		"fairlead_dns_forward_loop{to=" + to + ",}":                                               1,
		"fairlead_dns_forward_foreign_replies_total{to=" + to + ",}":                              0,
	} {
		if value, ok := values[key]; !ok || value != want {
			t.Errorf("%s is %v (there: %t), want %v", key, value, ok, want)
		}
	}
	if t.Failed() {
		t.Log(strings.Join(slices.Sorted(maps.Keys(values)), "\n"))
	}
}

// gathered returns what the metrics of a Forwarder say, by name and labels.
func gathered(t *testing.T, f *Forwarder) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(f.Metrics()); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			key := family.GetName() + "{"
			for _, l := range m.GetLabel() {
				key += l.GetName() + "=" + l.GetValue() + ","
			}
			key += "}"
			values[key] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return values
}
