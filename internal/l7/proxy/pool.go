package proxy

import (
	"sync"
	"sync/atomic"
)

// pool holds idle connections to one endpoint that are alike, the last used at the
// end of each shard. Each connection of a client uses one shard first, so that
// processors seldom meet.
type pool struct {
	shards []shard
	// trunks are connections of HTTP/2, which end by themselves.
	trunks trunks
	// closed is set once nothing is to be kept any more; what is under way goes on.
	closed atomic.Bool
}

type shard struct {
	mu   sync.Mutex
	idle []*upstream
	_    [64]byte // keep neighbours off the cache line
}

func newPool(shards int) *pool { return &pool{shards: make([]shard, shards)} }

// take returns an idle connection, or nil.
func (p *pool) take(first int) *upstream {
	for i := range p.shards {
		s := &p.shards[(first+i)%len(p.shards)]
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
func (p *pool) put(up *upstream, shard, bound int, now int64) {
	up.used, up.idle = true, now
	up.arm(0)
	s := &p.shards[shard%len(p.shards)]
	s.mu.Lock()
	full := len(s.idle) >= max(bound/len(p.shards), 1) || p.closed.Load()
	if !full {
		s.idle = append(s.idle, up)
	}
	s.mu.Unlock()
	if full {
		_ = up.Close()
	}
}

// prune closes connections that have been idle since before, and reports whether none
// is left.
func (p *pool) prune(before int64) (empty bool) {
	empty = p.trunks.empty()
	for i := range p.shards {
		s := &p.shards[i]
		s.mu.Lock()
		old := 0
		for old < len(s.idle) && s.idle[old].idle < before {
			_ = s.idle[old].Close()
			old++
		}
		s.idle = append(s.idle[:0], s.idle[old:]...)
		clear(s.idle[len(s.idle):min(len(s.idle)+old, cap(s.idle))])
		empty = empty && len(s.idle) == 0
		s.mu.Unlock()
	}
	return empty
}

// close closes idle connections now, and all others when they are put back.
func (p *pool) close() {
	p.closed.Store(true)
	p.trunks.close()
	for i := range p.shards {
		for up := p.take(i); up != nil; up = p.take(i) {
			_ = up.Close()
		}
	}
}
