package lb

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// Table is what a load-balancing plane has to program. It and all it points to
// are immutable; an Entry whose pointer is that of the previous Table is the
// same.
type Table struct {
	// Revision is that of the State this Table was compiled from.
	Revision uint64
	// Synced is false while the State may lack objects; nothing may be removed
	// from the kernel for being absent from such a Table.
	Synced  bool
	Entries pmap.Map[Frontend, *Entry]

	state *desired.State
	// claims lists every Service that wants a frontend, the one that has it
	// first; contested holds the frontends that several Services want.
	claims    pmap.Map[Frontend, *claim]
	contested pmap.Map[Frontend, bool]
}

// Frontend is what a client connects to.
type Frontend struct {
	Address  netip.Addr
	Port     uint16
	Protocol desired.Protocol
}

// String returns ADDRESS:PORT/PROTOCOL.
func (f Frontend) String() string {
	return netip.AddrPortFrom(f.Address, f.Port).String() + "/" + f.Protocol.String()
}

// Compare orders frontends by address, port and protocol.
func (f Frontend) Compare(other Frontend) int {
	return cmp.Or(f.Address.Compare(other.Address), cmp.Compare(f.Port, other.Port), cmp.Compare(f.Protocol, other.Protocol))
}

// Entry is what happens to a connection to a Frontend.
type Entry struct {
	Service desired.Name
	// Port is the name of the Service's port, often empty.
	Port string
	// Affinity keeps a client with its backend for this long after its last
	// connection; zero means a new choice for each connection.
	Affinity time.Duration
	// Backends are sorted and distinct; each is chosen with equal probability.
	// None: the connection is refused at once, or dropped if Drop is set.
	Backends []netip.AddrPort
	// Drop makes an Entry without Backends silent (internalTrafficPolicy: Local
	// without an endpoint on this node).
	Drop bool
}

func (e *Entry) equal(other *Entry) bool {
	return e.Service == other.Service && e.Port == other.Port && e.Affinity == other.Affinity &&
		e.Drop == other.Drop && slices.Equal(e.Backends, other.Backends)
}
