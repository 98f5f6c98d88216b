package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

const second = int64(time.Second)

// made returns a backend of so many endpoints that nobody listens at.
func made(n int, change func(*l7.Balance), before *backend, now int64) *backend {
	by := l7.DefaultBalance()
	if change != nil {
		change(&by)
	}
	want := &l7.Backend{ID: backendID, Balance: &by}
	for i := range n {
		want.Endpoints = append(want.Endpoints, l7.Endpoint{Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 80)})
	}
	return newBackend(want, before, 1, now)
}

// shares returns how often each endpoint is chosen.
func shares(b *backend, how filter.Algorithm, requests int, now int64) map[*endpoint]int {
	count := map[*endpoint]int{}
	for range requests {
		count[b.choose(how, nil, now)]++
	}
	return count
}

var errNoPort = errors.Join(errRetry, errConnect, syscall.ECONNREFUSED)

// TestEjection holds when an endpoint gets no requests, and when again: Envoy's rules.
func TestEjection(t *testing.T) {
	b := made(4, nil, nil, 1)
	e := b.endpoints[2]
	for range 4 {
		b.note(e, 0, errNoPort, second)
	}
	b.note(e, 200, nil, second) // not in a row
	for range 4 {
		b.note(e, 0, errNoPort, second)
	}
	if n := len(shares(b, filter.RoundRobin, 8, second)); n != 4 {
		t.Fatalf("%d endpoints get requests", n)
	}
	for round := int64(1); round <= 3; round++ {
		now := round * 1000 * second
		for e.connects.Load() < 4 {
			b.note(e, 0, errNoPort, now)
		}
		e.changed = now // nothing is forgiven here
		b.note(e, 0, errNoPort, now)
		for at := range 20 * round {
			b.look(now + at*second)
			want := 4 - bit(at < 10*round)
			if n := len(shares(b, filter.RoundRobin, 8, now)); n != want {
				t.Fatalf("round %d, %d s: %d endpoints get requests, want %d", round, at, n, want)
			}
			e.changed = now + at*second
		}
	}
	b.note(e, 200, nil, 5000*second) // it has come back
	b.note(e, 0, errNoPort, 5000*second)
	if e.out.Load() != 0 {
		t.Error("one failure is enough for an endpoint that has come back")
	}
	if n := b.meter.ejections[causeConnect].Load(); n != 3 {
		t.Errorf("%d ejections are counted", n)
	}
	for e.out.Load() == 0 {
		b.note(e, 0, errNoPort, 6000*second)
	}
	if b.look(7000 * second); !b.note(e, 0, errNoPort, 7000*second) {
		t.Error("one failure is not enough for an endpoint that has not come back")
	}
	for at := range int64(120) {
		b.look(10000*second + at*second)
	}
	if e.ejections != 0 {
		t.Errorf("%d ejections are not forgiven", e.ejections)
	}
}

// TestEjectionBounds holds that never too many endpoints are out, and never the last one.
func TestEjectionBounds(t *testing.T) {
	for _, c := range []struct{ endpoints, percent, out int }{{1, 100, 0}, {2, 100, 1}, {2, 10, 1}, {4, 50, 2}, {10, 10, 1}, {10, 100, 9}, {3, 0, 1}} {
		b := made(c.endpoints, func(by *l7.Balance) { by.Ejection.Percent = c.percent }, nil, 1)
		for _, e := range b.endpoints {
			for range 50 {
				b.note(e, 0, errNoPort, second)
			}
		}
		if n := len(shares(b, filter.RoundRobin, 100, second)); n != c.endpoints-c.out {
			t.Errorf("%d endpoints, %d %%: %d get requests", c.endpoints, c.percent, n)
		}
	}
}

// TestEjectionKinds holds which failures count as what.
func TestEjectionKinds(t *testing.T) {
	connect, gateway, server := l7.Ejection{Connect: 3}, l7.Ejection{Gateway: 3}, l7.Ejection{Server: 3}
	for name, c := range map[string]struct {
		by     l7.Ejection
		status int
		err    error
		out    bool
	}{
		"refused":                {connect, 0, errNoPort, true},
		"not in time":            {connect, 0, errors.Join(errRetry, errConnect, context.DeadlineExceeded), true},
		"no descriptor":          {connect, 0, errors.Join(errRetry, errConnect, syscall.EMFILE), false},
		"closing":                {connect, 0, errors.Join(errRetry, errConnect, context.Canceled), false},
		"certificate":            {connect, 0, errors.Join(errRetry, errConnect, errHandshake), false},
		"503 is a connection":    {connect, 503, nil, false},
		"broken":                 {connect, 0, io.ErrUnexpectedEOF, false},
		"refused for gateway":    {gateway, 0, errNoPort, true},
		"broken for gateway":     {gateway, 0, io.ErrUnexpectedEOF, true},
		"slow for gateway":       {gateway, 0, os.ErrDeadlineExceeded, true},
		"502":                    {gateway, 502, nil, true},
		"504, which is repeated": {gateway, 504, errors.Join(errRetry, errNext), true},
		"500 for gateway":        {gateway, 500, nil, false},
		"the client":             {gateway, 0, errClient, false},
		"of several requests":    {connect, 0, errors.Join(errRetry, errShared, errConnect), false},
		"a limit":                {gateway, 0, errors.Join(errRetry, errFull), false},
		"500":                    {server, 500, nil, true},
		"503 for a page":         {server, 503, errReplaced, true},
		"499":                    {server, 499, nil, false},
	} {
		c.by.Time, c.by.MaxTime, c.by.Percent = time.Second, time.Second, 50
		b := made(2, func(by *l7.Balance) { by.Ejection = c.by }, nil, 1)
		for range 3 {
			b.note(b.endpoints[0], c.status, c.err, second)
		}
		if out := b.endpoints[0].out.Load() != 0; out != c.out {
			t.Errorf("%s: ejected %t", name, out)
		}
	}
	b := made(2, func(by *l7.Balance) { by.Ejection.Gateway = 3 }, nil, 1)
	for i := range 100 { // others in between
		b.note(b.endpoints[0], []int{503, 500}[i%2], nil, second)
	}
	if b.endpoints[0].out.Load() != 0 {
		t.Error("errors count that are not in a row")
	}
}

// TestEjectionOutlives holds that a new state of the backend knows who is out, also if
// that happens while it is made.
func TestEjectionOutlives(t *testing.T) {
	old := made(4, nil, nil, 1)
	eject := func(e *endpoint) {
		for range 5 {
			old.note(e, 0, errNoPort, second)
		}
	}
	eject(old.endpoints[0])
	now := made(5, nil, old, second)
	eject(old.endpoints[1]) // by a request that began before
	now.look(second)
	got := shares(now, filter.Random, 1000, second)
	if len(got) != 3 || got[old.endpoints[0]]+got[old.endpoints[1]] > 0 {
		t.Errorf("%d endpoints get requests", len(got))
	}
}

// TestTiers holds that endpoints which are far, and those that drain, get requests only
// where there are no others that can be used.
func TestTiers(t *testing.T) {
	by := l7.DefaultBalance()
	by.Ejection.Percent = 100
	want := &l7.Backend{ID: backendID, Balance: &by}
	for i := range 5 {
		address := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 80)
		want.Endpoints = append(want.Endpoints, l7.Endpoint{Address: address, Far: i >= 1 && i < 4, Draining: i == 4})
	}
	b := newBackend(want, nil, 1, 1)
	check := func(what string, from, to int) {
		t.Helper()
		got := shares(b, filter.RoundRobin, 100, second)
		for i, e := range b.all {
			if (got[e] > 0) != (i >= from && i < to) {
				t.Errorf("%s: endpoint %d gets %d requests", what, i, got[e])
			}
		}
	}
	check("all well", 0, 1)
	if e := b.choose(filter.RoundRobin, b.all[0], second); !slices.Contains(b.far, e) {
		t.Error("a request that the near one failed does not go to one that is far")
	}
	for range 5 {
		b.note(b.all[0], 0, errNoPort, second)
	}
	check("the near one is out", 1, 4)
	for _, e := range b.endpoints[1:] {
		e.sick.Store(true)
	}
	b.shared.changed.Store(true)
	b.look(second)
	check("only what drains is well", 4, 5)
	b.all[4].sick.Store(true)
	b.shared.changed.Store(true)
	b.look(second)
	check("nothing is well", 0, 4)
}

// TestAlgorithms holds that each gives endpoints that are alike the same share, and that
// those which look at the load give less to one that has more.
func TestAlgorithms(t *testing.T) {
	for _, how := range []filter.Algorithm{0, filter.RoundRobin, filter.LeastRequest, filter.Random, filter.EWMA, filter.PeakEWMA} {
		b := made(8, nil, nil, 1)
		for _, e := range b.endpoints {
			e.observe(second/100, 10*second, false)
		}
		for e, n := range shares(b, how, 16000, second) {
			if n < 1800 || n > 2200 {
				t.Errorf("%q: %s gets %d of 16000", how, e.address, n)
			}
		}
		loaded := b.endpoints[3]
		loaded.active.Store(5)
		if how == filter.EWMA {
			loaded.observe(second, 30*second, false)
		}
		n, looks := shares(b, how, 16000, second)[loaded], how == filter.LeastRequest || how == filter.EWMA || how == filter.PeakEWMA
		if looks != (n == 0) {
			t.Errorf("%q: one that is loaded gets %d of 16000", how, n)
		}
		for range 200 {
			if b.choose(how, loaded, second) == loaded {
				t.Errorf("%q: the one that failed is chosen again", how)
			}
		}
	}
}

// TestPeakEWMA holds that one slow answer counts at once, and is forgotten in time.
func TestPeakEWMA(t *testing.T) {
	e := &endpoint{}
	e.observe(second/100, 10*second, true)
	e.observe(second, 10*second+1, true)
	if got := e.latency(); got != float64(second) {
		t.Errorf("%v after a peak", time.Duration(got))
	}
	for i := range int64(30) {
		e.observe(second/100, (11+i)*second, true)
	}
	if got := time.Duration(e.latency()); got > 100*time.Millisecond {
		t.Errorf("%v half a minute later", got)
	}
}

// TestSlowStart holds that an endpoint which has just come gets the share that its age
// gives it.
func TestSlowStart(t *testing.T) {
	slow := func(by *l7.Balance) { by.SlowStart = 100 * time.Second }
	for _, how := range []filter.Algorithm{filter.RoundRobin, filter.LeastRequest, filter.Random} {
		before := made(9, slow, nil, second)
		if before.usable.Load().warmBy != 0 {
			t.Error("endpoints are new that are there from the beginning")
		}
		b := made(10, slow, before, 1000*second)
		young := b.endpoints[9]
		for age, want := range map[int64]float64{0: 0.1, 5: 0.1, 30: 0.3, 70: 0.7, 100: 1, 200: 1} {
			got := shares(b, how, 50000, (1000+age)*second)
			share := float64(got[young]) / (float64(50000-got[young]) / 9)
			if share < want*0.85 || share > want*1.15 {
				t.Errorf("%q after %d s: %.2f of the share of others, want %.2f", how, age, share, want)
			}
			if old := float64(got[b.endpoints[0]]) / float64(got[b.endpoints[4]]); how != filter.RoundRobin && (old < 0.85 || old > 1.15) {
				t.Errorf("%q after %d s: others differ by %.2f", how, age, old)
			}
		}
		b.look(1100 * second)
		if b.usable.Load().warmBy != 0 {
			t.Error("it is new for ever")
		}
	}
}

// TestWeights holds that backends of a Route get the share of requests that their weights
// say.
func TestWeights(t *testing.T) {
	route, total := &l7.Route{}, 0
	for i, w := range []uint32{0, 1, 20, 79, 300} {
		route.Backends = append(route.Backends, l7.Weighted{Backend: l7.BackendID{Port: fmt.Sprint(i)}, Weight: w})
		total += int(w)
	}
	const requests = 200000
	count := map[l7.BackendID]int{}
	for range requests {
		count[new(state).draw(route)]++
	}
	for _, w := range route.Backends {
		want := float64(w.Weight) * requests / float64(total)
		if got := float64(count[w.Backend]); math.Abs(got-want) > 6*math.Sqrt(want) {
			t.Errorf("weight %d: %v requests, want %v", w.Weight, got, want)
		}
	}
}

// TestByKey holds that keys stay where they are while an endpoint is out, but for its own.
func TestByKey(t *testing.T) {
	for how, most := range map[filter.Algorithm]int{filter.RingHash: 0, filter.Maglev: 200} {
		b := made(5, func(by *l7.Balance) { by.How = how }, nil, 1)
		before := map[uint64]*endpoint{}
		for key := range uint64(5000) {
			before[key] = b.usable.Load().byKey(key, nil)
			if b.usable.Load().byKey(key, before[key]) == before[key] {
				t.Fatalf("%s: the endpoint that failed is chosen again", how)
			}
		}
		gone, astray := b.endpoints[1], 0
		for range 5 {
			b.note(gone, 0, errNoPort, second)
		}
		for key, e := range before {
			switch now := b.usable.Load().byKey(key, nil); {
			case now == gone:
				t.Fatalf("%s: a key is at an endpoint that is out", how)
			case now != e && e != gone:
				astray++
			}
		}
		if astray > most {
			t.Errorf("%s: %d of 5000 keys move whose endpoint stays", how, astray)
		}
		b.look(100 * second)
		for key, e := range before {
			if b.usable.Load().byKey(key, nil) != e {
				t.Fatalf("%s: a key is elsewhere than before", how)
			}
		}
	}
}

// TestSessionOfUnwell holds that a session leaves an endpoint which gets no requests, but
// not one which gets some since none is well.
func TestSessionOfUnwell(t *testing.T) {
	for _, persistent := range []bool{true, false} {
		b := made(3, nil, nil, 1)
		e, key := b.endpoints[0], ""
		if key = e.token(); !persistent {
			for n := 0; preferred(b.endpoints, hashOf(key), 1, nil) != e; n++ {
				key = fmt.Sprint(n)
			}
		}
		if b.unwell(key, persistent) != nil {
			t.Errorf("persistent %t: all are well", persistent)
		}
		e.sick.Store(true)
		b.shared.changed.Store(true)
		if b.look(second); b.unwell(key, persistent) != e {
			t.Errorf("persistent %t: the endpoint is not well", persistent)
		}
		for range 100 {
			if _, at := b.newKey(nil); at == e {
				t.Errorf("persistent %t: a new session is at an endpoint that gets no requests", persistent)
			}
		}
		for _, other := range b.endpoints {
			other.sick.Store(true)
		}
		b.shared.changed.Store(true)
		if b.look(second); b.unwell(key, persistent) != nil {
			t.Errorf("persistent %t: none is well", persistent)
		}
	}
}
