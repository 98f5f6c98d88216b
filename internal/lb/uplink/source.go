package uplink

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// candidate is an address of an interface that the node might send from. Where
// it has no subnet it may be one that a load balancer lends, and moves to
// another node tomorrow.
type candidate struct {
	address netip.Addr
	alone   bool
}

// sourceOn picks the address by which the node sends on an interface: the one by
// which other nodes know it, if that is there; else the one that the kernel
// would use towards other nodes; else one at which NodePorts are served; else
// any; else an address that the node has elsewhere. An address without a subnet
// counts, but for the first, only where there is no other.
func (p *Plane) sourceOn(l netlink.Link, family int) (netip.Addr, error) {
	candidates, err := p.candidates(l, family)
	if err != nil {
		return netip.Addr{}, err
	}
	has := func(a netip.Addr) bool {
		return slices.ContainsFunc(candidates, func(c candidate) bool { return c.address == a })
	}
	if at := slices.IndexFunc(p.peers.own, has); at >= 0 {
		return p.peers.own[at], nil
	}
	with := slices.DeleteFunc(slices.Clone(candidates), func(c candidate) bool { return c.alone })
	lent := func(a netip.Addr) bool {
		return len(with) > 0 && slices.Contains(candidates, candidate{a, true})
	}
	if a := p.preferred(l, family); a.IsValid() && !lent(a) {
		return a, nil
	}
	if len(with) > 0 {
		candidates = with
	}
	for _, c := range candidates {
		if slices.Contains(p.applied.NodeAddresses, c.address) {
			return c.address, nil
		}
	}
	if len(candidates) > 0 {
		return candidates[0].address, nil
	}
	for _, a := range p.applied.NodeAddresses {
		if a.Is4() == (family == unix.AF_INET) && !a.IsLinkLocalUnicast() {
			return a, nil
		}
	}
	return netip.Addr{}, nil
}

// candidates returns the addresses of an interface that are fit to send from,
// sorted.
func (p *Plane) candidates(l netlink.Link, family int) ([]candidate, error) {
	addresses, err := p.netlink.AddrList(l, family)
	if err != nil {
		return nil, fmt.Errorf("listing the addresses of %s: %w", l.Attrs().Name, err)
	}
	const unfit = unix.IFA_F_TENTATIVE | unix.IFA_F_DEPRECATED | unix.IFA_F_DADFAILED | unix.IFA_F_TEMPORARY
	var candidates []candidate
	for _, a := range addresses {
		if ip, ok := netip.AddrFromSlice(a.IP); ok && a.Scope == unix.RT_SCOPE_UNIVERSE && a.Flags&unfit == 0 {
			ones, bits := a.Mask.Size()
			candidates = append(candidates, candidate{ip.Unmap(), ones == bits})
		}
	}
	slices.SortFunc(candidates, func(a, b candidate) int { return a.address.Compare(b.address) })
	return candidates, nil
}

// preferred returns the address that the kernel sends from to another node, if
// the way there is by this interface.
func (p *Plane) preferred(l netlink.Link, family int) netip.Addr {
	other := p.peers.others[0]
	if family == unix.AF_INET6 {
		other = p.peers.others[1]
	}
	if !other.IsValid() {
		return netip.Addr{}
	}
	routes, err := p.netlink.RouteGet(other.AsSlice())
	if err != nil || len(routes) == 0 || routes[0].LinkIndex != l.Attrs().Index {
		return netip.Addr{}
	}
	source, _ := netip.AddrFromSlice(routes[0].Src)
	if source = source.Unmap(); source.IsLinkLocalUnicast() {
		return netip.Addr{}
	}
	return source
}
