package ipam

import (
	"fmt"
	"net/netip"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// holding is who has one address.
type holding struct {
	owner    *pool          // that the address belongs to, or nil
	claim    *desired.Claim // Fairlead's that there is, or nil
	services []*desired.Service
	party    *party // of services; nil if they do not share
	// leaving are Services that have it, or are named in its claim, and are not to
	// keep it. Until they are gone nobody else gets it: they may be using it.
	leaving []desired.Name
	// foreign says who has it that Fairlead has not given it to.
	foreign string

	only [1]*desired.Service // room for services
}

// admits tells whether one more Service can have the address.
func (h *holding) admits(s *desired.Service) bool {
	return h.foreign == "" && len(h.leaving) == 0 && h.shares(s)
}

// shares is admits once those that leave are gone.
func (h *holding) shares(s *desired.Service) bool {
	return len(h.services) == 0 || h.party != nil && h.party.admits(s)
}

func (h *holding) join(s *desired.Service) {
	if h.services == nil {
		h.services = h.only[:0]
	}
	h.services = append(h.services, s)
	switch {
	case s.Balancer.SharingKey == "":
	case h.party == nil:
		h.party = newParty(s)
	default:
		h.party.join(s)
	}
}

// taken says who has the address so that a Service cannot have it too, or is empty.
// That somebody is about to leave does not count.
func (h *holding) taken(s *desired.Service) string {
	switch {
	case h.foreign != "":
		return h.foreign
	case h.shares(s):
		return ""
	}
	for _, other := range h.services {
		if why := sharingProblem(other, s); why != "" {
			return fmt.Sprintf("Service %s has it, and %s", other.Name, why)
		}
	}
	return ""
}

// hold returns who has an address, and counts it as used.
func (c *compiler) hold(address netip.Addr) *holding {
	h := c.holdings[address]
	if h == nil {
		h = c.newHolding.next()
		h.owner = c.pools.owner(address)
		c.holdings[address] = h
		if p := h.owner; p != nil && !p.Avoids(address) {
			c.stock[p.index].used[familyOf(address)]++
		}
	}
	return h
}

// take gives an address to a Service.
func (c *compiler) take(a *ask, address netip.Addr, p *pool) {
	h, f := c.hold(address), familyOf(address)
	if key := a.service.Balancer.SharingKey; key != "" && len(h.services) == 0 {
		at := shelf{key, h.owner, f}
		c.shared[at] = append(c.shared[at], address)
	}
	h.join(a.service)
	a.addresses[f], a.pools[f] = address, p
}

// arena makes values of which there can be many, more at once the more there are.
type arena[T any] struct {
	room []T
	size int
}

func (a *arena[T]) next() *T {
	if len(a.room) == 0 {
		a.size = min(max(8, 2*a.size), 512)
		a.room = make([]T, a.size)
	}
	one := &a.room[0]
	a.room = a.room[1:]
	return one
}
