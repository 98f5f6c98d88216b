package ipam

import (
	"net/netip"
	"slices"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// Class is the spec.loadBalancerClass by which a Service asks for Fairlead.
const Class = "fairlead.dev/lb"

// Options are settings of the whole cluster.
type Options struct {
	// Default takes Services without a class too.
	Default bool
	// Classes are others that are taken, such as that of a controller before.
	Classes []string
}

// takes tells whether a Service asks Fairlead for its addresses.
func (o Options) takes(s *desired.Service) bool {
	if s.Type != desired.LoadBalancer || s.Balancer == nil {
		return false
	}
	if s.Balancer.Class == "" {
		return o.Default
	}
	return s.Balancer.Class == Class || slices.Contains(o.Classes, s.Balancer.Class)
}

func (o Options) equal(other Options) bool {
	return o.Default == other.Default && slices.Equal(o.Classes, other.Classes)
}

// Table is who has which addresses. It and all it points to are immutable.
type Table struct {
	Revision uint64 // that of the State
	// Synced is that of the State; a Table without it is empty, because of objects
	// that are not known nothing can be said.
	Synced bool
	// Services are those whose addresses are Fairlead's to give, and those that
	// were and still have one.
	Services pmap.Map[desired.Name, *Assignment]
	// Claims are all claims as they are to be: who is to have each address, in its
	// status or soon. Claims that are not Fairlead's are those of the State.
	Claims pmap.Map[netip.Addr, *desired.Claim]
	Pools  pmap.Map[desired.Name, *Usage]

	// What it was compiled from, and what of that is worth keeping.
	state   *desired.State
	options Options
	pools   *pools
	reasons []desired.Reason
	effects Effects
	// absent are Services that claims name and that do not exist.
	absent map[desired.Name]bool
}

// Assignment is what one Service has or gets.
type Assignment struct {
	// Addresses are to be in the Service's status, IPv4 first; none if it has none.
	Addresses []netip.Addr `json:"addresses,omitempty"`
	// Pools are the pools that Addresses are from, side by side.
	Pools []desired.Name `json:"pools,omitempty"`
	// Problem says why it has none, or not all it asks for.
	Problem *desired.Reason `json:"problem,omitempty"`
	// Lost says why addresses that it had were taken from it. It is there as long as
	// the Service or a claim still says that it has them.
	Lost *desired.Reason `json:"lost,omitempty"`
}

func (a *Assignment) equal(other *Assignment) bool {
	same := func(a, b *desired.Reason) bool { return a == b || a != nil && b != nil && *a == *b }
	return slices.Equal(a.Addresses, other.Addresses) && slices.Equal(a.Pools, other.Pools) &&
		same(a.Problem, other.Problem) && same(a.Lost, other.Lost)
}

// Usage counts the addresses of one pool. A count beyond the largest int64 is
// that.
type Usage struct {
	// Assigned are those that Services have.
	Assigned4, Assigned6 int64
	// Available are those that can be given without being asked for: nobody has
	// them, and avoidBuggyIPs does not leave them out.
	Available4, Available6 int64
}
