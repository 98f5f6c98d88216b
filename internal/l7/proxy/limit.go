package proxy

import (
	lists "container/list"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

const (
	// maxClients bounds the addresses that are counted for one object.
	maxClients = 16 << 10
	// forgetLimits is after what time nothing is kept of an object's clients.
	forgetLimits = 10 * time.Minute
)

// limiters count what clients do, for each object that limits them.
type limiters struct {
	mu sync.RWMutex
	of map[desired.Ref]*limiter
}

// limiter counts for one object.
type limiter struct {
	used    atomic.Int64
	mu      sync.Mutex
	clients map[netip.Addr]*usage
	// idle are the usages of clients that have nothing under way, the longest so first.
	idle lists.List
}

// usage is what a client does.
type usage struct {
	client         netip.Addr
	second, minute filter.Bucket
	underWay       int
	// idle is its place among those; nil while something is under way.
	idle *lists.Element
}

// get returns the limiter of an object.
func (l *limiters) get(ref desired.Ref) *limiter {
	l.mu.RLock()
	found := l.of[ref]
	l.mu.RUnlock()
	if found != nil {
		return found
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if found = l.of[ref]; found == nil {
		found = &limiter{clients: map[netip.Addr]*usage{}}
		l.of[ref] = found
	}
	return found
}

// prune forgets the limiters that nothing has used since a time.
func (l *limiters) prune(before int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for ref, one := range l.of {
		if one.used.Load() < before && !one.busy() {
			delete(l.of, ref)
		}
	}
}

func (l *limiter) busy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.clients) > l.idle.Len()
}

// enter counts a request of a client, and returns the status that it is refused with; 0
// if it is not: then leave is called once it is answered.
func (l *limiter) enter(client netip.Addr, limits *filter.Limits, now int64) (status int) {
	l.used.Store(now)
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.clients[client]
	if u == nil {
		l.makeRoom(now, limits)
		u = &usage{client: client}
		l.clients[client] = u
	}
	defer l.rank(u)
	switch {
	case limits.Connections > 0 && u.underWay >= limits.Connections:
		return orDefault(limits.ConnectionStatus, 503)
	case limits.PerSecond > 0 && !u.second.Take(now, perSecond(limits), limits.PerSecond*limits.Burst),
		limits.PerMinute > 0 && !u.minute.Take(now, perMinute(limits), limits.PerMinute*limits.Burst):
		return orDefault(limits.Status, 503)
	}
	u.underWay++
	return 0
}

// Rates are in thousandths of a request a second.
func perSecond(l *filter.Limits) int64 { return int64(l.PerSecond) * 1000 }
func perMinute(l *filter.Limits) int64 { return max(int64(l.PerMinute)*1000/60, 1) }

func (l *limiter) leave(client netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if u := l.clients[client]; u != nil && u.underWay > 0 {
		u.underWay--
		l.rank(u)
	}
}

// rank puts a client that has just done something where it belongs. The lock is held.
func (l *limiter) rank(u *usage) {
	switch {
	case u.underWay > 0 && u.idle != nil:
		l.idle.Remove(u.idle)
		u.idle = nil
	case u.underWay > 0:
	case u.idle != nil:
		l.idle.MoveToBack(u.idle)
	default:
		u.idle = l.idle.PushBack(u)
	}
}

// makeRoom forgets clients that are as if they had never asked, and, if there are too
// many, the one that has had nothing under way for longest: who has many addresses gets
// around a limit that counts addresses, but costs no more memory. It looks at two, so that
// what is left is seldom many and no request waits for more. The lock is held.
func (l *limiter) makeRoom(now int64, limits *filter.Limits) {
	for range 2 {
		first := l.idle.Front()
		if first == nil {
			return // those with something under way are bounded by the connections
		}
		u := first.Value.(*usage)
		if len(l.clients) < maxClients && !(u.second.Empty(now, perSecond(limits)) && u.minute.Empty(now, perMinute(limits))) {
			return
		}
		l.idle.Remove(first)
		delete(l.clients, u.client)
	}
}

// exceeds reports whether the request is one too many; then it has been answered.
func (x *exchange) exceeds() bool {
	f := x.route.Filters
	if f == nil || f.Limits == nil {
		return false
	}
	x.pace(f.Limits)
	client := x.hop.Client(&x.request)
	if !f.Limits.Counts() || f.Limits.Exempts(client) {
		return false
	}
	client = filter.Client(client)
	counted := x.proxy.limiters.get(x.route.Source)
	if status := counted.enter(client, f.Limits, x.tick()); status != 0 {
		x.answer(status, "the client sends more than it may")
		return true
	}
	x.counted, x.countedAs = counted, client
	return false
}
