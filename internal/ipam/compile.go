package ipam

import (
	"net/netip"
	"slices"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// Compile returns the Table for a State, and a Reason for every Service that does
// not get all it asks for or loses what it had, and for every pool that overlaps
// another. prev is the Table that Compile returned last, or the zero Table; what
// did not change are the same pointers. The Table is the same whatever prev is.
func Compile(s *desired.State, prev Table, o Options) (Table, []desired.Reason) {
	if !s.Synced {
		return Table{Revision: s.Revision, state: s, options: o}, nil
	}
	if prev.Synced && !prev.outdated(s, o) {
		prev.Revision, prev.state = s.Revision, s
		return prev, prev.reasons
	}
	c := newCompiler(s, prev, o)
	c.gather()
	c.keep()
	c.give()
	t := c.table(prev)
	return t, t.reasons
}

// compiler gives addresses for one State.
type compiler struct {
	state   *desired.State
	options Options
	pools   *pools
	stock   []stock // side by side with pools.all
	// asks are Services of Fairlead's, and those that were and that claims name, the
	// oldest first; others are those that are not and have addresses, by name.
	asks   []*ask
	others []*ask
	byName map[desired.Name]*ask
	// absent are Services that claims name and that do not exist.
	absent   map[desired.Name]bool
	holdings map[netip.Addr]*holding
	shared   map[shelf][]netip.Addr
	searches map[searchKey]search

	newAsk     arena[ask]
	newHolding arena[holding]
}

func newCompiler(s *desired.State, prev Table, o Options) *compiler {
	size := prev.Services.Len()
	c := &compiler{
		state: s, options: o, pools: prev.pools, byName: make(map[desired.Name]*ask, size), absent: map[desired.Name]bool{},
		holdings: make(map[netip.Addr]*holding, prev.Claims.Len()), shared: map[shelf][]netip.Addr{}, searches: map[searchKey]search{},
	}
	if c.pools == nil || prev.state.Addressing.Pools != s.Addressing.Pools {
		c.pools = newPools(s.Addressing.Pools)
	}
	for _, p := range c.pools.all {
		c.stock = append(c.stock, p.stock())
	}
	return c
}

// gather notes which Services there are, what claims name them for, and what they
// ask for.
func (c *compiler) gather() {
	for name, s := range c.state.Services.All() {
		if s.Balancer != nil {
			c.note(name, s)
		}
	}
	for address, claim := range c.state.Addressing.Claims.All() {
		if claim.Foreign == "" {
			c.claimed(address, claim)
		} else if c.pools.owner(address) != nil { // else nobody gets it anyway, and these are many
			c.hold(address).foreign = claim.Foreign
		}
	}
	for _, a := range c.byName {
		if c.options.takes(a.service) && (len(a.claimed) > 0 || !c.elsewhere(a.service)) {
			a.read()
		} else {
			a.former = former(a.service)
			if len(a.ingress()) > 0 {
				c.others = append(c.others, a)
			}
		}
		if a.counts() {
			c.asks = append(c.asks, a)
		}
	}
	slices.SortFunc(c.asks, older)
	slices.SortFunc(c.others, func(a, b *ask) int { return a.service.Name.Compare(b.service.Name) })
}

func (c *compiler) note(name desired.Name, s *desired.Service) *ask {
	a := c.newAsk.next()
	a.service, a.claimed = s, a.most[:0]
	c.byName[name] = a
	return a
}

// claimed notes whom a claim names.
func (c *compiler) claimed(address netip.Addr, claim *desired.Claim) {
	h := c.hold(address)
	h.claim = claim
	for _, name := range claim.Services {
		a := c.byName[name]
		if a == nil {
			s, exists := c.state.Services.Get(name)
			if !exists {
				c.absent[name] = true
				h.leaving = append(h.leaving, name)
				continue
			}
			a = c.note(name, s)
		}
		a.claimed = append(a.claimed, address)
	}
}

// elsewhere tells whether another controller seems to have given a Service, which
// did not ask for Fairlead, what is in its status.
func (c *compiler) elsewhere(s *desired.Service) bool {
	b := s.Balancer
	return b.Class == "" && (b.Hostnames || len(b.Ingress) > 0 && len(c.pools.all) == 0)
}

// former says why a Service is not Fairlead's, or not any more.
func former(s *desired.Service) string {
	switch {
	case s.Balancer == nil:
		return "the Service is not of type LoadBalancer any more"
	case s.Balancer.Class == "":
		return "Services without spec.loadBalancerClass are not Fairlead's to give addresses to"
	}
	return "spec.loadBalancerClass " + s.Balancer.Class + " is not Fairlead's"
}
