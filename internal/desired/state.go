package desired

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead-net/fairlead/internal/pmap"
)

// State is everything the features compile from. It and all it points to are
// immutable.
type State struct {
	// Revision rises by one with each State that differs from its predecessor.
	// It counts from the start of the process.
	Revision   uint64
	Node       Node
	Synced     bool
	Services   pmap.Map[Name, *Service]
	Namespaces pmap.Map[string, *Namespace]
	Addressing Addressing
	Pods       pmap.Map[PodID, Pod]
	// Imports are the Services of several clusters.
	Imports pmap.Map[Name, *Service]
	// Ingresses are of every class; features choose those that they serve.
	Ingresses      pmap.Map[Name, *Ingress]
	IngressClasses pmap.Map[string, *IngressClass]
	ConfigMaps     pmap.Map[Name, *ConfigMap]
	// ServiceCIDRs are the ranges that ClusterIPs come from, sorted.
	ServiceCIDRs []netip.Prefix
	// Statuses holds every object that has at least one Reason against it.
	Statuses pmap.Map[Ref, *Status]

	objects Objects
	// slicesOf lists the slices that belong to a Service, which need not exist.
	slicesOf pmap.Map[Name, *sliceList]
	// importsOf is the same for ServiceImports.
	importsOf pmap.Map[Name, *sliceList]
}

// Service is one Kubernetes Service with its endpoints.
type Service struct {
	Name Name `json:"name"`
	Type Type `json:"type"`
	// Addresses are the ClusterIPs, at most one per family.
	Addresses []netip.Addr `json:"addresses,omitempty"`
	// ExternalName is the lower-case target of a Service of that type, without
	// a final dot.
	ExternalName string `json:"externalName,omitempty"`
	Ports        []Port `json:"ports,omitempty"`
	// Affinity is how long a client stays with its endpoint after its last
	// connection (sessionAffinity: ClientIP); zero means not at all.
	Affinity time.Duration `json:"affinity,omitempty"`
	// Headless Services have no address of their own (clusterIP: None).
	Headless bool `json:"headless,omitempty"`
	// InternalLocal keeps traffic from inside the cluster on its own node
	// (internalTrafficPolicy: Local).
	InternalLocal bool `json:"internalLocal,omitempty"`
	// ExternalLocal keeps traffic from outside the cluster on the node that it
	// arrives at (externalTrafficPolicy: Local).
	ExternalLocal bool `json:"externalLocal,omitempty"`
	// HealthCheckNodePort answers load balancers whether this node has endpoints;
	// 0 unless ExternalLocal.
	HealthCheckNodePort uint16 `json:"healthCheckNodePort,omitempty"`
	// ExternalIPs are addresses that the user says lead to the nodes.
	ExternalIPs []netip.Addr `json:"externalIPs,omitempty"`
	// LoadBalancerIPs are the addresses that the load balancer's status gives,
	// without those whose ipMode is Proxy: what is sent there must pass the load
	// balancer itself (KEP-1860).
	LoadBalancerIPs []netip.Addr `json:"loadBalancerIPs,omitempty"`
	// Published is what names outside of the cluster may lead to; nil if nothing.
	Published *Published `json:"published,omitempty"`
	// SourceRanges are who may use LoadBalancerIPs; empty means everybody.
	SourceRanges []netip.Prefix `json:"sourceRanges,omitempty"`
	// Balancer is what a Service of type LoadBalancer asks for; nil for others.
	Balancer *Balancer `json:"balancer,omitempty"`
	// Foreign says why the cluster's proxy leaves this Service alone: a label that
	// gives it to another. Empty for others.
	Foreign string    `json:"foreign,omitempty"`
	Created time.Time `json:"created"`
	// Labels are the object's where a feature asks for them, else nil.
	Labels map[string]string `json:"labels,omitempty"`
	// Annotations are the object's whose names begin with AnnotationPrefix; nil if there
	// are none.
	Annotations map[string]string `json:"annotations,omitempty"`
	// Slices are those of a State; a Service of Objects has none.
	Slices []*Slice `json:"slices,omitempty"`

	reasons []Reason // against the object
}

// Published is what a Service says of itself to the world outside: its externalIPs
// and what its load balancer's status gives, of whatever family and mode, also of
// a headless Service. At least one of the lists holds something.
type Published struct {
	Addresses []netip.Addr `json:"addresses,omitempty"`
	// Hostnames are in lower case, without a final dot.
	Hostnames []string `json:"hostnames,omitempty"`
}

// Type is the kind of a Service.
type Type string

// The types of a Service.
const (
	ClusterIP    Type = "ClusterIP"
	NodePort     Type = "NodePort"
	LoadBalancer Type = "LoadBalancer"
	ExternalName Type = "ExternalName"
)

// Port is one port of a Service.
type Port struct {
	Name     string   `json:"name,omitempty"`
	Protocol Protocol `json:"protocol"`
	Port     uint16   `json:"port"`
	// Target is the port number or port name that the Service asks of its pods.
	// It explains; endpoints carry the resolved number under the port's name.
	Target string `json:"target,omitempty"`
	// NodePort is served on the nodes' own addresses; 0 means on none.
	NodePort uint16 `json:"nodePort,omitempty"`
}

// String returns NAME (PORT/PROTOCOL), or PORT/PROTOCOL for a port without name.
func (p Port) String() string {
	number := strconv.Itoa(int(p.Port)) + "/" + p.Protocol.String()
	if p.Name == "" {
		return number
	}
	return p.Name + " (" + number + ")"
}

// Slice is one EndpointSlice of a Service: endpoints that share their ports.
type Slice struct {
	Name Name `json:"name"`
	// IPv6 tells the family of every address in Endpoints.
	IPv6      bool           `json:"ipv6,omitempty"`
	Ports     []EndpointPort `json:"ports,omitempty"`
	Endpoints []Endpoint     `json:"endpoints,omitempty"`
	// Headless: these endpoints are for DNS alone, and no proxy is to send to them
	// (label service.kubernetes.io/headless).
	Headless bool `json:"headless,omitempty"`
	// Trigger is when the change happened that the object tells of; zero if it does
	// not say. That of a slice in a State may be an older one.
	Trigger time.Time `json:"-"`
	// Labels are the object's where a feature asks for them, else nil.
	Labels map[string]string `json:"labels,omitempty"`

	// Cluster is where the endpoints of a ServiceImport are, in lower case.
	Cluster string `json:"cluster,omitempty"`

	service, imported string   // in the same namespace
	reasons           []Reason // against the object
}

// EndpointPort is the number behind a Service's port name.
type EndpointPort struct {
	Name     string   `json:"name,omitempty"`
	Protocol Protocol `json:"protocol"`
	Port     uint16   `json:"port"`
}

// Endpoint is one address behind a Service.
type Endpoint struct {
	Address     netip.Addr `json:"address"`
	Hostname    string     `json:"hostname,omitempty"` // lower case
	Node        string     `json:"node,omitempty"`
	Zone        string     `json:"zone,omitempty"`
	Pod         string     `json:"pod,omitempty"`
	Ready       bool       `json:"ready"`
	Serving     bool       `json:"serving"`
	Terminating bool       `json:"terminating,omitempty"`
	// ForNodes and ForZones are the EndpointSlice's hints: who should prefer
	// this endpoint (KEP-2433, KEP-3015).
	ForNodes []string `json:"forNodes,omitempty"`
	ForZones []string `json:"forZones,omitempty"`
}

// Protocol is an IP protocol number.
type Protocol uint8

// The protocols that Services can have.
const (
	TCP  Protocol = 6
	UDP  Protocol = 17
	SCTP Protocol = 132
)

// ParseProtocol returns the protocol that Kubernetes calls name; the empty name
// is TCP.
func ParseProtocol(name string) (Protocol, bool) {
	switch strings.ToUpper(name) {
	case "TCP", "":
		return TCP, true
	case "UDP":
		return UDP, true
	case "SCTP":
		return SCTP, true
	}
	return 0, false
}

// String returns TCP, UDP, SCTP, or the number of any other protocol.
func (p Protocol) String() string {
	switch p {
	case TCP:
		return "TCP"
	case UDP:
		return "UDP"
	case SCTP:
		return "SCTP"
	}
	return strconv.Itoa(int(p))
}

// MarshalText makes protocols readable in JSON and YAML.
func (p Protocol) MarshalText() ([]byte, error) { return []byte(p.String()), nil }
