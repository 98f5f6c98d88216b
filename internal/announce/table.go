package announce

import (
	"net/netip"
	"slices"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// Options are settings of the whole cluster.
type Options struct {
	// NodeService is a headless Service whose endpoints are the processes that
	// announce: their nodes' names and addresses.
	NodeService desired.Name
	// Classes are the spec.loadBalancerClasses of the Services whose addresses are
	// announced; Default announces those of Services without a class too. The others
	// are somebody else's to announce.
	Classes []string
	Default bool
	Routes  ExtraRoutes
}

// ExtraRoutes are what all routers are told besides the addresses of load
// balancers.
type ExtraRoutes struct {
	// ExternalIPs of Services, by the nodes that serve them.
	ExternalIPs bool
	// ClusterIPs: the whole ranges that ClusterIPs come from, by every node.
	ClusterIPs bool
	// PodCIDRs: the ranges of each node's own pods, also by a node that may not
	// announce the addresses of Services.
	PodCIDRs bool
}

// Table is all that this node must know to announce its part. It and all it
// points to are immutable.
type Table struct {
	// Revision is that of the State.
	Revision uint64
	Synced   bool
	Node     string
	// Nodes are all that may announce, sorted by name: this one is among them as soon
	// as the others can know of it.
	Nodes []Node
	// L2 are the addresses that are announced by ARP and NDP, sorted; each is
	// some node's.
	L2 []L2Address
	// Offers are the L2Advertisements that this node is ready to make, sorted; none
	// while Unavailable.
	Offers []desired.Name
	// Unavailable says why this node announces nothing, or is empty.
	Unavailable string
	// Peers are the routers that this node connects to, sorted by name; Routes
	// what it tells them, sorted by prefix.
	Peers  []Peer
	Routes []Route

	// What it was compiled from, and what of that is worth keeping.
	state   *desired.State
	options Options
	rules   *rules
	// balanced are the Services that may have addresses to announce, parts what each
	// contributes.
	balanced pmap.Map[desired.Name, *desired.Service]
	parts    pmap.Map[desired.Name, *part]
	reasons  []desired.Reason
}

// MaxOffers is how many L2Advertisements there can be, so that the hashes of all
// fit into a packet between nodes.
const MaxOffers = 200

// OfferHashes returns the OfferHash of each of Offers, sorted.
func (t Table) OfferHashes() []uint32 {
	var hashes []uint32
	for _, name := range t.Offers {
		hashes = append(hashes, OfferHash(name))
	}
	slices.Sort(hashes)
	return slices.Compact(hashes)
}

// Node is a node that may announce.
type Node struct {
	Name string
	// Addresses are those that its process is probed at, at most one per family.
	Addresses []netip.Addr
}

// L2Address is one address of one or more Services.
type L2Address struct {
	Address  netip.Addr
	Services []desired.Name // sorted
	// By are the L2Advertisements that cover it, sorted by name: a node announces
	// the address only if it makes one of them.
	By []L2Via
	// Nodes are those with endpoints, sorted, where externalTrafficPolicy: Local
	// admits no others; nil admits all.
	Nodes []string
}

// L2Via is an advertisement and the interfaces it names; none means all uplinks.
type L2Via struct {
	Advertisement desired.Name
	Interfaces    []string
}

// Peer is a router with all that a session needs.
type Peer struct {
	*desired.Peer
	BFD *desired.BFDProfile // nil means none
	// Password is the key of TCP MD5 signatures, from wherever it comes.
	Password string
	// Refused says why there can be no session, though the object is well-formed.
	Refused string
}

// Route is one prefix with its attributes. Of several for one prefix that a peer
// is told, the communities are united and the highest LocalPref counts.
type Route struct {
	Prefix      netip.Prefix
	LocalPref   uint32 // 0 means the usual 100
	Communities []desired.Community
	// Peers are names of those that are told; nil means all.
	Peers    []string
	Services []desired.Name // that have addresses in it, sorted
}
