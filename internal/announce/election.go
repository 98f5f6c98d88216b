package announce

import (
	"net/netip"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// Live is which nodes are alive, as this node sees it: those that answer its
// probes, and itself once it has listened long enough to know of the others. The
// zero Live is that of a node which knows nothing, and so owns nothing. It and all
// it points to are immutable.
type Live struct {
	Nodes map[string]*Condition
}

// Condition is what a live node says of itself.
type Condition struct {
	// Offers are the hashes (OfferHash) of the L2Advertisements that it is ready to
	// make, sorted.
	Offers []uint32
	// Leaving nodes hand their addresses over, as far as there is another.
	Leaving bool
	// Since is when it was first seen alive without interruption.
	Since time.Time
}

// Election is who announces what on layer 2.
type Election struct {
	Revision uint64 // that of the Table
	Synced   bool
	Node     string // this node
	// Addresses are those of Table.L2, in the same order.
	Addresses []Elected
}

// Elected is an address and the one node that announces it.
type Elected struct {
	Address  netip.Addr
	Services []desired.Name // sorted
	// Owner is empty if no node can announce the address; Why then says why, and
	// else why this one does.
	Owner string
	Why   string
	// Interfaces are those that this node announces it on if it is the owner; none
	// means all uplinks.
	Interfaces []string
}
