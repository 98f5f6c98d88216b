package ipam

import (
	"net/netip"
	"slices"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// table makes the Table.
func (c *compiler) table(prev Table) Table {
	t := Table{
		Revision: c.state.Revision, Synced: true,
		state: c.state, options: c.options, pools: c.pools, absent: c.absent, reasons: slices.Clone(c.pools.reasons),
	}
	t.Services = c.assignments(prev.Services, &t.reasons)
	t.Claims = c.claims(prev.Claims)
	t.Pools = c.usage(prev.Pools)
	slices.SortFunc(t.reasons, compareReasons)
	t.effects = Effects{Statuses: c.statuses()}
	t.effects.Claims, t.effects.Releases = claimChanges(c.state.Addressing.Claims, t.Claims)
	return t
}

// assignments are what became of all asks, and adds what is to be said of it.
func (c *compiler) assignments(prev pmap.Map[desired.Name, *Assignment], reasons *[]desired.Reason) pmap.Map[desired.Name, *Assignment] {
	e, stay := prev.Edit(), 0
	for _, a := range c.asks {
		old, had := prev.Get(a.service.Name)
		if had {
			stay++
		}
		now := a.assignment(old)
		if now != old {
			e.Set(a.service.Name, now)
		}
		if now.Problem != nil && now.Problem.Code != codeUnreadable { // that package desired tells
			*reasons = append(*reasons, *now.Problem)
		}
		if now.Lost != nil {
			*reasons = append(*reasons, *now.Lost)
		}
	}
	if stay < prev.Len() {
		for name := range prev.All() {
			if a := c.byName[name]; a == nil || !a.counts() {
				e.Delete(name)
			}
		}
	}
	return e.Map()
}

// assignment returns what became of an ask: old if that is the same.
func (a *ask) assignment(old *Assignment) *Assignment {
	if old != nil && a.problem == nil && len(a.lost) == 0 && old.is(a.addresses, a.pools) {
		return old // most are, and need not be made to be compared
	}
	now := &Assignment{Addresses: a.assigned(), Problem: a.problem.against(a.service), Lost: a.loss()}
	for _, p := range a.pools {
		if p != nil {
			now.Pools = append(now.Pools, p.Name)
		}
	}
	if old != nil && old.equal(now) {
		return old
	}
	return now
}

// is tells whether all that there is to an assignment are these addresses.
func (a *Assignment) is(addresses [2]netip.Addr, pools [2]*pool) bool {
	n := 0
	for i, address := range addresses {
		if !address.IsValid() {
			continue
		}
		if n >= len(a.Addresses) || a.Addresses[n] != address || a.Pools[n] != pools[i].Name {
			return false
		}
		n++
	}
	return n == len(a.Addresses) && a.Problem == nil && a.Lost == nil
}

// claims are those of the State, changed to be as they should, and counts them.
func (c *compiler) claims(prev pmap.Map[netip.Addr, *desired.Claim]) pmap.Map[netip.Addr, *desired.Claim] {
	e := c.state.Addressing.Claims.Edit()
	for address, h := range c.holdings {
		if len(h.services) == 0 {
			if h.claim != nil {
				e.Delete(address)
			}
			continue
		}
		c.stock[h.owner.index].assigned[familyOf(address)]++
		if want := h.wanted(address); want != h.claim {
			if old, ok := prev.Get(address); ok && sameClaim(old, want) {
				want = old
			}
			e.Set(address, want)
		}
	}
	return e.Map()
}

// wanted returns the claim that an address is to have: that which there is, if it is
// as it should be. Who is named already keeps its place, as the first is the parent of
// the API's object, which cannot be changed.
func (h *holding) wanted(address netip.Addr) *desired.Claim {
	is := h.claim
	if is != nil && len(h.services) == 1 && len(is.Services) == 1 && is.Services[0] == h.services[0].Name {
		return is
	}
	want := &desired.Claim{Address: address}
	for _, s := range h.services {
		want.Services = append(want.Services, s.Name)
	}
	slices.SortFunc(want.Services, desired.Name.Compare)
	if is == nil {
		return want
	}
	stay := without(is.Services, without(is.Services, want.Services))
	want.Services = append(stay, without(want.Services, is.Services)...)
	if sameClaim(is, want) {
		return is
	}
	return want
}

func sameClaim(a, b *desired.Claim) bool {
	return a.Address == b.Address && a.Foreign == b.Foreign && slices.Equal(a.Services, b.Services)
}

// usage counts what pools have left.
func (c *compiler) usage(prev pmap.Map[desired.Name, *Usage]) pmap.Map[desired.Name, *Usage] {
	e := prev.Edit()
	for name := range prev.All() {
		if _, exists := c.state.Addressing.Pools.Get(name); !exists {
			e.Delete(name)
		}
	}
	for i, p := range c.pools.all {
		left := func(f family) int64 {
			return p.size[f].sub(number{low: uint64(c.stock[i].used[f])}).clamped()
		}
		given := c.stock[i].assigned
		now := Usage{Assigned4: given[v4], Assigned6: given[v6], Available4: left(v4), Available6: left(v6)}
		if old, had := prev.Get(p.Name); !had || *old != now {
			e.Set(p.Name, &now)
		}
	}
	return e.Map()
}
