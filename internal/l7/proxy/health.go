package proxy

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// health is what is known of an endpoint beside what Kubernetes says of it.
type health struct {
	// connects, gateways and servers are failures in a row, of the kinds that
	// l7.Ejection has.
	connects, gateways, servers atomic.Int32
	// out is until when it is ejected, 0 if it is not; sick is that its checks fail.
	out  atomic.Int64
	sick atomic.Bool
	// born is since when it gets requests, after a time without; 0: for long.
	born atomic.Int64

	// The lock of the backend's shared guards these: how often it was ejected, less what it is forgiven,
	// and when that was changed.
	ejections int
	changed   int64
	check     checkup
}

// usable reports whether it gets requests.
func (h *health) usable() bool { return h.out.Load() == 0 && !h.sick.Load() }

// reset forgets failures.
func (h *health) reset() {
	for _, n := range []*atomic.Int32{&h.connects, &h.gateways, &h.servers} {
		if n.Load() != 0 { // else nobody needs the cache line
			n.Store(0)
		}
	}
}

// cause is why an endpoint is ejected.
type cause uint8

const (
	causeConnect cause = iota
	causeGateway
	causeServer
	causes
)

// String returns the value of a label.
func (c cause) String() string { return [...]string{"connect", "gateway_error", "5xx"}[c] }

// shared is what the states that a backend goes through have in common. Its lock is taken
// when the health of an endpoint changes.
type shared struct {
	mu sync.Mutex
	// changed is set once an endpoint's health has changed of which a later state of the
	// backend may not know.
	changed atomic.Bool
	breaker
}

// forgiven is after what time without ejection one counts no more (Envoy's interval).
const forgiven = 10 * time.Second

// note takes note of how an endpoint has answered: with a status, or not at all.
// It reports whether the endpoint gets no requests for a while because of that.
func (b *backend) note(e *endpoint, status int, err error, now int64) (out bool) {
	if err != nil && !isAnswer(err) {
		return b.noteFailure(e, err, now)
	}
	if status < 500 {
		e.reset()
		return false
	}
	if e.connects.Load() != 0 {
		e.connects.Store(0)
	}
	c := b.balance.Ejection
	if status > 504 || status < 502 {
		e.gateways.Store(0)
	} else {
		out = b.count(e, &e.gateways, c.Gateway, causeGateway, now)
	}
	return b.count(e, &e.servers, c.Server, causeServer, now) || out
}

// noteConnect takes note of whether a connection could be made, of which nothing else is
// known.
func (p *Proxy) noteConnect(b *backend, e *endpoint, err error) {
	switch now := p.clock.now(); {
	case err == nil:
		if e.connects.Load() != 0 {
			e.connects.Store(0)
		}
	case b.noteFailure(e, err, now):
		p.ejected(b, e, now, err)
	}
}

// ejected writes down that an endpoint gets no requests for a while.
func (p *Proxy) ejected(b *backend, e *endpoint, now int64, err error) {
	p.config.Log.Warn("an endpoint gets no requests for a while, as it has failed too often in a row",
		"backend", b.id, "endpoint", e.place, "for", time.Duration(e.out.Load()-now), "error", err)
}

// noteFailure does that for an endpoint that has given no answer.
func (b *backend) noteFailure(e *endpoint, err error, now int64) (out bool) {
	k, blamed := kindOf(err)
	if !blamed || ownFault(err) || errors.Is(err, errShared) {
		return false
	}
	c := b.balance.Ejection
	switch {
	case k == failedTLS, k == failedName, k == failedElsewhere:
		return false // a Route may ask for what is not so, and not every Route does
	case errors.Is(err, errConnect):
		out = b.count(e, &e.connects, c.Connect, causeConnect, now)
	case e.connects.Load() != 0:
		e.connects.Store(0)
	}
	out = b.count(e, &e.gateways, c.Gateway, causeGateway, now) || out
	return b.count(e, &e.servers, c.Server, causeServer, now) || out
}

// ownFault reports whether an error says something about the proxy, not the endpoint.
func ownFault(err error) bool {
	if errors.Is(err, context.Canceled) {
		return true
	}
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL, syscall.EPERM, syscall.EACCES} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// count counts a failure, and ejects the endpoint if there were so many in a row.
func (b *backend) count(e *endpoint, n *atomic.Int32, most int, why cause, now int64) (out bool) {
	if most == 0 || n.Add(1) < int32(most) {
		return false
	}
	n.Store(0)
	return b.eject(e, why, now)
}

// eject lets an endpoint have no requests for a while, unless too many are out already.
func (b *backend) eject(e *endpoint, why cause, now int64) bool {
	b.shared.mu.Lock()
	defer b.shared.mu.Unlock()
	out := 0
	for _, other := range b.endpoints {
		out += bit(other.out.Load() != 0)
	}
	c := b.balance.Ejection
	if e.out.Load() != 0 || out+1 >= len(b.endpoints) || out >= max(len(b.endpoints)*c.Percent/100, 1) {
		return false
	}
	e.ejections++
	e.out.Store(after(now, min(time.Duration(e.ejections)*c.Time, c.MaxTime)))
	e.changed = now
	b.meter.ejections[why].Add(1)
	b.refresh(now)
	b.shared.changed.Store(true)
	return true
}

// look lets endpoints have requests again whose time is up, and notices what has changed
// of others. It is called now and then.
func (b *backend) look(now int64) {
	stale := b.shared.changed.Swap(false)
	if s := b.usable.Load(); s.warmBy != 0 && s.warmBy <= now {
		stale = true
	}
	for _, e := range b.endpoints {
		out := e.out.Load()
		if stale = stale || out != 0 && out <= now; stale {
			break
		}
	}
	b.forgive(now)
	if !stale {
		return
	}
	b.shared.mu.Lock()
	defer b.shared.mu.Unlock()
	for _, e := range b.endpoints {
		if out := e.out.Load(); out != 0 && out <= now {
			e.reset()
			// Until it has taken a connection, one failure is enough: each may take as long as
			// the time to connect.
			e.connects.Store(int32(max(b.balance.Ejection.Connect-1, 0)))
			e.out.Store(0)
			e.born.Store(now)
			e.changed = now
		}
	}
	b.refresh(now)
}

// forgive makes endpoints that were not ejected for a while be ejected for less long the
// next time.
func (b *backend) forgive(now int64) {
	b.shared.mu.Lock()
	defer b.shared.mu.Unlock()
	for _, e := range b.endpoints {
		if e.ejections > 0 && e.out.Load() == 0 && now-e.changed >= int64(forgiven) {
			e.ejections--
			e.changed = now
		}
	}
}

// usableOf returns those that get requests.
func usableOf(all []*endpoint) []*endpoint {
	if !slices.ContainsFunc(all, func(e *endpoint) bool { return !e.usable() }) {
		return all
	}
	var some []*endpoint
	for _, e := range all {
		if e.usable() {
			some = append(some, e)
		}
	}
	return some
}

// refresh chooses anew which endpoints get requests: those that are near, else those
// that are far, else those that drain; if none of them can be used, all that there
// would be. The lock of shared is held.
func (b *backend) refresh(now int64) {
	near, far := usableOf(b.near), usableOf(b.far)
	s := &selection{endpoints: near, whole: b.near, spare: far}
	if len(near) == 0 {
		s.endpoints, s.whole, s.spare = far, b.far, nil
	}
	if len(s.endpoints) == 0 {
		s.endpoints, s.whole = usableOf(b.draining), b.draining
	}
	if len(s.endpoints) == 0 {
		s.endpoints, s.whole = b.endpoints, b.endpoints
	}
	s.prepare(b.balance, now)
	b.usable.Store(s)
}
