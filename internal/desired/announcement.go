package desired

import "net/netip"

// Announcement is what one node tells the network of one Service by one protocol:
// what a ServiceL2Status or a ServiceBGPStatus says.
type Announcement struct {
	Announced
	// Addresses are those that are announced, sorted; none where only the protocol
	// knows.
	Addresses []netip.Addr `json:"addresses,omitempty"`
	// Through are the interfaces (layer 2) or the names of the BGPPeers that are told,
	// sorted.
	Through []string `json:"through,omitempty"`
}

// Announced says which Announcement of a node one is.
type Announced struct {
	Service Name `json:"service"`
	// BGP or else layer 2.
	BGP bool `json:"bgp,omitempty"`
}

// Compare orders what a node announces: layer 2 first, then by Service.
func (a Announced) Compare(other Announced) int {
	switch {
	case a.BGP == other.BGP:
		return a.Service.Compare(other.Service)
	case other.BGP:
		return -1
	}
	return 1
}
