package proxy

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7"
)

// blackHole returns addresses that take connections and never answer.
func blackHole(t *testing.T, n int) (all []netip.AddrPort) {
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	for i := range n {
		at := netip.AddrFrom4([4]byte{127, 1, byte(i >> 8), byte(i)})
		all = append(all, netip.AddrPortFrom(at, uint16(l.Addr().(*net.TCPAddr).Port)))
	}
	return all
}

// checkedIn returns a proxy that does nothing by itself, whose backends, one a namespace, have
// health checks.
func checkedIn(t *testing.T, by l7.HealthCheck, namespaces map[string][]netip.AddrPort) *Proxy {
	p, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	balance, table := l7.DefaultBalance(), tableFor()
	balance.Check = by
	for namespace, to := range namespaces {
		id := inNamespace(namespace)
		table.Backends = table.Backends.Set(id, &l7.Backend{ID: id, Endpoints: endpoints(to...), Balance: &balance})
	}
	if err := p.Apply(context.Background(), table); err != nil {
		t.Fatal(err)
	}
	return p
}

func inNamespace(name string) l7.BackendID {
	return l7.BackendID{Service: desired.Name{Namespace: name, Name: "web"}, Port: "http"}
}

// TestHealthChecksDivided holds that endpoints of many namespaces which do not answer
// their checks do not hold up those of another one, which are made when they are due.
func TestHealthChecksDivided(t *testing.T) {
	const namespaces, each, modest = 20, 40, 5
	of := map[string][]netip.AddrPort{}
	for range modest {
		of["modest"] = append(of["modest"], serveHTTP(t, func(http.ResponseWriter, *http.Request) {}))
	}
	for i, hole := 0, blackHole(t, namespaces*each); i < namespaces; i++ {
		of[fmt.Sprint(i)] = hole[i*each : (i+1)*each]
	}
	by := l7.HealthCheck{Protocol: l7.CheckHTTP, Path: "/", Interval: time.Second, Timeout: time.Hour, Unhealthy: 3, Healthy: 2}
	p := checkedIn(t, by, of)
	b, _ := p.state.Load().backends.Get(inNamespace("modest"))
	for round := range int64(4) {
		p.check(p.state.Load().backends.All(), 1+round*2*second)
		until(t, func() bool {
			return b.meter.checks[1].Load() == uint64(modest*(round+1)) && !p.checks.has("modest")
		})
	}
	p.checks.portions.mu.Lock()
	defer p.checks.portions.mu.Unlock()
	if n := p.checks.taken; n < maxChecks-modest || n > maxChecks+namespaces || len(p.checks.of) != namespaces {
		t.Errorf("%d checks are under way, of %d namespaces", n, len(p.checks.of))
	}
}

// TestHealthChecksGiveWay holds that a namespace which has taken what there was, and always has
// more to ask, leaves another one its part.
func TestHealthChecksGiveWay(t *testing.T) {
	hole := blackHole(t, 600)
	by := l7.HealthCheck{Protocol: l7.CheckHTTP, Path: "/", Interval: time.Second, Timeout: 20 * time.Millisecond, Unhealthy: 3, Healthy: 2}
	p := checkedIn(t, by, map[string][]netip.AddrPort{"first": hole[:300], "second": hole[300:]})
	backends, now := p.state.Load().backends, int64(1)
	first, _ := backends.Get(inNamespace("first"))
	only := maps.All(map[l7.BackendID]*backend{first.id: first})
	many := func(namespace string) int {
		p.checks.portions.mu.Lock()
		defer p.checks.portions.mu.Unlock()
		return p.checks.of[namespace]
	}
	until(t, func() bool {
		now += 2 * second
		p.check(only, now)
		return many("first") > maxChecks*2/5
	})
	until(t, func() bool {
		now += 2 * second
		p.check(backends.All(), now)
		return many("second") > maxChecks*3/10 // had the first one kept its half, a quarter were left
	})
}
