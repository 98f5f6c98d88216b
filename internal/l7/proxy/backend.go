package proxy

import (
	"math/rand/v2"
	"sync/atomic"

	"github.com/fairlead-net/fairlead/internal/l7"
)

// Balancing is how an endpoint is chosen.
type Balancing uint8

// The ways to choose an endpoint.
const (
	// RoundRobin takes one after the other.
	RoundRobin Balancing = iota
	// LeastRequest takes of two at random the one with fewer requests under way: "the
	// power of two choices" (Mitzenmacher, 2001).
	LeastRequest
)

// backend is what there is of a Backend at the moment. It is never changed but for
// its counter.
type backend struct {
	id    l7.BackendID
	meter *backendMeter
	// endpoints are those that get requests, all those and those that drain.
	endpoints, all []*endpoint
	next           *atomic.Uint32
}

// newBackend returns what a Backend becomes, with the connections that there are to
// its endpoints, and closes those to others.
func newBackend(want *l7.Backend, before *backend, shards int) *backend {
	known := map[place]*endpoint{}
	b := &backend{id: want.ID, next: new(atomic.Uint32), meter: new(backendMeter)}
	if before != nil {
		b.next, b.meter = before.next, before.meter
		for _, e := range before.all {
			known[e.place] = e
		}
	}
	add := func(at place) *endpoint {
		e := known[at]
		delete(known, at)
		if e == nil {
			e = newEndpoint(at, want.ID, shards)
		}
		b.all = append(b.all, e)
		return e
	}
	if want.Host != "" {
		b.endpoints = append(b.endpoints, add(place{host: want.Host, port: want.HostPort}))
	}
	var draining []*endpoint
	for _, w := range want.Endpoints {
		e := add(place{address: w.Address})
		if w.Draining {
			draining = append(draining, e)
		} else {
			b.endpoints = append(b.endpoints, e)
		}
	}
	if len(b.endpoints) == 0 {
		b.endpoints = draining
	}
	for _, e := range known {
		e.close()
	}
	return b
}

// close is for a backend that no Table names.
func (b *backend) close() {
	for _, e := range b.all {
		e.close()
	}
}

// choose returns the endpoint for a request, and another one, if there is, for every
// further try; nil if there is none.
func (b *backend) choose(how Balancing, failed *endpoint) *endpoint {
	n := uint32(len(b.endpoints))
	if n == 0 {
		return nil
	}
	i := (b.next.Add(1) - 1) % n
	if how == LeastRequest && n > 1 {
		i = rand.Uint32N(n)
		if j := (i + 1 + rand.Uint32N(n-1)) % n; b.endpoints[j].active.Load() < b.endpoints[i].active.Load() {
			i = j
		}
	}
	if b.endpoints[i] == failed {
		i = (i + 1) % n
	}
	return b.endpoints[i]
}

// pick returns the backend that a request of a Route goes to, by weight; nil if there
// is none.
func (s *state) pick(route *l7.Route) *backend {
	b, _ := s.backends.Get(s.draw(route))
	return b
}

// draw draws a backend by weight; the zero value if none has any.
func (s *state) draw(route *l7.Route) l7.BackendID { return draw(route.Backends) }

// draw draws one of several backends by weight; the zero value if none has any.
func draw(backends []l7.Weighted) l7.BackendID {
	total := uint64(0)
	for i := range backends {
		total += uint64(backends[i].Weight)
	}
	if total == 0 {
		return l7.BackendID{}
	}
	if len(backends) == 1 {
		return backends[0].Backend
	}
	at := rand.Uint64N(total)
	for i := range backends {
		w := &backends[i]
		if at < uint64(w.Weight) {
			return w.Backend
		}
		at -= uint64(w.Weight)
	}
	return l7.BackendID{}
}
