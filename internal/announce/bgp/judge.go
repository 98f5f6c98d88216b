package bgp

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	wire "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/fairlead-net/fairlead/internal/announce/bgp/bfd"
)

// judge decides what follows from what a router did since the last time.
func (p *Plane) judge(now time.Time, e *entry, sessions map[string]bfd.Session) {
	if e.installed {
		happened := p.journal.take(e.session.key())
		if happened.tooMany {
			e.keepOff(now.Add(crowdHold))
		}
		if happened.failures > 0 {
			e.keepOff(now.Add(e.damper.failed(happened.failures, happened.lived)))
		}
		if happened.unclear && !now.Before(e.peekAfter) {
			p.peek(now, e, e.session, true)
		}
	}
	s, watched := sessions[e.want.Name.String()]
	e.watched.note(s, watched)
	if !watched || s.Counters.Downs == e.bfdDowns {
		e.bfdDowns = s.Counters.Downs
		return
	}
	e.bfdDowns = s.Counters.Downs
	if !e.installed || s.State == bfd.Up || s.Administrative {
		return
	}
	lived := now.Sub(p.journal.get(e.session.key()).since)
	e.keepOff(now.Add(max(bfdHold, e.damper.failed(1, lived))))
	p.journal.blame(e.session.key(), "closed the session: BFD lost the router: "+s.Why)
	p.log.Warn("BFD lost a router", "peer", e.want.Name, "why", s.Why)
}

// keepOff lets no session be made before a time.
func (e *entry) keepOff(until time.Time) {
	if until.After(e.heldUntil) {
		e.heldUntil = until
	}
}

// locate finds out where a router is and what it is. Without that there is no session
// to make, and problem says so.
func (p *Plane) locate(now time.Time, e *entry) (neighbor, bool) {
	w := &e.want
	address, source := w.Address, w.Source
	if w.Interface != "" {
		link := p.links[w.Interface]
		if link == nil {
			return neighbor{}, false // problem says why
		}
		router := link.router(now)
		if !router.IsValid() {
			e.problem = fmt.Sprintf("no router has been heard at interface %s yet: look whether it sends router advertisements (RFC 4861), as it does where its neighbour is configured by interface", w.Interface)
			return neighbor{}, false
		}
		address = router.WithZone(w.Interface)
	}
	e.see(now, address)
	if w.Interface != "" {
		if !e.around.linkLocal.IsValid() {
			e.problem = fmt.Sprintf("interface %s has no link-local IPv6 address, which sessions between neighbours need; switch IPv6 on there", w.Interface)
			return neighbor{}, false
		}
		source = e.around.linkLocal.WithZone(w.Interface)
	}
	remote := w.PeerASN
	if remote == 0 {
		n := w.neighbor(address, source, e.as)
		if e.as == 0 {
			if !now.Before(e.peekAfter) {
				p.peek(now, e, n, false)
			}
			if e.problem == "" {
				e.problem = "the router has not said its AS number yet"
			}
			return neighbor{}, false
		}
		remote = e.as
	}
	return w.neighbor(address, source, remote), true
}

// see looks at this node's end, now and then.
func (e *entry) see(now time.Time, router netip.Addr) {
	if now.Sub(e.looked) < retry || e.around.name != "" && now.Sub(e.looked) < refresh && e.settled != (settled{}) {
		return
	}
	e.looked = now
	around, err := around(router)
	if err != nil {
		around.name = "that leads to the router"
	}
	e.around = around
}

// watch returns what BFD is to watch: routers with a session. Some make their end of
// BFD anew with each session, which would look like a loss if BFD were up before.
func (p *Plane) watch(e *entry) (bfd.Peer, bool) {
	w := &e.want
	if w.bfd == nil || !e.installed || p.journal.get(e.session.key()).state != wire.BGP_FSM_ESTABLISHED {
		return bfd.Peer{}, false
	}
	peer := bfd.Peer{
		Address: e.session.address, Source: e.session.source, MultiHop: e.session.multiHop,
		Receive: w.bfd.Receive, Transmit: w.bfd.Transmit, Multiplier: w.bfd.Multiplier, Passive: w.bfd.Passive,
	}
	if !e.session.external() {
		// A router of the same AS need not be a neighbour.
		peer.MultiHop = !e.around.direct
	}
	return peer, true
}

// explore looks for routers at the interfaces that BGPPeers name.
func (p *Plane) explore() {
	wanted := map[string]bool{}
	for _, e := range p.entries {
		name := e.want.Interface
		if name == "" || e.want.refused != "" {
			continue
		}
		wanted[name] = true
		if link := p.links[name]; link != nil {
			if link.there() {
				continue
			}
			link.close()
			delete(p.links, name)
		}
		link, err := explore(name, p.log, func() { signal(p.wake) })
		if err != nil {
			e.problem = err.Error()
			continue
		}
		p.links[name] = link
	}
	for name, link := range p.links {
		if !wanted[name] {
			link.close()
			delete(p.links, name)
		}
	}
}

// peek asks a router what it has against a session, or what AS it is in.
func (p *Plane) peek(now time.Time, e *entry, n neighbor, speak bool) {
	if e.peeking {
		return
	}
	e.peeking, e.peekAfter = true, now.Add(usualConnect)
	id := p.routerID
	p.stopped.Go(func() {
		s, err := peekAgain(p.running, n, id, speak)
		p.mu.Lock()
		defer p.mu.Unlock()
		e.peeking = false
		if !p.closed && p.entries[n.name] == e {
			p.learn(e, n, s, err)
		}
		signal(p.wake)
	})
}

// learn takes in what a router said.
func (p *Plane) learn(e *entry, n neighbor, s sight, err error) {
	w := e.want
	p.log.Debug("asked a router", "peer", w.Name, "as", s.as, "refusal", s.refusal, "error", err)
	where := netip.AddrPortFrom(n.address, n.port).String()
	if e.installed && n != e.session {
		return // what was asked about is no more
	}
	wrong := w.mismatch(s.as)
	switch {
	case s.as != 0 && wrong != "":
		p.journal.blame(n.key(), wrong)
		if w.PeerASN == 0 {
			e.as, e.problem = 0, wrong
		}
	case s.as != 0 && w.PeerASN == 0 && s.as != e.as:
		e.as, e.problem = s.as, ""
	case s.refusal != nil:
		p.journal.blame(n.key(), s.refusal.received(w))
	case s.as == 0 && e.as == 0 && w.PeerASN == 0:
		if err == nil {
			err = errors.New("the router did not say its AS number")
		}
		e.problem = unreachable(err.Error(), w, where)
	}
}

// mismatch says what is wrong with a router's AS number, if anything.
func (w *wanted) mismatch(as uint32) string {
	switch {
	case w.PeerASN != 0 && as != w.PeerASN:
		return fmt.Sprintf("the router's AS number is %d, but BGPPeer %s says spec.peerASN: %d; correct one of them", as, w.Name, w.PeerASN)
	case w.PeerASN == 0 && w.Internal && as != w.ASN:
		return fmt.Sprintf("the router's AS number is %d, but BGPPeer %s says spec.dynamicASN: internal, which is spec.myASN, %d; correct one of them", as, w.Name, w.ASN)
	case w.PeerASN == 0 && !w.Internal && as == w.ASN:
		return fmt.Sprintf("the router's AS number is %d, as spec.myASN, but BGPPeer %s says spec.dynamicASN: external; correct one of them", as, w.Name)
	}
	return ""
}
