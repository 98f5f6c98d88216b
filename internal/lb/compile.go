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
func Compile(s *desired.State, prev Table) (Table, []desired.Reason) {
	before := prev.state
	if before == nil || before.Node != s.Node {
		// Which endpoints are near depends on the node, for every Service.
		before = &desired.State{}
		if prev.state != nil {
			prev = Table{}
		}
	}
	c := compiler{state: s, entries: prev.Entries.Edit(), claims: prev.claims.Edit(), contested: prev.contested.Edit()}
	for change := range pmap.Diff(before.Services, s.Services) {
		c.service(change.Old, change.New)
	}
	for frontend := range c.touched {
		c.settle(frontend)
	}
	t := Table{
		Revision: s.Revision, Synced: s.Synced,
		Entries: c.entries.Map(), state: s, claims: c.claims.Map(), contested: c.contested.Map(),
	}
	return t, t.reasons()
}

type compiler struct {
	state     *desired.State
	entries   *pmap.Editor[Frontend, *Entry]
	claims    *pmap.Editor[Frontend, *claim]
	contested *pmap.Editor[Frontend, bool]
	touched   map[Frontend]bool
}

// claim lists the Services that want one Frontend, the one that gets it first.
type claim struct{ services []*desired.Service }

// service replaces the claims of old, which may be nil, by those of now, which
// may be nil too.
func (c *compiler) service(old, now *desired.Service) {
	if c.touched == nil {
		c.touched = map[Frontend]bool{}
	}
	if old != nil {
		for f := range Frontends(old) {
			c.claim(f, old.Name, nil)
		}
	}
	if now != nil {
		for f := range Frontends(now) {
			c.claim(f, now.Name, now)
		}
	}
}

// claim replaces what the Service of this name claims of f.
func (c *compiler) claim(f Frontend, name desired.Name, now *desired.Service) {
	c.touched[f] = true
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
	owners, ok := c.claims.Get(f)
	if !ok {
		c.entries.Delete(f)
		c.contested.Delete(f)
		return
	}
	if len(owners.services) > 1 {
		c.contested.Set(f, true)
	} else {
		c.contested.Delete(f)
	}
	entry := compileEntry(owners.services[0], f, c.state.Node)
	if old, had := c.entries.Get(f); had && old.equal(entry) {
		return
	}
	c.entries.Set(f, entry)
}

// Frontends yields what clients inside the cluster can connect to when they
// mean this Service, and the Service's port for each.
func Frontends(s *desired.Service) func(yield func(Frontend, desired.Port) bool) {
	return func(yield func(Frontend, desired.Port) bool) {
		if s.Headless || s.Type == desired.ExternalName || s.Foreign != "" {
			return
		}
		for _, address := range s.Addresses {
			for _, port := range s.Ports {
				if !yield(Frontend{Address: address, Port: port.Port, Protocol: port.Protocol}, port) {
					return
				}
			}
		}
	}
}

// compileEntry selects the backends of one frontend of s.
func compileEntry(s *desired.Service, f Frontend, node desired.Node) *Entry {
	entry := &Entry{Service: s.Name, Affinity: s.Affinity}
	for candidate, port := range Frontends(s) {
		if candidate == f {
			entry.Port = port.Name
			for _, c := range Candidates(s, port, f.Address.Is6(), node) {
				if c.Used {
					entry.Backends = append(entry.Backends, netip.AddrPortFrom(c.Endpoint.Address, c.Port))
				}
			}
		}
	}
	slices.SortFunc(entry.Backends, netip.AddrPort.Compare)
	entry.Backends = slices.Clip(slices.Compact(entry.Backends))
	entry.Drop = s.InternalLocal && len(entry.Backends) == 0
	return entry
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
	slices.SortFunc(reasons, func(a, b desired.Reason) int {
		return compareReasons(a, b)
	})
	return reasons
}
