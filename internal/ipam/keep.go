package ipam

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// keep lets Services have what they have as far as they may: those with a claim
// before those without, and the older Service before the younger. A claim for what
// no status has yet comes after those that clients may be using.
func (c *compiler) keep() {
	for _, a := range c.asks {
		for _, address := range a.inOrder(a.claimed) {
			if slices.Contains(a.ingress(), address) {
				c.keepOne(a, address)
			}
		}
	}
	for _, a := range c.asks {
		for _, address := range a.inOrder(without(a.claimed, a.ingress())) {
			c.keepOne(a, address)
		}
	}
	for _, a := range c.asks {
		for _, address := range a.inOrder(a.listed()) {
			c.keepOne(a, address)
		}
	}
	// Nobody waits for what another controller has given.
	for _, a := range c.others {
		for _, address := range without(a.ingress(), a.claimed) {
			c.hold(address).foreign = fmt.Sprintf("the status of Service %s has it, whose addresses are not Fairlead's to give", a.service.Name)
		}
	}
}

func (c *compiler) keepOne(a *ask, address netip.Addr) {
	h, f := c.hold(address), familyOf(address)
	p, why := c.source(a, address, h.owner)
	if why == "" && a.addresses[f].IsValid() {
		if !slices.Contains(a.ingress(), address) { // nobody ever saw it
			h.leaving = append(h.leaving, a.service.Name)
			return
		}
		why = fmt.Sprintf("a Service has one address of each family, and it has %s", a.addresses[f])
	}
	if why == "" {
		why = h.taken(a.service)
	}
	if why == "" {
		c.take(a, address, p)
		return
	}
	a.lost = append(a.lost, fmt.Sprintf("%s, because %s", address, why))
	h.leaving = append(h.leaving, a.service.Name)
}

// source returns the pool by which a Service may go on having an address whoever
// else has it, or why it may not. That is its owner, or one that overlaps.
func (c *compiler) source(a *ask, address netip.Addr, owner *pool) (*pool, string) {
	switch {
	case a.former != "":
		return nil, a.former
	case !a.families[familyOf(address)]:
		return nil, fmt.Sprintf("the Service has no %s (spec.ipFamilies)", familyOf(address))
	case owner == nil:
		return nil, "no IPAddressPool has it; if it should stay, add it to one"
	case !a.wants(address):
		return nil, "the Service asks for " + text(valid(a.requested)) + " instead"
	}
	why := c.unfit(a, owner)
	if why == "" {
		return owner, ""
	}
	if len(c.pools.reasons) > 0 {
		// That somebody makes a pool that overlaps takes no address from anybody.
		for _, p := range c.pools.all {
			if p != owner && p.Contains(address) && c.unfit(a, p) == "" {
				return p, ""
			}
		}
	}
	return nil, why
}

// unfit says why a Service cannot go on having an address of a pool, or is empty.
func (c *compiler) unfit(a *ask, p *pool) string {
	switch {
	case !c.admits(p, a.service):
		return fmt.Sprintf("pool %s, which has it, is for Services with other namespaces or labels (spec.serviceAllocation)", p.Name.Name)
	case !a.wantsPool(p):
		return fmt.Sprintf("it is in pool %s, and the Service asks for pool %s", p.Name.Name, strings.Join(a.service.Balancer.Pools, " or "))
	}
	return ""
}

// admits tells whether a Service may have addresses of a pool.
func (c *compiler) admits(p *pool, s *desired.Service) bool {
	if p.openness() == 1 {
		return true
	}
	var of map[string]string
	if namespace, ok := c.state.Namespaces.Get(s.Name.Namespace); ok {
		of = namespace.Labels
	}
	return p.For(s.Name.Namespace, of, s.Balancer.Labels)
}
