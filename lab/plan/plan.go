// Package plan decides names and addresses of the lab.
//
// In: the number of nodes. Out: a Plan, the same every time for the same number. It never touches the
// network: other packages carry the plan out.
package plan

import (
	"fmt"
	"net/netip"
)

// MaxNodes keeps node addresses in one readable block (.10 to .39) of the fabric.
const MaxNodes = 30

// Role says what a node runs besides pods.
type Role string

// The roles: the control plane's node also runs etcd, the API server, the controller manager and the scheduler.
const (
	ControlPlane Role = "control-plane"
	Worker       Role = "worker"
)

// Pair is one IPv4 and one IPv6 address of the same thing.
type Pair struct{ V4, V6 netip.Addr }

// Strings lists the addresses, IPv4 (the cluster's primary family) first.
func (p Pair) Strings() []string { return []string{p.V4.String(), p.V6.String()} }

// Nets is one IPv4 and one IPv6 prefix of the same thing.
type Nets struct{ V4, V6 netip.Prefix }

// Strings lists the prefixes, IPv4 first.
func (n Nets) Strings() []string { return []string{n.V4.String(), n.V6.String()} }

// Node is one machine of the cluster.
type Node struct {
	Name string
	Role Role
	// Addr is the node's address on the fabric.
	Addr Pair
	// Pods is the range its pods' addresses come from.
	Pods Nets
}

// Router is a machine between the fabric and the outside. It learns by BGP which addresses the nodes serve.
type Router struct {
	Name string
	// Addr is its address on the fabric, Outside its address on the network behind it.
	Addr, Outside Pair
	// AS is its number in BGP.
	AS uint32
}

// NodesAS is the number that the nodes are expected to have in BGP.
const NodesAS = 64512

// Plan is every name and address of a lab.
type Plan struct {
	Nodes []Node
	// Fabric is the network between the nodes; Gateway, Resolver and Client are on it.
	Fabric   Nets
	Gateway  Pair
	Resolver Pair
	Client   Pair
	// Outside is the network behind the routers; Remote is on it.
	Outside Nets
	FRR     Router
	BIRD    Router
	Remote  Pair
	// Pods and Services are the cluster's ranges; DNS is where pods expect the cluster's DNS.
	Pods     Nets
	Services Nets
	DNS      Pair
	// Kubernetes are the first addresses of the service ranges, which the API server gives to itself.
	Kubernetes Pair
}

// New plans a lab of so many nodes: one control plane, the rest workers. Node k's last byte is 10+k in
// IPv4 and written the same in IPv6, and its pods are in 10.244.k.0/24 and fd00:244:k::/64.
func New(nodes int) (Plan, error) {
	if nodes < 1 || nodes > MaxNodes {
		return Plan{}, fmt.Errorf("%d nodes asked for: choose 1 to %d, the first is the control plane", nodes, MaxNodes)
	}
	p := Plan{
		Fabric:     nets("172.30.0.0/24", "fd00:30::/64"),
		Gateway:    pair("172.30.0.1", "fd00:30::1"),
		Resolver:   pair("172.30.0.53", "fd00:30::53"),
		Client:     pair("172.30.0.200", "fd00:30::200"),
		Outside:    nets("198.51.100.0/24", "fd00:51::/64"),
		FRR:        router("router-frr", 2, 64513),
		BIRD:       router("router-bird", 3, NodesAS),
		Remote:     pair("198.51.100.200", "fd00:51::200"),
		Pods:       nets("10.244.0.0/16", "fd00:244::/32"),
		Services:   nets("10.96.0.0/16", "fd00:96::/112"),
		DNS:        pair("10.96.0.10", "fd00:96::a"),
		Kubernetes: pair("10.96.0.1", "fd00:96::1"),
	}
	for k := range nodes {
		p.Nodes = append(p.Nodes, node(k))
	}
	return p, nil
}

func node(k int) Node {
	name, role := fmt.Sprintf("worker-%d", k), Worker
	if k == 0 {
		name, role = "control-plane", ControlPlane
	}
	return Node{
		Name: name,
		Role: role,
		Addr: pair(fmt.Sprintf("172.30.0.%d", 10+k), fmt.Sprintf("fd00:30::%d", 10+k)),
		Pods: nets(fmt.Sprintf("10.244.%d.0/24", k), fmt.Sprintf("fd00:244:%d::/64", k)),
	}
}

func router(name string, last int, as uint32) Router {
	return Router{
		Name: name, AS: as,
		Addr:    pair(fmt.Sprintf("172.30.0.%d", last), fmt.Sprintf("fd00:30::%d", last)),
		Outside: pair(fmt.Sprintf("198.51.100.%d", last), fmt.Sprintf("fd00:51::%d", last)),
	}
}

// Routers are the machines between the fabric and the outside.
func (p Plan) Routers() []Router { return []Router{p.FRR, p.BIRD} }

// Find is the node of that name.
func (p Plan) Find(name string) (Node, bool) {
	for _, n := range p.Nodes {
		if n.Name == name {
			return n, true
		}
	}
	return Node{}, false
}

// APIServer is where the API server listens inside the lab.
func (p Plan) APIServer() netip.AddrPort { return netip.AddrPortFrom(p.Nodes[0].Addr.V4, 6443) }

func pair(v4, v6 string) Pair { return Pair{netip.MustParseAddr(v4), netip.MustParseAddr(v6)} }
func nets(v4, v6 string) Nets { return Nets{netip.MustParsePrefix(v4), netip.MustParsePrefix(v6)} }
