package proxy

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// errFull is that a backend has as much under way as it may.
var errFull = errors.New("the backend has as much under way as it may")

// bound is what a request was refused for.
type bound uint8

const (
	boundRequests    bound = iota // as many are under way as may be
	boundPending                  // and as many wait for that
	boundWait                     // it has waited for too long
	boundConnections              // there are as many connections as may be
	boundRetries                  // as many are sent once more
	bounds
)

// String returns the value of a label.
func (b bound) String() string {
	return [...]string{"requests", "pending", "wait", "connections", "retries"}[b]
}

// breaker counts what is under way with a backend where that is bounded, and has requests
// wait for others to end. Without limits nobody comes here.
type breaker struct {
	// requests and connections are those that there are, limit how many of the former may
	// be.
	requests, connections, limit atomic.Int64
	// retrying are requests that are sent once more.
	retrying atomic.Int64
	// waiting is how many are in line, which have a slot once there is something to be read.
	waiting atomic.Int64
	queue   sync.Mutex
	line    []chan struct{}
}

// take takes one of so many, and reports whether there was one.
func take(n *atomic.Int64, most int64) bool {
	for {
		now := n.Load()
		if now >= most {
			return false
		}
		if n.CompareAndSwap(now, now+1) {
			return true
		}
	}
}

// enter waits until a request may be under way, as one of at most so many, and reports
// whether it may; if not, why is what for. Who may has to leave.
func (b *breaker) enter(most int64, pending int, patience time.Duration, gone <-chan struct{}) (may bool, why bound) {
	if b.limit.Load() != most {
		b.limit.Store(most)
	}
	if take(&b.requests, most) {
		return true, 0
	}
	if pending == 0 {
		return false, boundRequests
	}
	mine := make(chan struct{}, 1)
	b.queue.Lock()
	full := len(b.line) >= pending
	if !full {
		b.line = append(b.line, mine)
		b.waiting.Store(int64(len(b.line)))
	}
	b.queue.Unlock()
	if full {
		return false, boundPending
	}
	b.serve() // who has left in between has seen nobody
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case <-mine:
		return true, 0
	case <-timeout.C:
	case <-gone:
	}
	b.queue.Lock()
	defer b.queue.Unlock()
	at := slices.Index(b.line, mine)
	if at < 0 { // at the last moment
		return true, 0
	}
	b.line = slices.Delete(b.line, at, at+1)
	b.waiting.Store(int64(len(b.line)))
	return false, boundWait
}

// leave is for a request that has entered, and is over.
func (b *breaker) leave() {
	b.requests.Add(-1)
	if b.waiting.Load() > 0 {
		b.serve()
	}
}

// serve lets those who wait have what there is, in their order.
func (b *breaker) serve() {
	b.queue.Lock()
	defer b.queue.Unlock()
	for len(b.line) > 0 && take(&b.requests, b.limit.Load()) {
		b.line[0] <- struct{}{}
		b.line = slices.Delete(b.line, 0, 1)
		b.waiting.Store(int64(len(b.line)))
	}
}

// enter lets a request be under way with a backend, which it then has to leave, or says
// why it may not. What is bounded by connections is so by requests where each needs one.
func (x *exchange) enter(b *backend) error {
	x.on, x.entered = b, false
	limits := &b.balance.Limits
	most := limits.Requests
	if n := limits.Connections; n > 0 && (most == 0 || n < most) && !overHTTP2(x.route) {
		most = n
	}
	if most == 0 {
		return nil
	}
	patience := orDefault(x.route.Upstream.Connect, x.proxy.settings().ConnectTimeout)
	may, why := b.shared.enter(int64(most), limits.Pending, patience, x.proxy.ctx.Done())
	if !may {
		b.meter.refused[why].Add(1)
		return errFull
	}
	x.entered = true
	return nil
}

// exit is for a request that is over.
func (x *exchange) exit() {
	if x.entered {
		x.entered = false
		x.on.shared.leave()
	}
	if x.spends {
		x.spends = false
		x.on.shared.retrying.Add(-1)
	}
}

// enter does the same for a connection that is passed on as it is, which is bounded as a
// request is.
func (p *passage) enter() bool {
	limits := &p.from.balance.Limits
	most := limits.Requests
	if n := limits.Connections; n > 0 && (most == 0 || n < most) {
		most = n
	}
	if most == 0 {
		return true
	}
	may, why := p.from.shared.enter(int64(most), limits.Pending, orDefault(p.stream.Connect, p.proxy.settings().ConnectTimeout), p.proxy.ctx.Done())
	if p.entered = may; !may {
		p.from.meter.refused[why].Add(1)
	}
	return may
}

// exit is for one that is over.
func (p *passage) exit() {
	if p.entered {
		p.from.shared.leave()
	}
}

// affords reports whether a request that an endpoint has got may be sent once more: if
// many are at the same time, that is more than the endpoints can take. What no endpoint has got
// costs none of them anything.
func (x *exchange) affords(sent bool) bool {
	if !sent || x.spends {
		return true
	}
	b := x.on
	active := int64(0)
	for _, e := range b.all {
		active += e.active.Load()
	}
	budget := max(active*int64(b.balance.Retries.Percent)/100, int64(b.balance.Retries.Least))
	if !take(&b.shared.retrying, budget) {
		b.meter.refused[boundRetries].Add(1)
		return false
	}
	x.spends = true
	return true
}

// dial makes a connection to an endpoint, if there may be one more.
func (x *exchange) dial(e *endpoint, secure *securePool) (*upstream, error) {
	patience := orDefault(x.route.Upstream.Connect, x.proxy.settings().ConnectTimeout)
	b := x.on
	most := int64(b.balance.Limits.Connections)
	if most == 0 {
		return x.proxy.dial(e, secure, patience)
	}
	for !take(&b.shared.connections, most) {
		if !b.evict(x.shard) {
			b.meter.refused[boundConnections].Add(1)
			return nil, errFull
		}
	}
	up, err := x.proxy.dial(e, secure, patience)
	if err != nil {
		b.shared.connections.Add(-1)
		return nil, err
	}
	up.counted.Store(&b.shared.connections)
	return up, nil
}

// evict closes a connection that is idle, so that there may be another one, and reports
// whether there was one.
func (b *backend) evict(shard int) bool {
	for _, e := range b.all {
		if e.closeIdle(shard) {
			return true
		}
	}
	return false
}
