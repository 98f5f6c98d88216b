package desired

import (
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/fairlead-net/fairlead/internal/pmap"
)

// Name identifies a namespaced object.
type Name struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// String returns NAMESPACE/NAME.
func (n Name) String() string { return n.Namespace + "/" + n.Name }

// Compare orders names by namespace, then by name.
func (n Name) Compare(other Name) int {
	if n.Namespace != other.Namespace {
		return strings.Compare(n.Namespace, other.Namespace)
	}
	return strings.Compare(n.Name, other.Name)
}

// Objects is a consistent view of the API server's objects. The objects in it
// are shared and must not be written. Services and EndpointSlices, of which there
// are many, are kept as ParseService and ParseSlice return them, because the API
// types take several times the memory of what is used of them.
type Objects struct {
	Services   pmap.Map[Name, *Service]
	Slices     pmap.Map[Name, *Slice]
	Namespaces pmap.Map[string, *corev1.Namespace]
	// ServiceCIDRs may be empty: older clusters have no such objects.
	ServiceCIDRs pmap.Map[string, *networkingv1.ServiceCIDR]
	// Synced is true once every kind was listed in full. Before that an absent
	// object may merely not have arrived, so nothing may be concluded from it.
	Synced bool
}

// Node is what Build must know of the node the process runs on. The zero Node
// stands for a place outside the cluster.
type Node struct {
	Name string `json:"name,omitempty"`
	Zone string `json:"zone,omitempty"` // topology.kubernetes.io/zone
	// Network is the node's own, nil where it is not known. It is the same
	// pointer until something in it changes.
	Network *Network `json:"network,omitempty"`
}

// Network is what the kernel says of a node's network.
type Network struct {
	// Addresses are those of all interfaces, sorted, without loopback and
	// link-local ones.
	Addresses []netip.Addr `json:"addresses,omitempty"`
	// Uplinks are the names of the interfaces that lead to other nodes and to
	// networks outside the cluster, sorted.
	Uplinks []string `json:"uplinks,omitempty"`
}
