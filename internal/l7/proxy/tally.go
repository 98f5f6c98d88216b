package proxy

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7"
)

const (
	// maxSeries bounds the routes that are counted apart; the rest is counted together.
	maxSeries = 10000
	// forget is how long a route is remembered that gets no requests.
	forget  = time.Hour
	buckets = 14
)

// timeBuckets are in seconds.
var timeBuckets = [buckets]float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

// statuses are those that are counted apart: every one that there may be.
const statuses = 600

// series counts the requests of one route. Statuses are counted by number, in
// blocks of which only those are there that are needed.
type series struct {
	classes [statuses / 100]atomic.Pointer[[100]atomic.Uint64]
	counts  [buckets + 1]atomic.Uint64
	// sum is in nanoseconds.
	sum atomic.Uint64
	// last is when a request was counted.
	last atomic.Int64
	// received and sent are bytes of requests and answers.
	received, sent atomic.Uint64
}

func (s *series) count(status int, took, now int64) {
	class := &s.classes[status/100]
	block := class.Load()
	if block == nil {
		class.CompareAndSwap(nil, new([100]atomic.Uint64))
		block = class.Load()
	}
	block[status%100].Add(1)
	i := 0
	for i < buckets && float64(took) > timeBuckets[i]*1e9 {
		i++
	}
	s.counts[i].Add(1)
	s.sum.Add(uint64(took))
	s.last.Store(now)
}

// key names a series by what the Table says, so that nothing a client sends makes
// one.
type key struct {
	source     desired.Ref
	rule, host string
}

// tallies counts what goes through the proxy.
type tallies struct {
	mu  sync.Mutex
	all map[key]*series
	// routes finds the series of a Route of the current Table.
	routes atomic.Pointer[sync.Map]
	// none counts requests that no route takes, and rest those beyond maxSeries.
	none, rest series
	// refused counts messages that are no requests, by status, shed connections beyond
	// the limit.
	refused [statuses]atomic.Uint64
	shed    atomic.Uint64
	// panics counts those that were recovered from.
	panics atomic.Uint64
	// listeners are by name.
	listeners map[string]*listenerMeter
	// streams are counted as routes are.
	streams               map[key]*streamMeter
	noStream, restStreams streamMeter
}

func newTallies() *tallies {
	t := &tallies{all: map[key]*series{}, listeners: map[string]*listenerMeter{}, streams: map[key]*streamMeter{}}
	t.routes.Store(new(sync.Map))
	return t
}

// turn begins with a new Table.
func (t *tallies) turn() { t.routes.Store(new(sync.Map)) }

// listener returns the meter of a listener, also of one that has been closed and opened.
func (t *tallies) listener(name string) *listenerMeter {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.listeners[name]
	if m == nil {
		m = new(listenerMeter)
		t.listeners[name] = m
	}
	return m
}

func (t *tallies) count(route *l7.Route, status int, took, now int64) *series {
	if status < 100 || status >= statuses {
		status = 0
	}
	s := t.of(route)
	s.count(status, took, now)
	return s
}

// refuse counts a message that is no request.
func (t *tallies) refuse(status int) { t.refused[status].Add(1) }

func (t *tallies) of(route *l7.Route) *series {
	if route == nil {
		return &t.none
	}
	routes := t.routes.Load()
	if s, ok := routes.Load(route); ok {
		return s.(*series)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	k := key{route.Source, route.Rule, route.Host}
	s := t.all[k]
	if s == nil {
		if len(t.all) >= maxSeries {
			return &t.rest
		}
		s = new(series)
		t.all[k] = s
	}
	routes.Store(route, s)
	return s
}

// prune forgets routes that have got no request for long.
func (t *tallies) prune(now int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	pruned := false
	for k, s := range t.all {
		if last := s.last.Load(); last != 0 && now-last > int64(forget) {
			delete(t.all, k)
			pruned = true
		}
	}
	t.pruneStreams(now)
	if pruned {
		t.turn()
	}
}
