package forward

import (
	"math"
	"time"

	wire "github.com/miekg/dns"
)

// Cached returns the reply to a query if it is in the cache. The caller may
// change it. Only the records, the response code and AD count.
func (f *Forwarder) Cached(q Query) (*wire.Msg, bool) {
	key, err := q.key()
	if err != nil {
		return nil, false
	}
	p, ok := f.lookup(key, math.MaxInt, time.Now())
	if !ok {
		f.cache.counts.misses.add()
		return nil, false
	}
	reply, err := p.unpack()
	return reply, err == nil
}

// CachedWire is Cached for a name in wire form and lower case, and gives the
// reply packed, if its records take no more than a number of bytes. It does not
// allocate. A name that is not well formed is not found. What is not found is not
// counted, as Cached is to be asked next. What is returned may be used for as long as
// the caller likes.
func (f *Forwarder) CachedWire(name []byte, qtype, class uint16, do, cd bool, room int, now time.Time) (Packed, bool) {
	var buffer [maxName]byte
	if len(name) > maxName-keyTail {
		return Packed{}, false
	}
	return f.lookup(appendKey(append(buffer[:0], name...), qtype, class, do, cd), room, now)
}

// lookup finds the reply of a key, and has it refreshed if that is due.
func (f *Forwarder) lookup(key []byte, room int, now time.Time) (Packed, bool) {
	at := f.cache.at(now)
	e := f.cache.find(key, at)
	if e == nil || !f.cache.usable(e, at) || len(e.records()) > room {
		return Packed{}, false
	}
	if f.cache.hit(e, at) {
		go f.refresh(e)
	}
	return f.cache.packed(e, at), true
}

// refresh asks for a reply again; the new one takes the entry's place.
func (f *Forwarder) refresh(e *entry) {
	defer e.refreshing.Store(false)
	q, err := query(e.key())
	if err != nil {
		return
	}
	z := f.route(q.Name)
	if z == nil || !z.enter() {
		return
	}
	defer z.leave()
	select {
	case r := <-f.fly(z, e.key(), q):
		if reply, ok := r.Val.(*wire.Msg); !ok || reply.Rcode == wire.RcodeServerFailure {
			e.failed.Store(f.cache.at(time.Now()) + 1)
		}
	case <-f.ctx.Done():
	}
}

// stale returns the expired reply of a key, if there is one that can be used.
func (f *Forwarder) stale(key []byte) *wire.Msg {
	p, ok := f.cache.stale(key, f.cache.at(time.Now()))
	if !ok {
		return nil
	}
	reply, err := p.unpack()
	if err != nil {
		return nil
	}
	return reply
}
