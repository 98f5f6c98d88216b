package ipam

import (
	"net/netip"

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

// Table is who has which addresses. It and all it points to are immutable.
type Table struct {
	Revision uint64 // that of the State
	Synced   bool
	// Services are those whose addresses are Fairlead's to give, and those that
	// were and still have one.
	Services pmap.Map[desired.Name, *Assignment]
	// Claims are who is to have each address: that is in a Service's status, or
	// will be. What is claimed and not here is to be released.
	Claims pmap.Map[netip.Addr, *desired.Claim]
	Pools  pmap.Map[desired.Name, *Usage]
}

// Assignment is what one Service has or gets.
type Assignment struct {
	// Addresses are to be in the Service's status, IPv4 first; none if it has none.
	Addresses []netip.Addr `json:"addresses,omitempty"`
	// Pools are the pools that Addresses are from, side by side.
	Pools []desired.Name `json:"pools,omitempty"`
	// Problem says why it has none, or not all it asks for.
	Problem *desired.Reason `json:"problem,omitempty"`
	// Lost says why addresses that it had were taken from it.
	Lost *desired.Reason `json:"lost,omitempty"`
}

// Usage counts the addresses of one pool. A count beyond the largest int64 is
// that.
type Usage struct {
	Assigned4, Assigned6   int64
	Available4, Available6 int64
}
