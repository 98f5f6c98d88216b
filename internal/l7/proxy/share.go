package proxy

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// portions divides a number of places among those who want some: each may have as many
// as are still free, so that whoever takes all he gets leaves as many again (the dynamic
// threshold of Choudhury and Hahne, "Dynamic Queue Length Thresholds for Shared-Memory
// Packet Switches", 1998). One alone has up to a half of them; of n who want all, each has
// one of n+1 parts, and one part is left for who comes next.
type portions[K comparable] struct {
	places int
	// always is set if each may have one in any case.
	always bool

	mu    sync.Mutex
	taken int
	of    map[K]int
}

// resize makes it another number of places. Those that are taken beyond it stay so until
// they are given back; before, nobody gets one.
func (p *portions[K]) resize(places int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.places = places
}

func newPortions[K comparable](places int) *portions[K] {
	return &portions[K]{places: places, of: map[K]int{}}
}

// take reports whether somebody gets one more place; then give returns it.
func (p *portions[K]) take(who K) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of[who] >= p.places-p.taken && !(p.always && p.of[who] == 0) {
		return false
	}
	p.of[who]++
	p.taken++
	return true
}

// has reports whether somebody has a place.
func (p *portions[K]) has(who K) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.of[who] > 0
}

func (p *portions[K]) give(who K) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	if p.of[who]--; p.of[who] == 0 {
		delete(p.of, who)
	}
}

// guest is what a client, by its address, has of the proxy; nil is one that may have
// all, for it brings others.
type guest struct {
	client netip.Addr
	// connections is guarded by the guests; streams are its requests of HTTP/2 and HTTP/3
	// under way.
	connections int
	streams     atomic.Int64
}

// guests are the clients that have connections.
type guests struct {
	mu sync.Mutex
	of map[netip.Addr]*guest
}

// join counts one more connection of a client, and reports whether that may be. Load
// balancers that say who their clients are do not count, if the Config itself trusts
// them: that a Table trusts everybody is about what they say, not how much they may have.
func (p *Proxy) join(client netip.Addr) (*guest, bool) {
	if within(p.settings().unbounded, client.Unmap().WithZone("")) {
		return nil, true
	}
	client = filter.Client(client)
	g := &p.guests
	g.mu.Lock()
	defer g.mu.Unlock()
	one := g.of[client]
	if one == nil {
		one = &guest{client: client}
	}
	// The connection is among all already.
	if int64(one.connections) >= p.share(p.connections.Load()-1) {
		return nil, false
	}
	one.connections++
	g.of[client] = one
	return one, true
}

// part ends that of a connection.
func (p *Proxy) part(one *guest) {
	if one == nil {
		return
	}
	g := &p.guests
	g.mu.Lock()
	defer g.mu.Unlock()
	if one.connections--; one.connections == 0 && one.streams.Load() == 0 {
		delete(g.of, one.client)
	}
}

// prune forgets clients whose last requests have outlived their connections.
func (g *guests) prune() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for client, one := range g.of {
		if one.connections == 0 && one.streams.Load() == 0 {
			delete(g.of, client)
		}
	}
}

// share is how many connections, or requests of HTTP/2, one client may have while there
// are so many.
func (p *Proxy) share(used int64) int64 {
	if fixed := int64(p.settings().MaxClientConnections); fixed > 0 {
		return fixed
	}
	return int64(p.settings().MaxConnections) - used
}

// ask reports whether a client may have one more request of HTTP/2 or HTTP/3 under way;
// then answered ends it.
func (p *Proxy) ask(one *guest) bool {
	all := p.streams.Add(1)
	own := int64(0)
	if one != nil {
		own = one.streams.Add(1) - 1
	}
	if all <= int64(p.settings().MaxConnections) && (one == nil || own < p.share(all-1)) {
		return true
	}
	p.answered(one)
	p.tally.shed.Add(1)
	return false
}

func (p *Proxy) answered(one *guest) {
	p.streams.Add(-1)
	if one != nil {
		one.streams.Add(-1)
	}
}
