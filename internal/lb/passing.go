package lb

import (
	"net/netip"
	"time"
)

// Passing says that packets of TCP connections to an address which this node does
// not know are for another node, which announced the address before. Packets that
// begin a connection are not meant, nor UDP.
type Passing struct {
	Address netip.Addr
	// To is the other node, on a network that this one is on too; its family is that
	// of Address.
	To netip.Addr
	// For is how long the kernel may go on with it until it is told again.
	For time.Duration
}
