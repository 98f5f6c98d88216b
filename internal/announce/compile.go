package announce

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// Compile returns what this node must know to announce its part of a State, and a
// Reason for every object that is not used as written. The Reasons are the same
// on every node, and none before the State is synced, as what seems to be missing
// may merely not have arrived. prev is the Table that Compile returned last, or
// the zero Table: what did not change since is not looked at.
func Compile(s *desired.State, prev Table, o Options) (Table, []desired.Reason) {
	t := Table{
		Revision: s.Revision, Synced: s.Synced, Node: s.Node.Name,
		state: s, options: o, rules: prev.rules,
	}
	if prev.state == nil || !prev.options.equal(o) || !sameRules(prev.state, s) {
		t.rules = newRules(s, o)
	}
	t.Nodes = nodes(s, prev, o)
	t.Offers, t.Peers, t.Unavailable = t.rules.offers, t.rules.peers, t.rules.unavailable
	t.balanced, t.parts = t.compileParts(prev)
	if t.parts == prev.parts && t.rules == prev.rules {
		t.L2, t.Routes, t.reasons = prev.L2, prev.Routes, prev.reasons
	} else {
		t.assemble()
	}
	if !s.Synced {
		return t, nil
	}
	return t, t.reasons
}

func (o Options) equal(other Options) bool {
	return o.NodeService == other.NodeService && o.Default == other.Default && o.Routes == other.Routes &&
		slices.Equal(o.Classes, other.Classes)
}

// SameRoutes tells whether this node tells the same routers the same by both Tables.
func (t *Table) SameRoutes(other *Table) bool {
	return t.Synced == other.Synced && t.rules == other.rules && t.parts == other.parts
}

// announces tells whether a Service, which may be nil, may have something to
// announce.
func (o Options) announces(s *desired.Service) bool {
	return s != nil && (o.balances(s) || len(o.external(s)) > 0)
}

// external returns the externalIPs of a Service that routers are told.
func (o Options) external(s *desired.Service) []netip.Addr {
	if !o.Routes.ExternalIPs || s.Foreign != "" {
		return nil
	}
	return s.ExternalIPs
}

// balances tells whether the addresses that a Service has as a load balancer are to
// be announced.
func (o Options) balances(s *desired.Service) bool {
	if s.Type != desired.LoadBalancer || s.Balancer == nil {
		return false
	}
	if s.Balancer.Class == "" {
		return o.Default
	}
	return slices.Contains(o.Classes, s.Balancer.Class)
}

// compileParts returns the Services that have something to announce, and what.
func (t *Table) compileParts(prev Table) (pmap.Map[desired.Name, *desired.Service], pmap.Map[desired.Name, *part]) {
	var before pmap.Map[desired.Name, *desired.Service]
	var none Table
	if prev.state != nil && prev.options.equal(t.options) {
		before = prev.state.Services
	} else {
		prev = none
	}
	balanced, parts := prev.balanced.Edit(), prev.parts.Edit()
	all := t.rules != prev.rules
	for c := range pmap.Diff(before, t.state.Services) {
		if t.options.announces(c.New) {
			balanced.Set(c.Key, c.New)
		} else if t.options.announces(c.Old) {
			balanced.Delete(c.Key)
			parts.Delete(c.Key)
			continue
		}
		if !all && t.options.announces(c.New) {
			t.compilePart(parts, c.New)
		}
	}
	now := balanced.Map()
	if all {
		for _, s := range now.All() {
			t.compilePart(parts, s)
		}
	}
	return now, parts.Map()
}

// compilePart replaces what one Service contributes, if it is not the same.
func (t *Table) compilePart(parts *pmap.Editor[desired.Name, *part], s *desired.Service) {
	now := t.rules.part(s)
	old, had := parts.Get(s.Name)
	switch {
	case now == nil && had:
		parts.Delete(s.Name)
	case now != nil && (!had || !now.equal(old)):
		parts.Set(s.Name, now)
	}
}

// assemble joins the parts of all Services.
func (t *Table) assemble() {
	t.reasons = slices.Clone(t.rules.reasons)
	t.L2 = make([]L2Address, 0, t.parts.Len())
	t.Routes = slices.Clone(t.rules.routes)
	for _, p := range t.parts.All() {
		t.L2 = append(t.L2, p.l2...)
		t.Routes = append(t.Routes, p.routes...)
		t.reasons = append(t.reasons, p.reasons...)
	}
	slices.SortFunc(t.L2, func(a, b L2Address) int {
		if order := a.Address.Compare(b.Address); order != 0 {
			return order
		}
		return a.Services[0].Compare(b.Services[0])
	})
	t.L2 = join(t.L2, func(a, b *L2Address) bool { return a.Address == b.Address }, (*L2Address).unite)
	slices.SortFunc(t.Routes, func(a, b Route) int {
		if order := a.compare(&b); order != 0 {
			return order
		}
		return slices.CompareFunc(a.Services, b.Services, desired.Name.Compare)
	})
	t.Routes = join(t.Routes, func(a, b *Route) bool { return a.compare(b) == 0 }, (*Route).unite)
	slices.SortFunc(t.reasons, compareReasons)
	t.reasons = slices.Compact(t.reasons)
}

// join unites neighbours that are the same.
func join[T any](sorted []T, same func(a, b *T) bool, unite func(into, other *T)) []T {
	joined := sorted[:0]
	for i := range sorted {
		if n := len(joined); n > 0 && same(&joined[n-1], &sorted[i]) {
			unite(&joined[n-1], &sorted[i])
			continue
		}
		joined = append(joined, sorted[i])
	}
	return joined
}

// nodes returns the nodes that may announce, whatever the conditions of their
// endpoints: whether a process answers is found out by asking it. Those of prev
// are returned if what tells them is the same.
func nodes(s *desired.State, prev Table, o Options) []Node {
	service, ok := s.Services.Get(o.NodeService)
	if prev.state != nil && prev.options.NodeService == o.NodeService {
		if was, had := prev.state.Services.Get(o.NodeService); had == ok && was == service {
			return prev.Nodes
		}
	}
	if !ok {
		return nil
	}
	byName := map[string][2]*desired.Endpoint{}
	for _, slice := range service.Slices {
		for i := range slice.Endpoints {
			e, family := &slice.Endpoints[i], 0
			if slice.IPv6 {
				family = 1
			}
			if have := byName[e.Node]; e.Node != "" && (have[family] == nil || prefer(e, have[family])) {
				have[family] = e
				byName[e.Node] = have
			}
		}
	}
	all := make([]Node, 0, len(byName))
	for name, families := range byName {
		n := Node{Name: name}
		for _, e := range families {
			if e != nil {
				n.Addresses = append(n.Addresses, e.Address)
			}
		}
		all = append(all, n)
	}
	slices.SortFunc(all, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// prefer tells whether a is more likely than b to be the process that stays, where
// two are on one node.
func prefer(a, b *desired.Endpoint) bool {
	if a.Terminating != b.Terminating {
		return b.Terminating
	}
	return a.Address.Less(b.Address)
}

func compareReasons(a, b desired.Reason) int {
	return cmp.Or(strings.Compare(a.Object.Kind, b.Object.Kind), strings.Compare(a.Object.Namespace, b.Object.Namespace),
		strings.Compare(a.Object.Name, b.Object.Name), strings.Compare(a.Code, b.Code), strings.Compare(a.Message, b.Message))
}
