package proxy

import (
	"math/rand/v2"
	"slices"
	"sync/atomic"

	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/filter"
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

// algorithm is what Routes and Services call it.
func (b Balancing) algorithm() filter.Algorithm {
	if b == LeastRequest {
		return filter.LeastRequest
	}
	return filter.RoundRobin
}

// usualBalance is that of Backends which have none.
var usualBalance = l7.DefaultBalance()

// backend is what there is of a Backend at the moment. It is never changed but for
// its counter, and for which of its endpoints get requests.
type backend struct {
	id      l7.BackendID
	meter   *backendMeter
	balance *l7.Balance
	shared  *shared
	// endpoints are those that get requests if nothing is wrong with them: those that are
	// near and far, else those that drain. all are these and those that drain.
	endpoints, near, far, draining, all []*endpoint
	// usable are those that do at the moment.
	usable atomic.Pointer[selection]
	next   *atomic.Uint32
}

// newBackend returns what a Backend becomes, with the connections that there are to
// its endpoints, and closes those to others.
func newBackend(want *l7.Backend, before *backend, shards int, now int64) *backend {
	known := map[place]*endpoint{}
	b := &backend{id: want.ID, next: new(atomic.Uint32), meter: new(backendMeter), shared: new(shared), balance: want.Balance}
	if b.balance == nil {
		b.balance = &usualBalance
	}
	if before != nil {
		b.next, b.meter, b.shared = before.next, before.meter, before.shared
		for _, e := range before.all {
			known[e.place] = e
		}
	}
	add := func(at place) *endpoint {
		e := known[at]
		delete(known, at)
		if e == nil {
			if e = newEndpoint(at, want.ID, shards); before != nil && len(before.endpoints) > 0 {
				e.born.Store(now)
			}
		}
		b.all = append(b.all, e)
		return e
	}
	if want.Host != "" {
		b.near = append(b.near, add(place{host: want.Host, port: want.HostPort}))
	}
	for _, w := range want.Endpoints {
		tier := &b.near
		switch {
		case w.Draining:
			tier = &b.draining
		case w.Far:
			tier = &b.far
		}
		*tier = append(*tier, add(place{address: w.Address}))
	}
	if b.endpoints = slices.Concat(b.near, b.far); len(b.endpoints) == 0 {
		b.endpoints = b.draining
	}
	b.shared.mu.Lock()
	b.refresh(now)
	b.shared.mu.Unlock()
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
func (b *backend) choose(how filter.Algorithm, failed *endpoint, now int64) *endpoint {
	return b.usable.Load().choose(how, b.next, failed, now)
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
