package proxy

import (
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// selection is the endpoints of a backend that get requests. It is never changed: when an
// endpoint is ejected, or comes back, another one takes its place.
type selection struct {
	endpoints []*endpoint
	// whole are those that would, if nothing was wrong with any.
	whole []*endpoint
	// spare are for a request that the only one of them has failed.
	spare []*endpoint
	// keys says which of them a key belongs to; nil if the backend has no such algorithm.
	keys filter.Keys
	// slow is how long endpoints take to get their share, warmBy when the last one that is
	// new has it; 0: all have.
	slow   time.Duration
	warmBy int64
}

// prepare makes what the choice needs.
func (s *selection) prepare(by *l7.Balance, now int64) {
	if by.How.ByKey() {
		hashes := make([]uint64, len(s.endpoints))
		for i, e := range s.endpoints {
			hashes[i] = e.hash
		}
		if s.keys = filter.NewRing(hashes); by.How == filter.Maglev {
			s.keys = filter.NewMaglev(hashes)
		}
	}
	s.slow = by.SlowStart
	if s.slow == 0 {
		return
	}
	for _, e := range s.endpoints {
		if born := e.born.Load(); born != 0 && after(born, s.slow) > now {
			s.warmBy = max(s.warmBy, after(born, s.slow))
		}
	}
}

// leastWarm is the share of an endpoint that has just come, and rejections how often
// another one is looked for because of that.
const (
	leastWarm  = 0.1
	rejections = 8
)

// accepts reports whether an endpoint takes a request that it is the turn for: one that
// is new, only sometimes.
func (s *selection) accepts(e *endpoint, now int64) bool {
	born := e.born.Load()
	if born == 0 || now-born >= int64(s.slow) {
		return true
	}
	return rand.Float64() < max(float64(now-born)/float64(s.slow), leastWarm)
}

// choose returns an endpoint, not the one that failed if there is another; nil if there
// is none.
func (s *selection) choose(how filter.Algorithm, turn *atomic.Uint32, failed *endpoint, now int64) *endpoint {
	switch len(s.endpoints) {
	case 0:
		return nil
	case 1:
		if s.endpoints[0] == failed && len(s.spare) > 0 {
			return s.spare[rand.IntN(len(s.spare))]
		}
		return s.endpoints[0]
	}
	e := s.once(how, turn, failed)
	for range rejections {
		if s.warmBy == 0 || s.accepts(e, now) {
			break
		}
		e = s.once(how, turn, failed)
	}
	return e
}

// once does so without regard to those that are new. There are at least two.
func (s *selection) once(how filter.Algorithm, turn *atomic.Uint32, failed *endpoint) *endpoint {
	n := uint32(len(s.endpoints))
	if how == filter.RoundRobin || how == 0 || how.ByKey() {
		i := (turn.Add(1) - 1) % n
		if s.endpoints[i] == failed {
			i = (i + 1) % n
		}
		return s.endpoints[i]
	}
	i := rand.Uint32N(n)
	j := (i + 1 + rand.Uint32N(n-1)) % n
	first, second := s.endpoints[i], s.endpoints[j]
	switch {
	case first == failed:
		return second
	case second == failed || how == filter.Random:
		return first
	case second.cost(how) < first.cost(how):
		return second
	}
	return first
}

// cost is what of two endpoints the one has less of that is chosen.
func (e *endpoint) cost(how filter.Algorithm) float64 {
	switch how {
	case filter.EWMA:
		return e.latency()
	case filter.PeakEWMA:
		// One that has not answered yet is tried, but not by everybody.
		return max(e.latency(), 1) * float64(e.active.Load()+1)
	}
	return float64(e.active.Load())
}

// byKey returns the endpoint of a key.
func (s *selection) byKey(key uint64, failed *endpoint) *endpoint {
	at := s.keys.At(key, -1)
	if at >= 0 && s.endpoints[at] == failed {
		if at = s.keys.At(key, at); s.endpoints[at] == failed && len(s.spare) > 0 {
			return s.spare[key%uint64(len(s.spare))]
		}
	}
	if at < 0 {
		return nil
	}
	return s.endpoints[at]
}
