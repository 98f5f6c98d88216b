package nft

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// stale says of which frontends conntrack may know connections to backends that
// left, each since when. A UDP socket that goes on sending is one connection to
// conntrack for as long as it sends, and stays with its backend, or with none,
// whatever the rules say by now. For TCP see ended.
type stale struct {
	// all, if set, tells that connections of every frontend are in question.
	all       time.Time
	frontends map[lb.Frontend]time.Time
	// nodes are addresses that the node had.
	nodes []netip.Addr
}

func noneStale() stale { return stale{frontends: map[lb.Frontend]time.Time{}} }

func (s *stale) empty() bool { return s.all.IsZero() && len(s.frontends) == 0 }

func (s *stale) has(f lb.Frontend) bool {
	_, noted := s.frontends[f]
	return noted
}

// noteStale adds what a transaction, whose state is yet to follow, changes.
func (p *Plane) noteStale(u *update, fresh bool) {
	now := time.Now()
	all := fresh || !slices.Equal(u.have.node, u.want.NodeAddresses)
	for _, s := range []*stale{&p.pending, &p.ended.stale} {
		if all {
			s.all = now
		}
		for _, a := range p.have.node {
			if !slices.Contains(s.nodes, a) {
				s.nodes = append(s.nodes, a)
			}
		}
	}
	for f, c := range u.changed {
		if !mayBeStale(c.old, c.now) {
			continue
		}
		switch f.Protocol {
		case desired.UDP:
			p.pending.frontends[f] = now
		case desired.TCP:
			p.ended.stale.frontends[f] = now
		}
	}
	p.ended.notify()
}

// mayBeStale tells whether connections to a frontend may be where they must not
// be: a backend left, or there was none.
func mayBeStale(old, now *lb.Entry) bool {
	if old == nil || now == nil || len(old.Backends) == 0 {
		return true
	}
	kept := backendsOf(now)
	for b := range backendsOf(old) {
		if !kept[b] {
			return true
		}
	}
	return (old.Outside != nil && len(old.Outside.Backends) == 0) != (now.Outside != nil && len(now.Outside.Backends) == 0)
}

// backendsOf returns where connections to a frontend may be, from wherever.
func backendsOf(e *lb.Entry) map[netip.AddrPort]bool {
	all := make(map[netip.AddrPort]bool, len(e.Backends))
	for _, b := range e.Backends {
		all[b] = true
	}
	if e.Outside != nil {
		for _, b := range e.Outside.Backends {
			all[b] = true
		}
	}
	return all
}

// forget makes conntrack forget stale UDP connections. What fails stays pending.
func (p *Plane) forget() error {
	if p.pending.empty() || !p.written {
		return nil
	}
	filter := newStaleFilter(p.pending, p.have, desired.UDP)
	var failed []error
	for _, six := range []bool{false, true} {
		if p.pending.concerns(six) {
			failed = append(failed, p.forgetFamily(p.socket, six, filter.protocol, 0, func(f flow) bool {
				_, stale := filter.matches(f)
				return stale
			}))
		}
	}
	err := errors.Join(failed...)
	if err == nil {
		p.pending = noneStale()
	}
	return err
}

// forgetFamily looks at the connections of one family and protocol that have these
// status bits, once, and forgets some.
func (p *Plane) forgetFamily(s *socket, six bool, protocol desired.Protocol, status uint32, which func(flow) bool) error {
	start, forgotten := time.Now(), 0
	flows, err := s.flows(six, protocol, status, which)
	failed := []error{err}
	for _, f := range flows {
		if err := s.forgetFlow(f); err != nil {
			failed = append(failed, err)
			continue
		}
		forgotten++
	}
	if forgotten > 0 {
		p.log.Info("conntrack forgot connections to backends that left", "protocol", protocol, "connections", forgotten)
	}
	if p.config.Looked != nil {
		p.config.Looked(six, protocol, time.Since(start), forgotten)
	}
	return errors.Join(failed...)
}

func (s *stale) concerns(six bool) bool {
	if !s.all.IsZero() {
		return true
	}
	for f := range s.frontends {
		if f.Address.Is6() == six {
			return true
		}
	}
	return false
}

// staleFilter finds connections to backends that left.
type staleFilter struct {
	stale
	protocol desired.Protocol
	have     *state
	backends map[lb.Frontend]map[netip.AddrPort]bool
}

func newStaleFilter(s stale, have *state, protocol desired.Protocol) *staleFilter {
	return &staleFilter{stale: s, protocol: protocol, have: have, backends: map[lb.Frontend]map[netip.AddrPort]bool{}}
}

// matches tells whether a connection is stale, and of which frontend.
func (s *staleFilter) matches(flow flow) (lb.Frontend, bool) {
	f := s.frontendAt(lb.Frontend{Address: flow.asked.Addr(), Port: flow.asked.Port(), Protocol: s.protocol})
	entry, has := s.have.entries.Get(f)
	switch {
	case !has && s.has(f):
		return f, true
	case !has:
		return f, !s.all.IsZero() && slices.ContainsFunc(s.have.ranges, func(p netip.Prefix) bool { return p.Contains(f.Address) })
	case s.all.IsZero() && !s.has(f):
		return f, false
	}
	if s.backends[f] == nil {
		s.backends[f] = backendsOf(entry)
	}
	return f, !s.backends[f][flow.answers]
}

// frontendAt returns the frontend that serves, or served, what a client asked for.
func (s *staleFilter) frontendAt(f lb.Frontend) lb.Frontend {
	if _, has := s.have.entries.Get(f); has || s.has(f) {
		return f
	}
	if slices.Contains(s.have.node, f.Address) || slices.Contains(s.nodes, f.Address) {
		if f.Address.Is6() {
			f.Address = netip.IPv6Unspecified()
		} else {
			f.Address = netip.IPv4Unspecified()
		}
	}
	return f
}
