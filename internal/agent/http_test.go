package agent

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/kube"
	"github.com/fairlead-net/fairlead/internal/lb/health"
	"github.com/fairlead-net/fairlead/internal/reconcile"
)

// served runs a's HTTP server until the test ends and returns how to ask it.
func served(t *testing.T, a *Agent) func(method, path string) (int, string) {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a.options.HTTP = free.Addr().String()
	_ = free.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.serveHTTP(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serveHTTP = %v", err)
		}
	})
	return func(method, path string) (int, string) {
		t.Helper()
		for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
			request, err := http.NewRequestWithContext(t.Context(), method, "http://"+a.options.HTTP+path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			response, err := http.DefaultClient.Do(request)
			if err == nil {
				defer response.Body.Close()
				body, _ := io.ReadAll(response.Body)
				return response.StatusCode, string(body)
			}
			if time.Since(start) > 10*time.Second {
				t.Fatal(err)
			}
		}
	}
}

// TestHTTP follows one process from its start to a plane that fails.
func TestHTTP(t *testing.T) {
	a := bare(t, Options{Node: "worker-1"})
	var health atomic.Pointer[reconcile.Health]
	health.Store(&reconcile.Health{Plane: "lb", Wanted: 1, Problem: "no cgroup2"})
	a.pipelines = []pipeline{{health: func() reconcile.Health { return *health.Load() }, notes: func() []string { return []string{"runs on hope"} }}}
	ask := served(t, a)
	expect := func(path string, code int, texts ...string) {
		t.Helper()
		got, body := ask(http.MethodGet, path)
		for _, text := range texts {
			if got != code || !strings.Contains(body, text) {
				t.Errorf("%s: %d, want %d with %q:\n%.3000s", path, got, code, text, body)
			}
		}
	}
	expect("/livez", 200, "ok")
	expect("/alive", 200, "ok")
	expect("/readyz", 503, "not everything has been read")
	expect("/metrics", 200, `fairlead_plane_healthy{plane="lb"} 0`, "fairlead_state_synced 0", "go_goroutines")
	a.synced.Store(true)
	expect("/readyz", 503, "plane lb has applied nothing yet: no cgroup2")
	health.Store(&reconcile.Health{Plane: "lb", Wanted: 4, Applied: 4, Applies: 2, Failures: 1, LastApply: 250 * time.Millisecond})
	a.revision.Store(4)
	expect("/readyz", 200, "ok")
	expect("/healthz", 200, "ok")
	expect("/metrics", 200, `fairlead_plane_healthy{plane="lb"} 1`, `fairlead_plane_applied_revision{plane="lb"} 4`,
		`fairlead_plane_apply_failures_total{plane="lb"} 1`, `fairlead_plane_last_apply_seconds{plane="lb"} 0.25`, "fairlead_state_revision 4", "fairlead_state_synced 1")
	problem := "fairlead.yaml is not usable"
	a.configProblem.Store(&problem)
	health.Store(&reconcile.Health{Plane: "lb", Wanted: 5, Applied: 4, Problem: "no space"})
	expect("/livez", 200, "ok")
	expect("/readyz", 200, "ok")
	code, body := ask(http.MethodGet, "/status")
	var status Status
	if err := json.Unmarshal([]byte(body), &status); err != nil || code != 200 {
		t.Fatalf("/status: %d, %v: %s", code, err, body)
	}
	if len(status.Problems) != 1 || status.Problems[0] != problem || status.Node != "worker-1" || status.Version != "v1.2.3" || status.Revision != 4 || !status.Synced {
		t.Errorf("status %+v", status)
	}
	if p := status.Planes[0]; p.Healthy || p.Problem != "no space" || p.Plane != "lb" || p.Notes[0] != "runs on hope" {
		t.Errorf("plane %+v", p)
	}
	if code, _ := ask(http.MethodPost, "/status"); code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", code)
	}
	if code, _ := ask(http.MethodGet, "/else"); code != http.StatusNotFound {
		t.Errorf("elsewhere: %d", code)
	}
}

func healthzOf(a *Agent) *health.Healthz {
	return health.NewHealthz(health.HealthzConfig{Healthy: a.proxyHealth, Eligible: func() bool { return !a.leaving.Load() }})
}

// TestHTTPOfNode finds kube-proxy's answers beside what the chart's probes ask.
func TestHTTPOfNode(t *testing.T) {
	a := bare(t, Options{})
	a.healthz = healthzOf(a)
	ask := served(t, a)
	expect := func(path string, want int) {
		t.Helper()
		if got, body := ask(http.MethodGet, path); got != want {
			t.Errorf("%s: %d, want %d: %s", path, got, want, body)
		}
	}
	expect("/alive", 200)
	expect("/livez", 503)
	expect("/healthz", 503)
	a.synced.Store(true)
	a.leaving.Store(true)
	expect("/livez", 200)
	expect("/healthz", 503)
	a.leaving.Store(false)
	expect("/healthz", 200)
}

// runServices runs them until the test ends.
func runServices(t *testing.T, a *Agent) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, len(a.services))
	for _, serve := range a.services {
		go func() { done <- serve(ctx) }()
	}
	t.Cleanup(func() {
		cancel()
		for range a.services {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}

// TestAsKubeProxy asks the ports where kube-proxy has its metrics and its health,
// first while kube-proxy has them itself.
func TestAsKubeProxy(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := bare(t, Options{})
	a.options.Config.LB.MetricsBindAddress = netip.MustParseAddrPort(taken.Addr().String())
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a.options.Config.LB.HealthzBindAddress = netip.MustParseAddrPort(other.Addr().String())
	a.proxyMode, a.healthz = "ebpf", healthzOf(a)
	a.serveAsKubeProxy()
	runServices(t, a)
	wait := func(warnings int) {
		t.Helper()
		for start := time.Now(); len(a.Status().Warnings) != warnings; time.Sleep(10 * time.Millisecond) {
			if time.Since(start) > 20*time.Second {
				t.Fatalf("warnings %q", a.Status().Warnings)
			}
		}
	}
	wait(2)
	if s := a.Status(); !strings.Contains(s.Warnings[0], "stop it, kube-proxy for one") || len(s.Problems) > 1 {
		t.Errorf("%+v", s)
	}
	_ = taken.Close()
	wait(1)
	_ = other.Close()
	wait(0)
	a.synced.Store(true)
	for _, c := range []struct{ at, path, want string }{
		{taken.Addr().String(), "/proxyMode", "ebpf"}, {taken.Addr().String(), "/healthz", "ok\n"}, {taken.Addr().String(), "/metrics", "fairlead_state_synced 1"},
		{other.Addr().String(), "/healthz", `"nodeEligible":true`}, {other.Addr().String(), "/livez", `"healthy":true`},
	} {
		response, err := http.Get("http://" + c.at + c.path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if at := c.at == taken.Addr().String(); at != (response.Header.Get("Server") == "fairlead") {
			t.Errorf("%s names itself %q", c.path, response.Header.Get("Server"))
		}
		if response.StatusCode != 200 || !strings.Contains(string(body), c.want) {
			t.Errorf("%s: %d %.2000s", c.path, response.StatusCode, body)
		}
	}
}

// TestCovered leaves out what --http serves already.
func TestCovered(t *testing.T) {
	for _, c := range []struct {
		http, at string
		want     bool
	}{
		{":10256", "0.0.0.0:10256", true}, {":10256", "[::]:10256", true}, {"[::]:10256", "127.0.0.1:10256", true}, {"0.0.0.0:10256", "10.0.0.1:10256", true},
		{"10.0.0.1:10256", "10.0.0.1:10256", true}, {":10266", "0.0.0.0:10256", false}, {"0.0.0.0:10256", "[::]:10256", false}, {"0.0.0.0:10256", "[::1]:10256", false},
		{"127.0.0.1:10256", "0.0.0.0:10256", false}, {"127.0.0.1:10256", "10.0.0.1:10256", false}, {"localhost:10256", "127.0.0.1:10256", false}, {"", "0.0.0.0:10256", false},
	} {
		if got := covers(c.http, netip.MustParseAddrPort(c.at)); got != c.want {
			t.Errorf("--http %s covers %s: %t", c.http, c.at, got)
		}
	}
	a := bare(t, Options{HTTP: ":10256"})
	a.options.Config.LB.MetricsBindAddress = netip.AddrPort{}
	a.options.Config.LB.HealthzBindAddress = netip.MustParseAddrPort("0.0.0.0:10256")
	a.healthz = healthzOf(a)
	a.serveAsKubeProxy()
	if len(a.services) != 0 || len(a.proxyPorts) != 0 {
		t.Error("what --http serves is served once more")
	}
}

func TestNotAsKubeProxy(t *testing.T) {
	off := bare(t, Options{})
	off.options.Config.LB.MetricsBindAddress = netip.AddrPort{}
	off.healthz = healthzOf(off)
	off.serveAsKubeProxy()
	if len(off.services) != 0 || len(off.proxyPorts) != 0 {
		t.Error("an empty address is served")
	}
}

func TestHTTPPortTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	a := bare(t, Options{HTTP: taken.Addr().String()})
	if err := a.serveHTTP(t.Context()); err == nil || !strings.Contains(err.Error(), "is another process on this port? (set another with --http)") {
		t.Errorf("serveHTTP = %v", err)
	}
}

// TestBuild expects each new State to be offered to every plane, and a View
// without news to none.
func TestBuild(t *testing.T) {
	a := bare(t, Options{})
	offered := make(chan *desired.State, 8)
	for range 2 {
		a.pipelines = append(a.pipelines, pipeline{offer: func(s *desired.State) { offered <- s }})
	}
	ctx, cancel := context.WithCancel(t.Context())
	views, done := make(chan kube.View), make(chan error, 1)
	go func() { done <- a.build(ctx, views) }()
	views <- kube.View{}
	views <- kube.View{}
	views <- kube.View{Objects: desired.Objects{Synced: true}}
	views <- kube.View{Objects: desired.Objects{Synced: true}, Node: desired.Node{Name: "worker-1"}}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("build = %v", err)
	}
	close(offered)
	var revisions []uint64
	for s := range offered {
		revisions = append(revisions, s.Revision)
	}
	if len(revisions) != 6 || revisions[0] != 1 || revisions[1] != 1 || revisions[5] != 3 || a.revision.Load() != 3 || !a.synced.Load() {
		t.Errorf("revisions %v, at %d", revisions, a.revision.Load())
	}
}

// TestOnceKnown expects that a State that may lack objects, or the node's
// network, is kept from the kernel.
func TestOnceKnown(t *testing.T) {
	var revisions []uint64
	p := onceKnown(pipeline{offer: func(s *desired.State) { revisions = append(revisions, s.Revision) }})
	here := desired.Node{Network: &desired.Network{}}
	p.offer(&desired.State{Revision: 1, Node: here})
	p.offer(&desired.State{Revision: 2, Synced: true})
	p.offer(&desired.State{Revision: 3, Synced: true, Node: here})
	if len(revisions) != 1 || revisions[0] != 3 {
		t.Errorf("offered %v, want 3 alone", revisions)
	}
}

func TestNewMistakes(t *testing.T) {
	t.Setenv("KUBECONFIG", "/does/not/exist")
	o := bare(t, Options{}).options
	if _, err := New(o); err == nil || !strings.Contains(err.Error(), "no way to the API server") {
		t.Errorf("no cluster: %v", err)
	}
}
