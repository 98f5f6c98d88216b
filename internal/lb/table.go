package lb

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
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
	// ClusterIPs holds every ClusterIP with the number of its frontends. What is
	// sent to other ports of such an address is refused.
	ClusterIPs pmap.Map[netip.Addr, int]
	// ServiceCIDRs are the ranges ClusterIPs come from. What is sent to an address
	// in them that no Service has is dropped.
	ServiceCIDRs []netip.Prefix
	// Node is the name of this node, and Peers are the addresses of all nodes
	// that run Fairlead, with the node's name.
	Node  string
	Peers pmap.Map[netip.Addr, string]
	// NodeAddresses are the addresses of this node at which NodePorts are served,
	// sorted. Programs of the node itself may use loopback addresses instead.
	NodeAddresses []netip.Addr
	// Uplinks are the names of the interfaces by which packets come from outside
	// the cluster or from other nodes; whatever comes by another is a pod's.
	Uplinks []string
	// LocalBackends holds the addresses of endpoints on this node, with the
	// number of Entries that have them.
	LocalBackends pmap.Map[netip.Addr, int]
	// HealthChecks are the ports at which external load balancers ask whether
	// this node has endpoints of a Service (externalTrafficPolicy: Local).
	HealthChecks pmap.Map[desired.Name, HealthCheck]
	// WithoutLocal counts the Services that have endpoints, but none on this
	// node, though a policy wants local ones.
	WithoutLocal struct{ Internal, External int }

	// Options are those that this Table was compiled with.
	Options Options

	state *desired.State
	// claims lists every Service that wants a frontend, the one that has it
	// first; contested holds the frontends that several Services want.
	claims    pmap.Map[Frontend, *claim]
	contested pmap.Map[Frontend, bool]
	notices   pmap.Map[desired.Name, notice]
}

// Options are choices of the cluster's administrator.
type Options struct {
	// ExternalIPs serves spec.externalIPs, by which whoever may write a Service
	// can take any address (CVE-2020-8554); else they are left out.
	ExternalIPs bool
	// NodePortAddresses are the ranges of the node's addresses at which NodePorts
	// are served; none means all.
	NodePortAddresses []netip.Prefix
	// NodeService is a headless Service of the processes that serve the nodes; its
	// endpoints tell which nodes there are, and their addresses.
	NodeService desired.Name
	// DirectReturn lets the node of an endpoint answer TCP clients outside the
	// cluster itself, in the name of the node that they asked.
	DirectReturn bool
	NodeLocal    NodeLocal
}

// NodeLocal are addresses that lead the clients of every node to a Service as its
// ClusterIPs do: those of a cache on each node that was there before, say. No
// interface has them.
type NodeLocal struct {
	Service   desired.Name
	Addresses []netip.Addr
}

// of returns the addresses for a Service, of the families that it has.
func (n NodeLocal) of(s *desired.Service) []netip.Addr {
	if s.Name != n.Service {
		return nil
	}
	var addresses []netip.Addr
	for _, address := range n.Addresses {
		if slices.ContainsFunc(s.Addresses, func(own netip.Addr) bool { return own.Is4() == address.Is4() }) && !slices.Contains(s.Addresses, address) {
			addresses = append(addresses, address)
		}
	}
	return addresses
}

// Frontend is what a client connects to. The unspecified address of a family
// stands for every one of the Table's NodeAddresses of that family.
type Frontend struct {
	Address  netip.Addr
	Port     uint16
	Protocol desired.Protocol
}

// String returns ADDRESS:PORT/PROTOCOL, or NODE4 or NODE6 for the address where
// it stands for the node's.
func (f Frontend) String() string {
	rest := ":" + strconv.Itoa(int(f.Port)) + "/" + f.Protocol.String()
	switch f.Address {
	case netip.IPv4Unspecified():
		return "NODE4" + rest
	case netip.IPv6Unspecified():
		return "NODE6" + rest
	}
	return netip.AddrPortFrom(f.Address, f.Port).String() + "/" + f.Protocol.String()
}

// IsNodePort tells whether f stands for all addresses of the node.
func (f Frontend) IsNodePort() bool { return f.Address.IsUnspecified() }

// Compare orders frontends by address, port and protocol.
func (f Frontend) Compare(other Frontend) int {
	return cmp.Or(f.Address.Compare(other.Address), cmp.Compare(f.Port, other.Port), cmp.Compare(f.Protocol, other.Protocol))
}

// Kind tells where a Frontend comes from.
type Kind string

// The kinds of frontends.
const (
	ClusterIP      Kind = "ClusterIP"
	NodePort       Kind = "NodePort"
	ExternalIP     Kind = "ExternalIP"
	LoadBalancerIP Kind = "LoadBalancerIP"
)

// Entry is what happens to a connection to a Frontend.
type Entry struct {
	Service desired.Name
	// Port is the name of the Service's port, often empty.
	Port string
	Kind Kind
	// Affinity keeps a client with its backend for this long after its last
	// connection; zero means a new choice for each connection.
	Affinity time.Duration
	// Choice is for clients in the cluster: pods, and the node itself.
	Choice
	// Outside is for packets from outside where it differs; nil where not.
	Outside *Choice
	// Sources are the ranges clients must be in (loadBalancerSourceRanges); what
	// comes from elsewhere is dropped. Nil: everybody.
	Sources []netip.Prefix
	// Local are those addresses of all backends that are on this node, sorted.
	Local []netip.Addr
	// Nodes names the node of each backend of For(Outside), empty where it is not
	// known. Nil for a ClusterIP.
	Nodes []string
	// Here are all endpoints of the port on this node, used or not, sorted: other
	// nodes may choose one by another zone's hints, or know sooner or later what it
	// is like. Only for TCP from outside with Options.DirectReturn; else nil.
	Here []netip.AddrPort
}

// Choice is what a connection may be sent to.
type Choice struct {
	// Backends are sorted and distinct; each is chosen with equal probability.
	// None: the connection is refused at once, or dropped if Drop is set.
	Backends []netip.AddrPort
	// Drop makes a Choice without Backends silent: a traffic policy of Local, and
	// endpoints only on other nodes. A client that repeats may reach another node.
	Drop bool
}

func (c Choice) equal(other Choice) bool {
	return c.Drop == other.Drop && slices.Equal(c.Backends, other.Backends)
}

// For returns the Choice for clients at a place.
func (e *Entry) For(from Place) Choice {
	if from == Outside && e.Outside != nil {
		return *e.Outside
	}
	return e.Choice
}

func (e *Entry) equal(other *Entry) bool {
	if (e.Outside == nil) != (other.Outside == nil) || e.Outside != nil && !e.Outside.equal(*other.Outside) {
		return false
	}
	return e.Service == other.Service && e.Port == other.Port && e.Kind == other.Kind && e.Affinity == other.Affinity &&
		e.Choice.equal(other.Choice) && slices.Equal(e.Sources, other.Sources) && slices.Equal(e.Local, other.Local) &&
		slices.Equal(e.Nodes, other.Nodes) && slices.Equal(e.Here, other.Here)
}

// HealthCheck is what an external load balancer wants to know of one Service.
type HealthCheck struct {
	Port uint16
	// Endpoints is how many ready ones are on this node; ones that terminate do
	// not count, so that the load balancer turns away in time (KEP-1669).
	Endpoints int
}

// notice is what is worth telling of a Service.
type notice struct {
	// withoutInternal and withoutExternal: the policy for traffic of this kind
	// wants endpoints on this node, and there are none.
	withoutInternal, withoutExternal bool
	// withheld: its external IPs are not served, as the Options say.
	withheld bool
}
