package agent

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead-net/fairlead/internal/lb"
	"github.com/fairlead-net/fairlead/internal/reconcile"
)

// in returns the health of a plane in which nothing is amiss but what is said.
func in(name string, applied uint64, lag time.Duration, problem string) reconcile.Health {
	return reconcile.Health{Plane: name, Applied: applied, Lag: lag, Problem: problem}
}

func TestReady(t *testing.T) {
	for name, c := range map[string]struct {
		synced bool
		planes []reconcile.Health
		want   string
	}{
		"not synced":    {false, []reconcile.Health{in("lb-nft", 3, 0, "")}, "not everything has been read from the API server yet"},
		"no planes":     {true, nil, ""},
		"applied":       {true, []reconcile.Health{in("lb-nft", 3, 0, "")}, ""},
		"failed later":  {true, []reconcile.Health{in("lb-nft", 3, time.Hour, "the kernel said no")}, ""},
		"port taken":    {true, []reconcile.Health{in("lb-nft", 3, 0, ""), in("lb-health", 0, 0, "port 31000 is taken")}, ""},
		"no uplink":     {true, []reconcile.Health{in("lb-nft", 3, 0, ""), in("lb-uplink", 0, 0, "eth0 refuses the programs")}, ""},
		"never applied": {true, []reconcile.Health{in("lb-nft", 3, 0, ""), in("dns", 0, 0, "port 53 is taken")}, "plane dns has applied nothing yet: port 53 is taken"},
	} {
		if got := ready(c.synced, c.planes); got != c.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestProxyHealth says no only for what keeps Services from being served.
func TestProxyHealth(t *testing.T) {
	for name, c := range map[string]struct {
		planes []reconcile.Health
		want   bool
	}{
		"all well":               {[]reconcile.Health{in("lb-ebpf", 3, 0, ""), in("lb-nft", 3, 0, "")}, true},
		"one Service is refused": {[]reconcile.Health{in("lb-ebpf", 3, 0, ""), in("lb-nft", 3, 0, "10.0.0.1:80 is refused")}, true},
		"for a minute":           {[]reconcile.Health{in("lb-ebpf", 3, time.Minute, "no"), in("lb-nft", 3, 0, "")}, true},
		"for longer":             {[]reconcile.Health{in("lb-ebpf", 3, time.Minute+1, "no"), in("lb-nft", 3, 0, "")}, false},
		"packets for longer":     {[]reconcile.Health{in("lb-ebpf", 3, 0, ""), in("lb-nft", 3, time.Hour, "no")}, false},
		"never applied":          {[]reconcile.Health{in("lb-ebpf", 3, 0, ""), in("lb-nft", 0, 0, "no")}, false},
		"at the uplinks alone":   {[]reconcile.Health{in("lb-nft", 3, 0, ""), in("lb-uplink", 0, time.Hour, "no")}, true},
		"at loopback alone":      {[]reconcile.Health{in("lb-nft", 3, 0, ""), in("lb-loopback", 0, time.Hour, "no")}, true},
		"health checks alone":    {[]reconcile.Health{in("lb-nft", 3, 0, ""), in("lb-health", 3, time.Hour, "no")}, true},
		"announcements alone":    {[]reconcile.Health{in("lb-nft", 3, 0, ""), in("announce-bgp", 3, time.Hour, "no")}, true},
	} {
		a := &Agent{}
		a.synced.Store(true)
		for _, h := range c.planes {
			a.pipelines = append(a.pipelines, pipeline{health: func() reconcile.Health { return h }})
		}
		if got, _ := a.proxyHealth(); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// stuck is a plane that fails or hangs when it is told to.
type stuck struct {
	mu   sync.Mutex
	err  error
	hang bool
}

func (s *stuck) Apply(ctx context.Context, _ lb.Table) error {
	s.mu.Lock()
	err, hang := s.err, s.hang
	s.mu.Unlock()
	if hang {
		<-ctx.Done()
	}
	return err
}

func (s *stuck) Close() error { return nil }

func (s *stuck) set(err error, hang bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.hang = err, hang
}

// TestAllHealthy follows planes from their start to one that hangs.
func TestAllHealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		planes := map[string]*stuck{"lb-ebpf": {}, "lb-nft": {}, uplinkPlane: {err: errors.New("never")}}
		var loops []*reconcile.Loop[lb.Table]
		for name, plane := range planes {
			loop := reconcile.New(name, plane, func(t lb.Table) uint64 { return t.Revision }, slog.New(slog.DiscardHandler))
			loops = append(loops, loop)
			go func() { _ = loop.Run(t.Context()) }()
		}
		healthy := allHealthy(loops)
		revision := uint64(0)
		offer := func() {
			revision++
			for _, loop := range loops {
				loop.Offer(lb.Table{Revision: revision})
			}
		}
		expect := func(after time.Duration, what string, want bool) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			if healthy() != want {
				t.Errorf("%s: healthy is %t", what, !want)
			}
		}
		expect(0, "at the start", false)
		offer()
		expect(time.Hour, "applied", true)
		planes["lb-nft"].set(reconcile.Partial(errors.New("one is refused")), false)
		offer()
		expect(time.Hour, "in part", true)
		planes["lb-ebpf"].set(errors.New("no"), false)
		offer()
		expect(59*time.Second, "failing for a while", true)
		expect(2*time.Second, "failing", false)
		planes["lb-ebpf"].set(nil, false)
		expect(time.Minute, "mended", true)
		planes["lb-nft"].set(nil, true)
		offer()
		expect(59*time.Second, "hanging for a while", true)
		expect(2*time.Second, "hanging", false)
	})
}

// TestHealthWhileBusy asks while a plane cannot say anything of itself.
func TestHealthWhileBusy(t *testing.T) {
	a := bare(t, Options{})
	a.healthz = healthzOf(a)
	a.synced.Store(true)
	a.pipelines = []pipeline{{
		health: func() reconcile.Health { return in("lb-nft", 3, 0, "") },
		notes:  func() []string { t.Error("asked what takes the lock of a plane"); return nil },
	}}
	ask := served(t, a)
	for _, path := range []string{"/alive", "/livez", "/healthz", "/readyz", "/metrics"} {
		if code, body := ask(http.MethodGet, path); code != 200 {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
}

// TestReplacing ends what is replaced once packets are served, and is well if
// that alone fails.
func TestReplacing(t *testing.T) {
	packets := &stuck{err: errors.New("no")}
	var ended []string
	broken := errors.New("device busy")
	p := &replacing{packets: packets}
	p.ends("sockets", func() error { return broken })
	p.ends("uplinks", func() error { ended = append(ended, "uplinks"); return nil })
	if err := p.Apply(t.Context(), lb.Table{}); err == nil || reconcile.IsPartial(err) || len(ended) != 0 {
		t.Errorf("before packets are served: %v, ended %q", err, ended)
	}
	packets.set(reconcile.Partial(errors.New("one is refused")), false)
	for range 2 {
		err := p.Apply(t.Context(), lb.Table{})
		if !reconcile.IsPartial(err) || !errors.Is(err, broken) || !strings.Contains(err.Error(), "one is refused") || !strings.Contains(err.Error(), "ending sockets by eBPF") {
			t.Errorf("%v", err)
		}
	}
	if len(ended) != 1 {
		t.Errorf("ended %q", ended)
	}
	broken = nil
	packets.set(nil, false)
	if err := p.Apply(t.Context(), lb.Table{}); err != nil || len(p.left) != 0 {
		t.Errorf("%v, left %v", err, p.left)
	}
}
