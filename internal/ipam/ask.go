package ipam

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// ask is one Service with what it asks for, what it has, and what becomes of it.
type ask struct {
	service *desired.Service
	// former says why the Service is not Fairlead's any more, or is empty.
	former string
	// families are those of its cluster IPs; requested are the addresses it names.
	families  [2]bool
	requested [2]netip.Addr
	// fault says why it is given nothing new whatever there is.
	fault *problem
	// profile is that of its sharing key, empty without one.
	profile string
	// claimed are the addresses for which a claim names it.
	claimed []netip.Addr

	addresses [2]netip.Addr
	pools     [2]*pool
	lost      []string
	problem   *problem

	most [2]netip.Addr // room for claimed
}

// read notes what the Service asks for.
func (a *ask) read() {
	b := a.service.Balancer
	for _, address := range a.service.Addresses {
		a.families[familyOf(address)] = true
	}
	switch {
	case a.families == [2]bool{}:
		a.fault = withoutFamily()
	case b.RequireDualStack && a.families != [2]bool{true, true}:
		a.fault = withoutSecondFamily()
	}
	for _, address := range b.Requested {
		switch f := familyOf(address); {
		case !address.IsValid():
			a.fault = requestUnreadable()
			return
		case !a.families[f]:
			a.fault = requestOfOtherFamily(address)
		case a.requested[f].IsValid():
			a.fault = requestTwice(f)
		default:
			a.requested[f] = address
		}
	}
	if b.SharingKey != "" {
		a.profile = profileOf(a.service)
	}
}

// missing are the families in which it has no address.
func (a *ask) missing() []family {
	var missing []family
	for _, f := range families() {
		if a.families[f] && !a.addresses[f].IsValid() {
			missing = append(missing, f)
		}
	}
	return missing
}

// wants tells whether the Service may go on having an address as far as its
// request goes. A request that cannot be read says nothing against any.
func (a *ask) wants(address netip.Addr) bool {
	requested := a.service.Balancer.Requested
	if slices.Contains(requested, address) {
		return true
	}
	for _, other := range requested {
		if !other.IsValid() {
			return true
		}
	}
	return !slices.ContainsFunc(requested, func(other netip.Addr) bool { return familyOf(other) == familyOf(address) })
}

// wantsPool tells whether the Service names a pool, or none.
func (a *ask) wantsPool(p *pool) bool {
	names := a.service.Balancer.Pools
	return len(names) == 0 || slices.Contains(names, p.Name.Name)
}

// counts tells whether the Service is Fairlead's, or was and has something to lose.
func (a *ask) counts() bool { return a.former == "" || len(a.claimed) > 0 }

// listed are the addresses that the Service has by its status alone.
func (a *ask) listed() []netip.Addr {
	if a.former != "" {
		return nil
	}
	return without(a.ingress(), a.claimed)
}

// inOrder sorts addresses as the Service may keep them: those that its status has, in
// their order there, before others.
func (a *ask) inOrder(addresses []netip.Addr) []netip.Addr {
	if len(addresses) < 2 {
		return addresses
	}
	ingress := a.ingress()
	place := func(address netip.Addr) int {
		if at := slices.Index(ingress, address); at >= 0 {
			return at
		}
		return len(ingress)
	}
	slices.SortFunc(addresses, func(a, b netip.Addr) int {
		return cmp.Or(cmp.Compare(place(a), place(b)), a.Compare(b))
	})
	return slices.Compact(addresses)
}

// ingress is what the Service's status has.
func (a *ask) ingress() []netip.Addr {
	if a.service.Balancer == nil {
		return nil
	}
	return a.service.Balancer.Ingress
}

// assigned are the addresses that the Service has now, IPv4 first.
func (a *ask) assigned() []netip.Addr { return valid(a.addresses) }

func valid(of [2]netip.Addr) []netip.Addr {
	var all []netip.Addr
	for _, address := range of {
		if address.IsValid() {
			all = append(all, address)
		}
	}
	return all
}

// older orders Services: who was there first cannot be robbed by who comes later.
func older(a, b *ask) int {
	if order := a.service.Created.Compare(b.service.Created); order != 0 {
		return order
	}
	return a.service.Name.Compare(b.service.Name)
}
