package ipam

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// offer is an address that a Service can have.
type offer struct {
	address netip.Addr
	pool    *pool
	shared  bool
}

// shelf is where addresses lie that Services with one key share.
type shelf struct {
	key    string
	pool   *pool
	family family
}

// search is how far a shelf was looked through for Services of one profile. What
// did not suit the one before does not suit the next: addresses only fill up.
type search struct {
	next int
	// waits is one that would suit if nobody were leaving.
	waits netip.Addr
}

type searchKey struct {
	profile string
	pool    *pool
	family  family
}

// give finds addresses for those that lack some.
func (c *compiler) give() {
	certain := func(a *ask) bool { return a.requested != [2]netip.Addr{} }
	for _, a := range c.asks {
		if certain(a) {
			c.complete(a)
		}
	}
	for _, a := range c.asks {
		if !certain(a) {
			c.complete(a)
		}
	}
}

// complete gives a Service what it lacks, or notes why it does not get it.
func (c *compiler) complete(a *ask) {
	if a.former != "" {
		return
	}
	a.problem = a.fault
	missing := a.missing()
	if a.fault != nil || len(missing) == 0 {
		return
	}
	offers, problems := c.find(a, missing)
	required := a.service.Balancer.RequireDualStack
	if len(problems) == 0 || !required {
		for _, o := range offers {
			if o.pool != nil {
				c.take(a, o.address, o.pool)
			}
		}
	}
	if len(problems) == 0 {
		return
	}
	a.problem = join(problems)
	switch {
	case a.problem.passing:
	case required:
		a.problem = incomplete(a, problems)
		c.surrender(a)
	case len(a.assigned()) > 0:
		a.problem = incomplete(a, problems)
	}
}

// surrender takes from a Service what it cannot have without the rest.
func (c *compiler) surrender(a *ask) {
	for _, f := range families() {
		address := a.addresses[f]
		if !address.IsValid() {
			continue
		}
		a.lost = append(a.lost, fmt.Sprintf("%s, because ipFamilyPolicy RequireDualStack needs an %s address too, and there is none for it", address, f.other()))
		a.addresses[f], a.pools[f] = netip.Addr{}, nil
		h := c.holdings[address]
		h.services = slices.DeleteFunc(h.services, func(s *desired.Service) bool { return s == a.service })
		h.leaving = append(h.leaving, a.service.Name)
	}
}

// find looks for an address in each of the missing families.
func (c *compiler) find(a *ask, missing []family) (offers [2]offer, problems []*problem) {
	near := a.pools[missing[0].other()]
	var open []family
	for _, f := range missing {
		if !a.requested[f].IsValid() {
			open = append(open, f)
			continue
		}
		p, why := c.requested(a, a.requested[f])
		if why != nil {
			problems = append(problems, why)
			continue
		}
		offers[f], near = offer{address: a.requested[f], pool: p}, p
	}
	if len(open) == 0 {
		return offers, problems
	}
	pools, why := c.candidates(a, near)
	if why != nil {
		return offers, append(problems, why)
	}
	return offers, append(problems, c.choose(a, open, pools, &offers)...)
}

// requested returns the pool of an address that a Service asks for, or why it
// cannot have it. That a pool does not give addresses by itself, or avoids this
// one, does not matter.
func (c *compiler) requested(a *ask, address netip.Addr) (*pool, *problem) {
	p := c.pools.owner(address)
	switch {
	case p == nil:
		return nil, requestOutside(address)
	case !a.wantsPool(p):
		return nil, requestInOtherPool(address, p, a.service.Balancer.Pools)
	case !c.admits(p, a.service):
		return nil, requestForbidden(address, p)
	}
	h := c.holdings[address]
	if h == nil || h.admits(a.service) {
		return p, nil
	}
	if by := h.taken(a.service); by != "" {
		return nil, requestTaken(address, by)
	}
	return nil, waiting(address, h)
}

// candidates are the pools that a Service may have any address from, the best
// first: that which its other address is from, then those that it names, or else
// those that give addresses by themselves.
func (c *compiler) candidates(a *ask, near *pool) ([]*pool, *problem) {
	names := a.service.Balancer.Pools
	var found []*pool
	if near != nil {
		found = append(found, near)
	}
	exists := false
	for _, p := range c.pools.all {
		if p == near || len(names) == 0 && !p.AutoAssign || !a.wantsPool(p) {
			continue
		}
		exists = true
		if c.admits(p, a.service) {
			found = append(found, p)
		}
	}
	switch {
	case len(found) > 0:
		return found, nil
	case len(names) == 0:
		return nil, withoutPool(len(c.pools.all))
	case exists:
		return nil, poolForbidden(names)
	}
	return nil, poolNotFound(names)
}

// choose finds addresses of these families: shared ones if the Service has a key,
// all from one pool if possible. It returns why there is none.
func (c *compiler) choose(a *ask, open []family, pools []*pool, offers *[2]offer) []*problem {
	if a.profile != "" {
		for _, p := range pools {
			if got, all, shared := c.together(a, open, p); all && shared {
				accept(open, got, offers)
				return nil
			}
		}
		if address, wait := c.waits(a, open, pools); wait {
			return []*problem{waiting(address, c.holdings[address])}
		}
	}
	for _, p := range pools {
		if got, all, _ := c.together(a, open, p); all {
			accept(open, got, offers)
			return nil
		}
	}
	var problems []*problem
	for _, f := range open {
		one, ok := c.single(a, f, pools)
		if !ok {
			problems = append(problems, c.exhausted(f, pools))
			continue
		}
		offers[f] = one
	}
	return problems
}

func accept(open []family, got [2]offer, offers *[2]offer) {
	for _, f := range open {
		offers[f] = got[f]
	}
}

// together looks for an address of each family in one pool.
func (c *compiler) together(a *ask, open []family, p *pool) (got [2]offer, all, shared bool) {
	for _, f := range open {
		one, ok := c.shareable(a, f, p)
		if !ok {
			one, ok = c.free(f, p)
		}
		if !ok {
			return got, false, false
		}
		got[f], shared = one, shared || one.shared
	}
	return got, true, shared
}

// single looks for one address in all pools, shared ones first.
func (c *compiler) single(a *ask, f family, pools []*pool) (offer, bool) {
	for _, p := range pools {
		if one, ok := c.shareable(a, f, p); ok {
			return one, true
		}
	}
	for _, p := range pools {
		if one, ok := c.free(f, p); ok {
			return one, true
		}
	}
	return offer{}, false
}

// free returns the lowest address of a pool that nobody has.
func (c *compiler) free(f family, p *pool) (offer, bool) {
	address, ok := c.stock[p.index].cursors[f].free(func(a netip.Addr) bool { return c.holdings[a] != nil || p.Avoids(a) })
	return offer{address: address, pool: p}, ok
}

// shareable returns an address of a pool that a Service can share, the one first
// that has been shared for longest.
func (c *compiler) shareable(a *ask, f family, p *pool) (offer, bool) {
	if a.profile == "" {
		return offer{}, false
	}
	addresses := c.shared[shelf{a.service.Balancer.SharingKey, p, f}]
	key := searchKey{a.profile, p, f}
	done := c.searches[key]
	for ; done.next < len(addresses); done.next++ {
		address := addresses[done.next]
		h := c.holdings[address]
		if h.admits(a.service) {
			break
		}
		if len(h.leaving) > 0 && h.shares(a.service) && !done.waits.IsValid() {
			done.waits = address
		}
	}
	c.searches[key] = done
	if done.next == len(addresses) {
		return offer{}, false
	}
	return offer{address: addresses[done.next], pool: p, shared: true}, true
}

// waits returns an address that a Service could share if nobody were leaving.
func (c *compiler) waits(a *ask, open []family, pools []*pool) (netip.Addr, bool) {
	for _, p := range pools {
		for _, f := range open {
			if address := c.searches[searchKey{a.profile, p, f}].waits; address.IsValid() {
				return address, true
			}
		}
	}
	return netip.Addr{}, false
}
