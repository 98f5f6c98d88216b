package desired

import (
	"crypto/sha256"
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
	Namespaces pmap.Map[string, *Namespace]
	// ServiceCIDRs may be empty: older clusters have no such objects.
	ServiceCIDRs pmap.Map[string, *networkingv1.ServiceCIDR]
	Addressing   Addressing
	// Pods are empty unless a feature asks for them.
	Pods pmap.Map[PodID, Pod]
	// Imports are ServiceImports, empty unless a feature asks for them.
	Imports pmap.Map[Name, *Service]
	// Ingresses and IngressClasses are empty unless a feature asks for them.
	Ingresses      pmap.Map[Name, *Ingress]
	IngressClasses pmap.Map[string, *IngressClass]
	// ConfigMaps are those that the configuration names, of a folder of manifests all.
	ConfigMaps pmap.Map[Name, *ConfigMap]
	// Synced is true once every kind was listed in full. Before that an absent
	// object may merely not have arrived, so nothing may be concluded from it.
	Synced bool
}

// Namespace is what is known of one.
type Namespace struct {
	Labels map[string]string `json:"labels,omitempty"`
}

// PodID identifies a pod. It stands for namespace and name, which nobody needs
// in full, and which would take most of the memory: there can be hundreds of
// thousands of pods.
type PodID [16]byte

// NewPodID returns the PodID of the pod of this name.
func NewPodID(name Name) PodID {
	// Neither holds a slash. A pod cannot be named so that it takes another's place.
	sum := sha256.Sum256([]byte(name.Namespace + "/" + name.Name))
	return PodID(sum[:len(PodID{})])
}

// Pod is what is known of one.
type Pod struct {
	Namespace string `json:"namespace"`
	// Addresses are at most one of each family; what is not there is the zero Addr.
	// A pod in the network namespace of its node has the node's.
	Addresses [2]netip.Addr `json:"addresses"`
}

// ParsePod keeps what is known of a pod. One that has come to its end has no
// address any more: another pod may have got it.
func ParsePod(o *corev1.Pod) Pod {
	p := Pod{Namespace: intern(o.Namespace)}
	if o.Status.Phase == corev1.PodSucceeded || o.Status.Phase == corev1.PodFailed {
		return p
	}
	n := 0
	for _, ip := range o.Status.PodIPs {
		if address, err := netip.ParseAddr(ip.IP); err == nil && address.Zone() == "" && n < len(p.Addresses) {
			p.Addresses[n] = address.Unmap()
			n++
		}
	}
	return p
}

// Addressing are the objects that say which addresses there are for Services of
// type LoadBalancer, who has them, and how they are announced. A process that
// neither gives nor announces addresses has none of them.
type Addressing struct {
	Pools             pmap.Map[Name, *Pool]
	L2Advertisements  pmap.Map[Name, *L2Advertisement]
	BGPAdvertisements pmap.Map[Name, *BGPAdvertisement]
	Communities       pmap.Map[Name, *CommunityNames]
	Peers             pmap.Map[Name, *Peer]
	BFDProfiles       pmap.Map[Name, *BFDProfile]
	Claims            pmap.Map[netip.Addr, *Claim]
	// Passwords are those that peers' PasswordSecret can name. PasswordsUnread says
	// that they are not known yet, which concerns nobody but those peers.
	Passwords       pmap.Map[Name, Password]
	PasswordsUnread bool
}

// Password is a secret text. It prints as nothing.
type Password string

// String returns the empty text, so that no log has the password.
func (Password) String() string { return "" }

// MarshalText returns the empty text too.
func (Password) MarshalText() ([]byte, error) { return nil, nil }

// Claim is the API server's word for who has an address: an IPAddress object
// (KEP-1880), of which there can be only one for each.
type Claim struct {
	Address netip.Addr `json:"address"`
	// Services have the address; several if they share it.
	Services []Name `json:"services,omitempty"`
	// Foreign says whose the object is if it is not Fairlead's.
	Foreign string `json:"foreign,omitempty"`
}

// Node is what Build must know of the node the process runs on. The zero Node
// stands for a place outside the cluster.
type Node struct {
	Name string `json:"name,omitempty"`
	Zone string `json:"zone,omitempty"` // topology.kubernetes.io/zone
	// Network is the node's own, nil where it is not known. It is the same
	// pointer until something in it changes.
	Network *Network `json:"network,omitempty"`
	// About is what the Node object says, nil where it is not known. It is the
	// same pointer until something in it changes.
	About *NodeObject `json:"about,omitempty"`
}

// NodeObject is what a Node object says.
type NodeObject struct {
	Labels map[string]string `json:"labels,omitempty"`
	// UID tells it from another of the same name, before or after it.
	UID string `json:"-"`
	// Unavailable says why the node should not announce addresses, or is empty.
	Unavailable string `json:"unavailable,omitempty"`
	// PodCIDRs are what the addresses of the node's pods come from, as far as
	// Kubernetes hands them out.
	PodCIDRs []netip.Prefix `json:"podCIDRs,omitempty"`
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
