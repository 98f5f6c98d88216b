package proxy

import (
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"

	"github.com/fairlead-net/fairlead/internal/l7"
)

// place is where an endpoint is: at an address, or at a port of whatever a name of
// DNS leads to when a connection is made.
type place struct {
	address netip.AddrPort
	host    string
	port    uint16
}

// String returns where that is.
func (p place) String() string {
	if p.host == "" {
		return p.address.String()
	}
	return p.host + ":" + strconv.Itoa(int(p.port))
}

// endpoint holds the connections to one process.
type endpoint struct {
	place
	// name is whom its certificate is for, if nothing else is said.
	name string
	// hash stands for the address where requests are spread by hashing.
	hash uint64
	// average is how long answers take, observed when that was noted last.
	average  atomic.Uint64
	observed atomic.Int64
	// active is the number of requests that are under way.
	active atomic.Int64
	// plain are connections without TLS.
	plain *pool
	health

	// mu guards secured, connections with TLS by what it has to be like.
	mu      sync.Mutex
	secured map[demand]*securePool
}

// newEndpoint returns an endpoint of a Backend, without connections.
func newEndpoint(at place, of l7.BackendID, shards int) *endpoint {
	e := &endpoint{place: at, name: at.host, plain: newPool(shards)}
	if at.host == "" {
		e.name = of.Service.Name + "." + of.Service.Namespace + ".svc"
		e.hash = xxhash.Sum64String(at.address.String())
	} else {
		e.hash = xxhash.Sum64String(at.host)
	}
	return e
}

// secure returns the connections with TLS that are as demanded.
func (e *endpoint) secure(d demand, now int64) *securePool {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.secured[d]
	if p == nil {
		p = &securePool{pool: newPool(len(e.plain.shards)), config: d.config(e.name)}
		p.closed.Store(e.plain.closed.Load())
		if e.secured == nil {
			e.secured = map[demand]*securePool{}
		}
		e.secured[d] = p
	}
	p.asked = now
	return p
}

// closeIdle closes a connection that waits for a request, and reports whether one did.
func (e *endpoint) closeIdle(shard int) bool {
	if up := e.plain.take(shard); up != nil {
		_ = up.Close()
		return true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, p := range e.secured {
		if up := p.take(shard); up != nil {
			_ = up.Close()
			return true
		}
	}
	return false
}

// prune closes connections that have been idle since before, and forgets demands that
// nobody has had since.
func (e *endpoint) prune(before int64) {
	e.plain.prune(before)
	e.mu.Lock()
	defer e.mu.Unlock()
	for d, p := range e.secured {
		if p.prune(before) && p.asked < before {
			p.close()
			delete(e.secured, d)
		}
	}
}

// close is for an endpoint that no Table names: idle connections are closed now, and
// all others when they are put back.
func (e *endpoint) close() {
	e.plain.close()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, p := range e.secured {
		p.close()
	}
}
