package lb

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// Compile returns the Table for a State, and a Reason for every Service that
// does not get all it asks for. prev is the Table that Compile returned last,
// or the zero Table: Services that did not change since are not looked at, and
// their Entries are the same pointers.
func Compile(s *desired.State, prev Table, o Options) (Table, []desired.Reason) {
	addresses, uplinks := network(s.Node, o)
	before := prev.state
	if before == nil || before.Node.Name != s.Node.Name || before.Node.Zone != s.Node.Zone ||
		!slices.Equal(prev.NodeAddresses, addresses) || !prev.Options.equal(o) {
		// These count for every Service.
		before, prev = &desired.State{}, Table{}
	}
	c := compiler{
		state: s, options: o, addresses: addresses, without: prev.WithoutLocal,
		entries: prev.Entries.Edit(), claims: prev.claims.Edit(), contested: prev.contested.Edit(),
		clusterIPs: prev.ClusterIPs.Edit(), local: prev.LocalBackends.Edit(),
		checks: prev.HealthChecks.Edit(), notices: prev.notices.Edit(),
	}
	for change := range pmap.Diff(before.Services, s.Services) {
		c.service(change.Old, change.New)
	}
	t := Table{
		Revision: s.Revision, Synced: s.Synced, Entries: c.entries.Map(),
		ClusterIPs: c.clusterIPs.Map(), ServiceCIDRs: s.ServiceCIDRs, NodeAddresses: addresses, Uplinks: uplinks,
		LocalBackends: c.local.Map(), HealthChecks: c.checks.Map(), WithoutLocal: c.without,
		Node: s.Node.Name, Peers: peers(s, prev, o), Options: o,
		state: s, claims: c.claims.Map(), contested: c.contested.Map(), notices: c.notices.Map(),
	}
	return t, t.reasons()
}

// network returns where NodePorts are served, and the interfaces that lead out.
func network(n desired.Node, o Options) ([]netip.Addr, []string) {
	if n.Network == nil {
		return nil, nil
	}
	if len(o.NodePortAddresses) == 0 {
		return n.Network.Addresses, n.Network.Uplinks
	}
	var addresses []netip.Addr
	for _, address := range n.Network.Addresses {
		if contains(o.NodePortAddresses, address) {
			addresses = append(addresses, address)
		}
	}
	return addresses, n.Network.Uplinks
}

func (o Options) equal(other Options) bool {
	return o.ExternalIPs == other.ExternalIPs && o.NodeService == other.NodeService && o.DirectReturn == other.DirectReturn &&
		o.NodeLocal.Service == other.NodeLocal.Service && slices.Equal(o.NodeLocal.Addresses, other.NodeLocal.Addresses) &&
		slices.Equal(o.NodePortAddresses, other.NodePortAddresses)
}

// peers returns the addresses of the nodes that run Fairlead: those of prev if
// what tells them is the same.
func peers(s *desired.State, prev Table, o Options) pmap.Map[netip.Addr, string] {
	service, ok := s.Services.Get(o.NodeService)
	if prev.state != nil {
		if was, had := prev.state.Services.Get(o.NodeService); had == ok && was == service {
			return prev.Peers
		}
	}
	var none pmap.Map[netip.Addr, string]
	nodes := none.Edit()
	if ok {
		for _, slice := range service.Slices {
			for i := range slice.Endpoints {
				nodes.Set(slice.Endpoints[i].Address, slice.Endpoints[i].Node)
			}
		}
	}
	return nodes.Map()
}

type compiler struct {
	state      *desired.State
	options    Options
	addresses  []netip.Addr // of the node
	entries    *pmap.Editor[Frontend, *Entry]
	claims     *pmap.Editor[Frontend, *claim]
	contested  *pmap.Editor[Frontend, bool]
	clusterIPs *pmap.Editor[netip.Addr, int]
	local      *pmap.Editor[netip.Addr, int]
	checks     *pmap.Editor[desired.Name, HealthCheck]
	notices    *pmap.Editor[desired.Name, notice]
	without    struct{ Internal, External int }
	// touched are the frontends that the Service at hand claims or did claim.
	touched []Frontend
}

// claim lists the Services that want one Frontend, the one that gets it first.
type claim struct{ services []*desired.Service }

// service replaces what old, which may be nil, brings about by what now does,
// which may be nil too.
func (c *compiler) service(old, now *desired.Service) {
	c.touched = c.touched[:0]
	if old != nil {
		for f, role := range Frontends(old, c.options) {
			c.claim(f, old.Name, nil)
			c.countClusterIP(f, role, -1)
		}
	}
	if now != nil {
		for f, role := range Frontends(now, c.options) {
			c.claim(f, now.Name, now)
			c.countClusterIP(f, role, +1)
		}
	}
	for _, f := range c.touched {
		c.settle(f)
	}
	c.notice(old, now)
}

func (c *compiler) countClusterIP(f Frontend, role Role, by int) {
	// What else is at an address of NodeLocal is not known.
	if role.Kind == ClusterIP && !slices.Contains(c.options.NodeLocal.Addresses, f.Address) {
		count(c.clusterIPs, f.Address, by)
	}
}

// count adds to a number that is kept as long as it is above 0.
func count[K comparable](e *pmap.Editor[K, int], key K, by int) {
	n, _ := e.Get(key)
	if n += by; n > 0 {
		e.Set(key, n)
	} else {
		e.Delete(key)
	}
}

// claim replaces what the Service of this name claims of f.
func (c *compiler) claim(f Frontend, name desired.Name, now *desired.Service) {
	if !slices.Contains(c.touched, f) {
		c.touched = append(c.touched, f)
	}
	var services []*desired.Service
	if old, ok := c.claims.Get(f); ok {
		services = slices.DeleteFunc(slices.Clone(old.services), func(s *desired.Service) bool { return s.Name == name })
	}
	if now != nil {
		services = append(services, now)
		slices.SortFunc(services, precedence)
	}
	if len(services) == 0 {
		c.claims.Delete(f)
		return
	}
	c.claims.Set(f, &claim{services})
}

// precedence puts the older Service first, then the one whose name sorts first:
// a Service that is there already cannot be robbed by a new one.
func precedence(a, b *desired.Service) int {
	if order := a.Created.Compare(b.Created); order != 0 {
		return order
	}
	return a.Name.Compare(b.Name)
}

// settle gives a frontend to the first Service that claims it.
func (c *compiler) settle(f Frontend) {
	old, had := c.entries.Get(f)
	owners, ok := c.claims.Get(f)
	if !ok {
		c.contested.Delete(f)
		if had {
			c.entries.Delete(f)
			c.countLocal(old, -1)
		}
		return
	}
	if len(owners.services) > 1 {
		c.contested.Set(f, true)
	} else {
		c.contested.Delete(f)
	}
	entry := c.entry(owners.services[0], f)
	if had && old.equal(entry) {
		return
	}
	if had {
		c.countLocal(old, -1)
	}
	c.entries.Set(f, entry)
	c.countLocal(entry, +1)
}

func (c *compiler) countLocal(e *Entry, by int) {
	for _, address := range e.Local {
		count(c.local, address, by)
	}
}

// reasons says which Services do not get a frontend they want.
func (t Table) reasons() []desired.Reason {
	var reasons []desired.Reason
	for f := range t.contested.All() {
		owners, _ := t.claims.Get(f)
		for _, s := range owners.services[1:] {
			reasons = append(reasons, desired.Reason{
				Object:  desired.Ref{Kind: "Service", Namespace: s.Name.Namespace, Name: s.Name.Name},
				Code:    "FrontendTaken",
				Message: fmt.Sprintf("%s already belongs to Service %s, which comes first by age or name; this Service is not served there, give it another address or port", f, owners.services[0].Name),
			})
		}
	}
	for name, n := range t.notices.All() {
		if n.withheld {
			reasons = append(reasons, desired.Reason{
				Object:  desired.Ref{Kind: "Service", Namespace: name.Namespace, Name: name.Name},
				Code:    "ExternalIPsDisabled",
				Message: "spec.externalIPs are not served, because anybody who may write a Service could take any address with them (CVE-2020-8554); use type LoadBalancer, or set lb.externalIPs: true in fairlead.yaml if you trust all who may write Services",
			})
		}
	}
	slices.SortFunc(reasons, compareReasons)
	return reasons
}
