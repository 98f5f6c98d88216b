package l2

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
)

// claims are what is answered at an interface. It is replaced as a whole.
type claims map[netip.Addr]*claim

// shared is what all ports have in common.
type shared struct {
	namespace namespace
	herald    *herald
	// own are the hardware addresses of this node: what they say is no conflict.
	own       atomic.Pointer[map[hardware]bool]
	malformed atomic.Uint64
}

// port answers at one interface. The Plane calls set, retain, update and close
// one at a time; its readers and the herald go on meanwhile.
type port struct {
	*shared
	name    string
	index   int
	mac     hardware
	running bool
	claims  atomic.Pointer[claims]
	groups  groups
	readers sync.WaitGroup

	speaking  sync.RWMutex // guards what follows from the herald
	linkLocal netip.Addr
	arp, ndp  *wire // nil while there are no addresses of the family
}

func newPort(s *shared, l link) *port {
	p := &port{
		shared: s, name: l.name, index: l.index, mac: l.mac, running: l.running, linkLocal: l.linkLocal,
		groups: groups{namespace: s.namespace, index: l.index, joined: map[netip.Addr]*groupSocket{}},
	}
	p.claims.Store(&claims{})
	return p
}

// set makes addresses what is answered here, and announces new ones. Those of a
// family whose socket cannot be opened are not; the error says so, and calling
// again retries.
func (p *port) set(addresses map[netip.Addr]*counters) error {
	var v4, v6 bool
	wanted := map[netip.Addr]bool{}
	for a := range addresses {
		if a.Is4() {
			v4 = true
		} else {
			v6 = true
			wanted[solicitedNode(a)] = true
		}
	}
	problems := []error{
		p.toggle(&p.arp, v4, typeARP, p.answerARP),
		p.toggle(&p.ndp, v6, typeIPv6, p.answerNDP),
		p.groups.set(wanted),
	}
	before, next := *p.claims.Load(), claims{}
	var gained, lost []*claim
	for a, counters := range addresses {
		switch c := before[a]; {
		case a.Is4() && p.arp == nil || !a.Is4() && p.ndp == nil:
		case c != nil:
			next[a] = c
		default:
			next[a] = &claim{address: a, port: p, counters: counters}
			gained = append(gained, next[a])
		}
	}
	for a, c := range before {
		if next[a] == nil {
			lost = append(lost, c)
		}
	}
	p.claims.Store(&next)
	p.herald.lose(lost)
	if p.running {
		p.herald.gain(gained)
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("interface %s: %w", p.name, err)
	}
	return nil
}

// retain stops answering for all addresses that are not to be kept.
func (p *port) retain(keep func(netip.Addr) bool) {
	next := claims{}
	var lost []*claim
	for a, c := range *p.claims.Load() {
		if keep(a) {
			next[a] = c
		} else {
			lost = append(lost, c)
		}
	}
	if len(lost) > 0 {
		p.claims.Store(&next)
		p.herald.lose(lost)
	}
}

// update takes note of what has changed of the interface. One that was down may
// be plugged in elsewhere now, and has announced nothing.
func (p *port) update(l link) {
	up := l.running && !p.running
	p.running = l.running
	p.speaking.Lock()
	p.linkLocal = l.linkLocal
	p.speaking.Unlock()
	if up {
		var all []*claim
		for _, c := range *p.claims.Load() {
			all = append(all, c)
		}
		p.herald.gain(all)
	}
}

func (p *port) toggle(which **wire, wanted bool, protocol uint16, answer func(*wire, []byte, []byte)) error {
	w := *which
	switch {
	case wanted == (w != nil):
		return nil
	case !wanted:
		p.install(which, nil)
		w.close()
		return nil
	}
	w, err := openWire(p.namespace, p.index, protocol)
	if err != nil {
		return err
	}
	p.install(which, w)
	p.readers.Go(func() {
		reply := make([]byte, 0, maxFrame)
		w.receive(func(frame []byte) { answer(w, frame, reply) })
	})
	return nil
}

func (p *port) install(which **wire, w *wire) {
	p.speaking.Lock()
	defer p.speaking.Unlock()
	*which = w
}

// answerARP answers a request. It runs for every ARP packet, and allocates
// nothing.
func (p *port) answerARP(w *wire, frame, reply []byte) {
	q, ok := parseARP(frame)
	if !ok {
		p.malformed.Add(1)
		return
	}
	if (*p.own.Load())[q.sender] {
		return
	}
	answered := *p.claims.Load()
	if c := answered[q.senderIP]; c != nil {
		// RFC 5227, section 2.4: requests and replies alike.
		p.herald.heard(c, q.sender, q.to.isGroup())
		return
	}
	c := answered[q.targetIP]
	if c == nil || q.operation != arpRequest {
		return
	}
	c.counters.requests.Add(1)
	if w.send(appendARP(reply, q.answer(p.mac))) == nil {
		c.counters.responses.Add(1)
	}
}

// answerNDP answers a solicitation, like answerARP.
func (p *port) answerNDP(w *wire, frame, reply []byte) {
	q, ok := parseNDP(frame)
	if !ok {
		p.malformed.Add(1)
		return
	}
	if own := *p.own.Load(); own[q.from] || own[q.sender()] {
		return
	}
	answered := *p.claims.Load()
	c := answered[q.source]
	if c == nil && q.kind == advertisement {
		c = answered[q.target]
	}
	if c != nil {
		p.herald.heard(c, q.sender(), q.to.isGroup())
		return
	}
	if c = answered[q.target]; c == nil {
		return
	}
	c.counters.requests.Add(1)
	if w.send(appendNDP(reply, q.answer(p.mac))) == nil {
		c.counters.responses.Add(1)
	}
}

// say is the herald's speaker. What cannot be sent now is repeated, or the
// interface is down and everything is announced when it is up. It returns false if there is
// no address to ask from.
func (p *port) say(c *claim, question bool) bool {
	p.speaking.RLock()
	defer p.speaking.RUnlock()
	switch a := c.address; {
	case a.Is4() && p.arp != nil && question:
		_ = p.arp.send(appendARP(nil, arpProbe(p.mac, a)))
	case a.Is4() && p.arp != nil:
		_ = p.arp.send(appendARP(nil, announcement(p.mac, a, arpRequest)))
		_ = p.arp.send(appendARP(nil, announcement(p.mac, a, arpReply)))
	case p.ndp == nil:
	case question && !p.linkLocal.IsValid():
		return false
	case question:
		_ = p.ndp.send(appendNDP(nil, solicit(p.mac, p.linkLocal, a)))
	default:
		_ = p.ndp.send(appendNDP(nil, advertise(p.mac, a)))
	}
	return true
}

// close stops answering, and leaves the multicast groups.
func (p *port) close() {
	p.retain(func(netip.Addr) bool { return false })
	for _, which := range []**wire{&p.arp, &p.ndp} {
		if w := *which; w != nil {
			p.install(which, nil)
			w.close()
		}
	}
	p.readers.Wait()
	p.groups.close()
}
