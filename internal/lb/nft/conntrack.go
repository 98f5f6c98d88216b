package nft

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// stale says whose UDP connections conntrack may have to forget. A UDP socket
// that goes on sending is one connection to conntrack for as long as it sends,
// and stays with its backend, or with none, whatever the rules say by now. TCP
// and SCTP end by themselves when a backend is gone.
type stale struct {
	// all tells that connections of every frontend are in question.
	all       bool
	frontends map[lb.Frontend]bool
	// nodes are addresses that the node had.
	nodes []netip.Addr
}

// noteStale adds what a transaction, whose state is yet to follow, changes.
func (p *Plane) noteStale(u *update, fresh bool) {
	if fresh || !slices.Equal(u.have.node, u.want.NodeAddresses) {
		p.pending.all = true
	}
	for _, a := range p.have.node {
		if !slices.Contains(p.pending.nodes, a) {
			p.pending.nodes = append(p.pending.nodes, a)
		}
	}
	for f, c := range u.changed {
		if f.Protocol == desired.UDP && mayBeStale(c.old, c.now) {
			p.pending.frontends[f] = true
		}
	}
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

// forget makes conntrack forget stale connections. What fails stays pending.
func (p *Plane) forget() error {
	if !p.pending.all && len(p.pending.frontends) == 0 || !p.written {
		return nil
	}
	filter := &staleFilter{stale: p.pending, have: p.have, backends: map[lb.Frontend]map[netip.AddrPort]bool{}}
	var failed []error
	for _, six := range []bool{false, true} {
		if p.pending.concerns(six) {
			failed = append(failed, p.forgetFamily(six, filter))
		}
	}
	err := errors.Join(failed...)
	if err == nil {
		p.pending = stale{frontends: map[lb.Frontend]bool{}}
	}
	return err
}

// forgetFamily looks at the connections of one family.
func (p *Plane) forgetFamily(six bool, filter *staleFilter) error {
	start, forgotten := time.Now(), 0
	flows, err := p.socket.flows(six, desired.UDP)
	failed := []error{err}
	for _, f := range flows {
		if !filter.matches(f) {
			continue
		}
		if err := p.socket.forgetFlow(f); err != nil {
			failed = append(failed, err)
			continue
		}
		forgotten++
	}
	if forgotten > 0 {
		p.log.Info("conntrack forgot UDP connections to backends that left", "connections", forgotten)
	}
	if p.config.Looked != nil {
		p.config.Looked(six, time.Since(start), forgotten)
	}
	return errors.Join(failed...)
}

func (s stale) concerns(six bool) bool {
	if s.all {
		return true
	}
	for f := range s.frontends {
		if f.Address.Is6() == six {
			return true
		}
	}
	return false
}

// staleFilter finds the connections to forget.
type staleFilter struct {
	stale
	have     *state
	backends map[lb.Frontend]map[netip.AddrPort]bool
}

// matches tells whether a connection is to be forgotten.
func (s *staleFilter) matches(flow flow) bool {
	f := s.frontendAt(lb.Frontend{Address: flow.asked.Addr(), Port: flow.asked.Port(), Protocol: desired.UDP})
	entry, has := s.have.entries.Get(f)
	switch {
	case !has && s.frontends[f]:
		return true
	case !has:
		return s.all && slices.ContainsFunc(s.have.ranges, func(p netip.Prefix) bool { return p.Contains(f.Address) })
	case !s.all && !s.frontends[f]:
		return false
	}
	if s.backends[f] == nil {
		s.backends[f] = backendsOf(entry)
	}
	return !s.backends[f][flow.answers]
}

// frontendAt returns the frontend that serves, or served, what a client asked for.
func (s *staleFilter) frontendAt(f lb.Frontend) lb.Frontend {
	if _, has := s.have.entries.Get(f); has || s.frontends[f] {
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
