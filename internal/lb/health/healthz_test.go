package health

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// TestHealthz goes through what the proxy and the node can be.
func TestHealthz(t *testing.T) {
	newNamespace(t)
	var healthy, eligible atomic.Bool
	updated := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	h := NewHealthz(HealthzConfig{Eligible: eligible.Load, Healthy: func() (bool, time.Time) { return healthy.Load(), updated }})
	mux := http.NewServeMux()
	mux.Handle("/healthz", h.HealthzHandler())
	mux.Handle("/livez", h.LivezHandler())
	run(t, &Waiting{What: "health", Address: ":10256", Handler: mux, Log: quiet()})
	for _, c := range []struct {
		healthy, eligible bool
		healthz, livez    int
	}{{true, true, 200, 200}, {true, false, 503, 200}, {false, true, 503, 503}, {false, false, 503, 503}} {
		healthy.Store(c.healthy)
		eligible.Store(c.eligible)
		for path, want := range map[string]int{"/healthz": c.healthz, "/livez": c.livez} {
			r := ask(t, "127.0.0.1:10256", "GET "+path)
			if r.status != want || r.header.Get("Content-Type") != "application/json" || r.header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%+v, %s: %+v", c, path, r)
			}
			checkBody(t, r.body, path == "/healthz", c.healthy, c.eligible, want == 200, updated)
		}
	}
	for _, address := range []string{"127.0.0.1:10256", "[::1]:10256"} {
		if r := ask(t, address, "GET /metrics"); r.status != 404 {
			t.Errorf("another path: %+v", r)
		}
	}
	want := map[string]float64{
		"kubeproxy_proxy_healthz_total code=200": 1, "kubeproxy_proxy_healthz_total code=503": 3,
		"kubeproxy_proxy_livez_total code=200": 2, "kubeproxy_proxy_livez_total code=503": 2,
	}
	if diff := cmp.Diff(want, gather(t, h.Metrics()...)); diff != "" {
		t.Error(diff)
	}
}

// checkBody reads an answer as a tool would.
func checkBody(t *testing.T, text string, node, healthy, eligible, well bool, updated time.Time) {
	t.Helper()
	var fields map[string]any
	must(t, json.Unmarshal([]byte(text), &fields))
	keys := []string{"currentTime", "healthy", "lastUpdated", "status"}
	if node {
		keys = []string{"currentTime", "healthy", "lastUpdated", "nodeEligible", "status"}
		if fields["nodeEligible"] != eligible {
			t.Errorf("nodeEligible is %v", fields["nodeEligible"])
		}
	}
	if got := slices.Sorted(maps.Keys(fields)); !slices.Equal(got, keys) || fields["healthy"] != healthy {
		t.Errorf("fields of %s", text)
	}
	var times struct {
		CurrentTime, LastUpdated time.Time
		Status                   map[string]familyHealth
	}
	must(t, json.Unmarshal([]byte(text), &times))
	family := familyHealth{updated, healthy}
	if diff := cmp.Diff(map[string]familyHealth{"IPv4": family, "IPv6": family}, times.Status); diff != "" {
		t.Errorf("status of the families: %s", diff)
	}
	if well && !times.LastUpdated.Equal(times.CurrentTime) || !well && !times.LastUpdated.Equal(updated) {
		t.Errorf("times of %s", text)
	}
	if age := time.Since(times.CurrentTime); age < 0 || age > patience {
		t.Errorf("currentTime of %s", text)
	}
}

// TestHealthzAtStart has no update to tell of, as kube-proxy then.
func TestHealthzAtStart(t *testing.T) {
	h := NewHealthz(HealthzConfig{Eligible: func() bool { return true }, Healthy: func() (bool, time.Time) { return false, time.Time{} }})
	answer := httptest.NewRecorder()
	h.LivezHandler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/livez", http.NoBody))
	if answer.Code != 503 || strings.Contains(answer.Body.String(), "status") {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not come to pass")
		}
	}
}

// gather returns the value of every series.
func gather(t *testing.T, all ...prometheus.Collector) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(all...)
	families, err := registry.Gather()
	must(t, err)
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetName() + "=" + l.GetValue()
			}
			values[name] = m.GetCounter().GetValue()
		}
	}
	return values
}
