package proxy

import (
	"errors"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7"
)

var (
	// errFull is that a backend has as much under way as it may.
	errFull = errors.New("the backend has as much under way as it may")
	// errGone is that the client has gone while its request waited for others to end.
	errGone = errors.New("the client has gone")
)

// bound is what a request was refused for.
type bound uint8

const (
	boundRequests    bound = iota // as many are under way as may be
	boundPending                  // and as many wait for that
	boundWait                     // it has waited for too long
	boundConnections              // there are as many connections as may be
	boundRetries                  // as many are sent once more
	bounds
	// boundGone is for a request that nobody waits for any more, which is no refusal.
	boundGone = bounds
)

// String returns the value of a label.
func (b bound) String() string {
	return [...]string{"requests", "pending", "wait", "connections", "retries"}[b]
}

// breaker counts what is under way with a backend where that is bounded, and has requests
// wait for others to end. Without limits nobody comes here.
//
// All Routes of a backend have one breaker, whatever protocol they speak with it: the limits say
// what its endpoints can take, and to them a request is a request (as Envoy's thresholds
// are of a cluster). Only those of HTTP/1.1 need a connection each, so only they are held up
// where connections are bounded.
type breaker struct {
	// counts has how many requests are under way, and how many of them are alone on their
	// connections, in its upper and lower half: they change at once.
	counts atomic.Uint64
	// most and mostAlone are how many there may be.
	most, mostAlone atomic.Int64
	// connections are those that there are.
	connections atomic.Int64
	// retrying are requests that are sent once more.
	retrying atomic.Int64
	// waiting is how many are in line.
	waiting atomic.Int64
	queue   sync.Mutex
	line    []turn
}

// turn is a place in line: come has something to be read once there is room.
type turn struct {
	come  chan struct{}
	alone bool
}

// oneRequest is a request in a breaker's counts.
const oneRequest = 1 << 32

// unit is what a request is there.
func unit(alone bool) uint64 { return oneRequest + uint64(bit(alone)) }

// underWay returns how many requests are, and how many of them alone.
func (b *breaker) underWay() (all, alone int64) {
	n := b.counts.Load()
	return int64(n / oneRequest), int64(n % oneRequest)
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

// take lets one more request be under way, if it may, and reports that.
func (b *breaker) take(alone bool) bool {
	for {
		now := b.counts.Load()
		if int64(now/oneRequest) >= b.most.Load() || alone && int64(now%oneRequest) >= b.mostAlone.Load() {
			return false
		}
		if b.counts.CompareAndSwap(now, now+unit(alone)) {
			return true
		}
	}
}

// leaver is who waits, and may go.
type leaver interface {
	// departure returns what is closed once the client has gone, which is looked for during a
	// time, and what ends that. Until then nothing may be sent to it.
	departure(within time.Duration) (gone <-chan struct{}, end func())
}

// enter waits for at most so long until a request may be under way, which is alone on its
// connection or not, and reports whether it may; if not, why is what for. Who may has to
// leave.
func (b *breaker) enter(limits *l7.Limits, alone bool, patience time.Duration, stop <-chan struct{}, who leaver) (may bool, why bound) {
	setLimit(&b.most, limits.Requests)
	setLimit(&b.mostAlone, limits.Connections)
	if b.take(alone) {
		return true, 0
	}
	if limits.Pending == 0 {
		return false, boundRequests
	}
	mine := turn{make(chan struct{}, 1), alone}
	b.queue.Lock()
	full := len(b.line) >= limits.Pending
	if !full {
		b.line = append(b.line, mine)
		b.waiting.Store(int64(len(b.line)))
	}
	b.queue.Unlock()
	if full {
		return false, boundPending
	}
	b.serve() // who has left in between has seen nobody
	bug := true
	defer func() {
		if bug && !b.withdraw(mine) {
			b.leave(alone)
		}
	}()
	why = mine.wait(patience, stop, who)
	if bug = false; b.withdraw(mine) {
		return false, why
	}
	return true, 0 // be it at the last moment
}

// withdraw takes somebody out of the line, and reports whether he was there: else his turn
// has come.
func (b *breaker) withdraw(one turn) bool {
	b.queue.Lock()
	defer b.queue.Unlock()
	at := slices.Index(b.line, one)
	if at < 0 {
		return false
	}
	b.line = slices.Delete(b.line, at, at+1)
	b.waiting.Store(int64(len(b.line)))
	return true
}

// setLimit sets how many there may be; 0 is any number.
func setLimit(limit *atomic.Int64, most int) {
	want := int64(most)
	if want == 0 {
		want = math.MaxInt64
	}
	if limit.Load() != want { // else nobody needs the cache line
		limit.Store(want)
	}
}

// wait waits until the turn has come, or returns why it is waited for no more.
func (t *turn) wait(patience time.Duration, stop <-chan struct{}, who leaver) bound {
	gone, end := who.departure(patience)
	defer end()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case <-t.come:
	case <-gone:
		return boundGone
	case <-timeout.C:
	case <-stop:
	}
	return boundWait
}

// leave is for a request that has entered, and is over.
func (b *breaker) leave(alone bool) {
	b.counts.Add(-unit(alone))
	if b.waiting.Load() > 0 {
		b.serve()
	}
}

// serve lets those who wait have what there is, in their order; where those who would be
// alone have to go on waiting, others do not.
func (b *breaker) serve() {
	b.queue.Lock()
	defer b.queue.Unlock()
	crowded := false
	for i := 0; i < len(b.line); {
		switch t := b.line[i]; {
		case t.alone && crowded:
			i++
		case b.take(t.alone):
			t.come <- struct{}{}
			b.line = slices.Delete(b.line, i, i+1)
		case t.alone:
			crowded = true
		default:
			i = len(b.line)
		}
	}
	b.waiting.Store(int64(len(b.line)))
}

// enter lets a request be under way with a backend, which it then has to leave, or says
// why it may not.
func (x *exchange) enter(b *backend) error {
	x.on, x.entered = b, false
	limits := &b.balance.Limits
	if x.alone = limits.Connections > 0 && !overHTTP2(x.route); limits.Requests == 0 && !x.alone {
		return nil
	}
	patience := orDefault(x.route.Upstream.Connect, x.proxy.settings().ConnectTimeout)
	may, why := b.shared.enter(limits, x.alone, patience, x.proxy.ctx.Done(), x)
	switch {
	case may:
		x.entered = true
		return nil
	case why == boundGone:
		return errGone
	}
	b.meter.refused[why].Add(1)
	return errFull
}

// exit is for a request that is over.
func (x *exchange) exit() {
	if x.entered {
		x.entered = false
		x.on.shared.leave(x.alone)
	}
	if x.spends {
		x.spends = false
		x.on.shared.retrying.Add(-1)
	}
}

// enter does the same for a connection that is passed on as it is, which is bounded as a
// request of HTTP/1.1 is.
func (p *passage) enter() error {
	limits := &p.from.balance.Limits
	if p.alone = limits.Connections > 0; limits.Requests == 0 && !p.alone {
		return nil
	}
	patience := orDefault(p.stream.Connect, p.proxy.settings().ConnectTimeout)
	may, why := p.from.shared.enter(limits, p.alone, patience, p.proxy.ctx.Done(), p)
	switch {
	case may:
		p.entered = true
		return nil
	case why == boundGone:
		return errGone
	}
	p.from.meter.refused[why].Add(1)
	return errFull
}

// exit is for one that is over.
func (p *passage) exit() {
	if p.entered {
		p.from.shared.leave(p.alone)
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
