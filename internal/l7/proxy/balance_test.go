package proxy

import (
	"errors"
	"net/netip"
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

var errRefused = errors.Join(errRetry, errConnect, syscall.ECONNREFUSED)

// TestEjection holds when an endpoint gets no requests, and when again: Envoy's rules.
func TestEjection(t *testing.T) {
	b := made(4, nil, nil, 1)
	e := b.endpoints[2]
	for range 4 {
		b.note(e, 0, errRefused, second)
	}
	b.note(e, 200, nil, second) // not in a row
	for range 4 {
		b.note(e, 0, errRefused, second)
	}
	if n := len(shares(b, filter.RoundRobin, 8, second)); n != 4 {
		t.Fatalf("%d endpoints get requests", n)
	}
	for round := int64(1); round <= 3; round++ {
		now := round * 1000 * second
		for e.connects.Load() < 4 {
			b.note(e, 0, errRefused, now)
		}
		e.changed = now // nothing is forgiven here
		b.note(e, 0, errRefused, now)
		for at := range int64(40 * round) {
			b.look(now + at*second)
			want := 4 - bit(at < 30*round)
			if n := len(shares(b, filter.RoundRobin, 8, now)); n != want {
				t.Fatalf("round %d, %d s: %d endpoints get requests, want %d", round, at, n, want)
			}
			e.changed = now + at*second
		}
	}
	if n := b.meter.ejections[causeConnect].Load(); n != 3 {
		t.Errorf("%d ejections are counted", n)
	}
	for at := range int64(60) {
		b.look(10000*second + at*second)
	}
	if e.ejections != 0 {
		t.Errorf("%d ejections are not forgiven", e.ejections)
	}
}
