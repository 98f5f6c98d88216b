// Package metallb has the kinds of API group metallb.io as Go types: those by
// which users of MetalLB say which addresses there are and how they are
// announced, and those in which is written what became of it.
//
// In go objects as the API server holds them (Read turns one into its type); out
// come plain values. The types are for reading and writing alone: the package
// talks to nobody, and what values mean is decided elsewhere.
package metallb

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Group is the API group of all kinds here.
const Group = "metallb.io"

// The versions that Fairlead reads and writes.
const (
	Version     = "v1beta1"
	PeerVersion = "v1beta2" // of BGPPeer
)

// Resource returns the resource of a kind by its plural name, such as
// ipaddresspools.
func Resource(plural string) schema.GroupVersionResource {
	version := Version
	if plural == "bgppeers" {
		version = PeerVersion
	}
	return schema.GroupVersionResource{Group: Group, Version: version, Resource: plural}
}

// ResourceOf returns the resource of a kind by the kind's name, such as
// IPAddressPool, and whether there is such a kind here.
func ResourceOf(kind string) (schema.GroupVersionResource, bool) {
	switch kind {
	case "IPAddressPool", "L2Advertisement", "BGPAdvertisement", "BGPPeer", "BFDProfile":
		return Resource(strings.ToLower(kind) + "s"), true
	case "Community":
		return Resource("communities"), true
	}
	return schema.GroupVersionResource{}, false
}

// Read turns an object into one of the types of this package. The error names
// the field whose type is not the schema's.
func Read[T any](o *unstructured.Unstructured) (*T, error) {
	into := new(T)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, into); err != nil {
		return nil, fmt.Errorf("%s %s/%s is not as its schema says: %w", o.GetKind(), o.GetNamespace(), o.GetName(), err)
	}
	return into, nil
}

// IPAddressPool is a set of addresses for Services of type LoadBalancer.
type IPAddressPool struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              IPAddressPoolSpec   `json:"spec"`
	Status            IPAddressPoolStatus `json:"status,omitempty"`
}

// IPAddressPoolSpec says which addresses there are, and for whom.
type IPAddressPoolSpec struct {
	// Addresses are ADDRESS/BITS or FIRST-LAST.
	Addresses []string `json:"addresses"`
	// AutoAssign: false keeps the addresses for Services that ask for them.
	AutoAssign *bool `json:"autoAssign,omitempty"`
	// AvoidBuggyIPs leaves out IPv4 addresses that end in .0 and .255.
	AvoidBuggyIPs bool               `json:"avoidBuggyIPs,omitempty"`
	AllocateTo    *ServiceAllocation `json:"serviceAllocation,omitempty"`
}

// ServiceAllocation says which Services a pool is for.
type ServiceAllocation struct {
	// Priority orders pools: the lowest number first, 0 (none) last.
	Priority int `json:"priority,omitempty"`
	// Namespaces and NamespaceSelectors name namespaces, together.
	Namespaces         []string               `json:"namespaces,omitempty"`
	NamespaceSelectors []metav1.LabelSelector `json:"namespaceSelectors,omitempty"`
	ServiceSelectors   []metav1.LabelSelector `json:"serviceSelectors,omitempty"`
}

// IPAddressPoolStatus counts addresses.
type IPAddressPoolStatus struct {
	AssignedIPv4  int64 `json:"assignedIPv4"`
	AssignedIPv6  int64 `json:"assignedIPv6"`
	AvailableIPv4 int64 `json:"availableIPv4"`
	AvailableIPv6 int64 `json:"availableIPv6"`
}

// L2Advertisement announces addresses of pools by ARP and NDP.
type L2Advertisement struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              L2AdvertisementSpec `json:"spec,omitempty"`
}

// L2AdvertisementSpec says which addresses, from which nodes and interfaces.
type L2AdvertisementSpec struct {
	Advertised `json:",inline"`
	// Interfaces of the nodes; none means all.
	Interfaces []string `json:"interfaces,omitempty"`
	// PreferredNodeSelectors order the nodes that may announce.
	PreferredNodeSelectors []PreferredNodeSelector `json:"preferredNodeSelectors,omitempty"`
}

// PreferredNodeSelector adds a weight, 1 to 100, to the nodes with some labels.
type PreferredNodeSelector struct {
	Weight     int32                `json:"weight"`
	Preference metav1.LabelSelector `json:"preference"`
}

// Advertised is what the advertisements of both protocols have. An empty list
// restricts nothing.
type Advertised struct {
	IPAddressPools         []string               `json:"ipAddressPools,omitempty"`
	IPAddressPoolSelectors []metav1.LabelSelector `json:"ipAddressPoolSelectors,omitempty"`
	NodeSelectors          []metav1.LabelSelector `json:"nodeSelectors,omitempty"`
	ServiceSelectors       []metav1.LabelSelector `json:"serviceSelectors,omitempty"`
}

// BGPAdvertisement announces addresses of pools to BGP peers.
type BGPAdvertisement struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              BGPAdvertisementSpec `json:"spec,omitempty"`
}

// BGPAdvertisementSpec says which addresses, and with what attributes.
type BGPAdvertisementSpec struct {
	Advertised `json:",inline"`
	// The lengths of the prefixes that addresses are announced in; 32 and 128.
	AggregationLength   *int32 `json:"aggregationLength,omitempty"`
	AggregationLengthV6 *int32 `json:"aggregationLengthV6,omitempty"`
	LocalPref           uint32 `json:"localPref,omitempty"`
	// Communities are ASN:NUMBER, large:ASN:NUMBER:NUMBER, or names from a Community.
	Communities []string `json:"communities,omitempty"`
	// Peers are names of BGPPeers; none means all.
	Peers []string `json:"peers,omitempty"`
}

// Community gives communities names.
type Community struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              CommunitySpec `json:"spec,omitempty"`
}

// CommunitySpec is a list of names.
type CommunitySpec struct {
	Communities []CommunityAlias `json:"communities,omitempty"`
}

// CommunityAlias is a name and the community it stands for.
type CommunityAlias struct {
	Name  string `json:"name,omitempty"`
	Value string `json:"value,omitempty"`
}

// BGPPeer is a router that nodes connect to.
type BGPPeer struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              BGPPeerSpec `json:"spec,omitempty"`
}

// BGPPeerSpec says how a session with the router is made.
type BGPPeerSpec struct {
	MyASN uint32 `json:"myASN"`
	// LocalASN is shown to this router in place of MyASN.
	LocalASN uint32 `json:"localASN,omitempty"`
	ASN      uint32 `json:"peerASN,omitempty"`
	// DynamicASN is internal or external in place of ASN.
	DynamicASN string `json:"dynamicASN,omitempty"`
	Address    string `json:"peerAddress,omitempty"`
	// Interface in place of Address: the router is found by its link-local address.
	Interface     string                 `json:"interface,omitempty"`
	SourceAddress string                 `json:"sourceAddress,omitempty"`
	Port          uint16                 `json:"peerPort,omitempty"`
	HoldTime      *metav1.Duration       `json:"holdTime,omitempty"`
	KeepaliveTime *metav1.Duration       `json:"keepaliveTime,omitempty"`
	ConnectTime   *metav1.Duration       `json:"connectTime,omitempty"`
	RouterID      string                 `json:"routerID,omitempty"`
	NodeSelectors []metav1.LabelSelector `json:"nodeSelectors,omitempty"`
	// Password is the key of TCP MD5 signatures (RFC 2385); PasswordSecret is a
	// Secret that has it under the key password.
	Password               string                 `json:"password,omitempty"`
	PasswordSecret         corev1.SecretReference `json:"passwordSecret,omitempty"`
	BFDProfile             string                 `json:"bfdProfile,omitempty"`
	EnableGracefulRestart  bool                   `json:"enableGracefulRestart,omitempty"`
	EBGPMultiHop           bool                   `json:"ebgpMultiHop,omitempty"`
	VRF                    string                 `json:"vrf,omitempty"`
	DisableMP              bool                   `json:"disableMP,omitempty"`
	DualStackAddressFamily bool                   `json:"dualStackAddressFamily,omitempty"`
}

// BFDProfile says how fast the loss of a router is noticed (RFC 5880).
type BFDProfile struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              BFDProfileSpec `json:"spec,omitempty"`
}

// BFDProfileSpec has times in milliseconds.
type BFDProfileSpec struct {
	ReceiveInterval  *uint32 `json:"receiveInterval,omitempty"`
	TransmitInterval *uint32 `json:"transmitInterval,omitempty"`
	DetectMultiplier *uint32 `json:"detectMultiplier,omitempty"`
	EchoInterval     *uint32 `json:"echoInterval,omitempty"`
	EchoMode         *bool   `json:"echoMode,omitempty"`
	PassiveMode      *bool   `json:"passiveMode,omitempty"`
	MinimumTTL       *uint32 `json:"minimumTtl,omitempty"`
}

// ServiceL2Status says which node announces a Service by ARP and NDP.
type ServiceL2Status struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Status            ServiceL2StatusStatus `json:"status,omitempty"`
}

// ServiceL2StatusStatus is the node, the Service, and the node's interfaces.
type ServiceL2StatusStatus struct {
	Node             string      `json:"node,omitempty"`
	ServiceName      string      `json:"serviceName,omitempty"`
	ServiceNamespace string      `json:"serviceNamespace,omitempty"`
	Interfaces       []Interface `json:"interfaces,omitempty"`
}

// Interface is one by its name.
type Interface struct {
	Name string `json:"name,omitempty"`
}

// ServiceBGPStatus says to which peers a node announces a Service.
type ServiceBGPStatus struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Status            ServiceBGPStatusStatus `json:"status,omitempty"`
}

// ServiceBGPStatusStatus is the node, the Service, and the peers' names.
type ServiceBGPStatusStatus struct {
	Node             string   `json:"node,omitempty"`
	ServiceName      string   `json:"serviceName,omitempty"`
	ServiceNamespace string   `json:"serviceNamespace,omitempty"`
	Peers            []string `json:"peers,omitempty"`
}
