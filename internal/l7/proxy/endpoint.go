package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
)

// errConnect is that no connection to an endpoint could be made, so that nothing
// was sent.
var errConnect = errors.New("no connection to the endpoint")

// upstream is a connection to an endpoint.
type upstream struct {
	*socket
	endpoint *endpoint
	// used is set once a request has been answered on it, idle since when it waits.
	used bool
	idle int64
}

// endpoint holds the connections to one process.
type endpoint struct {
	address netip.AddrPort
	// hash stands for the address where requests are spread by hashing.
	hash uint64
	// average is how long answers take, observed when that was noted last.
	average  atomic.Uint64
	observed atomic.Int64
	// active is the number of requests that are under way.
	active atomic.Int64
	// closed is set once no Table names the endpoint; what is under way goes on.
	closed atomic.Bool
	// shards hold idle connections, the last used at the end. Each connection of a
	// client uses one first, so that processors seldom meet.
	shards []shard
}

type shard struct {
	mu   sync.Mutex
	idle []*upstream
	_    [64]byte // keep neighbours off the cache line
}

func newEndpoint(address netip.AddrPort, shards int) *endpoint {
	return &endpoint{address: address, hash: xxhash.Sum64String(address.String()), shards: make([]shard, shards)}
}

// take returns an idle connection, or nil.
func (e *endpoint) take(first int) *upstream {
	for i := range e.shards {
		s := &e.shards[(first+i)%len(e.shards)]
		s.mu.Lock()
		if n := len(s.idle); n > 0 {
			up := s.idle[n-1]
			s.idle[n-1] = nil
			s.idle = s.idle[:n-1]
			s.mu.Unlock()
			return up
		}
		s.mu.Unlock()
	}
	return nil
}

// put takes back a connection on which nothing is under way. At most bound wait in
// all shards together, a share in each.
func (e *endpoint) put(up *upstream, shard, bound int, now int64) {
	up.used, up.idle = true, now
	up.arm(0)
	s := &e.shards[shard%len(e.shards)]
	s.mu.Lock()
	full := len(s.idle) >= max(bound/len(e.shards), 1) || e.closed.Load()
	if !full {
		s.idle = append(s.idle, up)
	}
	s.mu.Unlock()
	if full {
		_ = up.Close()
	}
}

// prune closes connections that have been idle since before.
func (e *endpoint) prune(before int64) {
	for i := range e.shards {
		s := &e.shards[i]
		s.mu.Lock()
		old := 0
		for old < len(s.idle) && s.idle[old].idle < before {
			_ = s.idle[old].Close()
			old++
		}
		s.idle = append(s.idle[:0], s.idle[old:]...)
		clear(s.idle[len(s.idle):min(len(s.idle)+old, cap(s.idle))])
		s.mu.Unlock()
	}
}

// close closes idle connections now, and all others when they are put back.
func (e *endpoint) close() {
	e.closed.Store(true)
	for i := range e.shards {
		for up := e.take(i); up != nil; up = e.take(i) {
			_ = up.Close()
		}
	}
}

// dial makes a connection within a time.
func (p *Proxy) dial(ctx context.Context, e *endpoint, timeout time.Duration) (*upstream, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialTCP(ctx, "tcp", netip.AddrPort{}, e.address)
	if err != nil {
		if ctx.Err() != nil {
			return nil, errors.Join(errConnect, context.DeadlineExceeded)
		}
		return nil, errors.Join(errConnect, err)
	}
	s, err := newSocket(conn, p.clock)
	if err != nil {
		conn.Close()
		return nil, errors.Join(errConnect, err)
	}
	return &upstream{socket: s, endpoint: e}, nil
}
