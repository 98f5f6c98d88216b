package lb

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// world makes objects of a small cluster at random, in which Services often
// want the same address and mistakes of all kinds are common.
type world struct{ pick func(n int) int }

func randomWorld(seed uint64) world { return world{rand.New(rand.NewPCG(seed, 1)).IntN} }

func (w world) once(in int) bool { return w.pick(in) == 0 }

func oneOf[T any](w world, of ...T) T { return of[w.pick(len(of))] }

func (w world) service(name desired.Name) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name, CreationTimestamp: metav1.NewTime(time.Unix(int64(w.pick(3)), 0))},
		Spec:       corev1.ServiceSpec{Type: oneOf(w, corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort, "", corev1.ServiceTypeExternalName, corev1.ServiceTypeLoadBalancer)},
	}
	for range 1 + w.pick(2) {
		s.Spec.ClusterIPs = append(s.Spec.ClusterIPs, oneOf(w, "10.96.0.1", "10.96.0.2", "10.96.0.3", "fd00:96::1", "::ffff:10.96.0.1", "bad"))
	}
	s.Spec.ClusterIP = oneOf(w, s.Spec.ClusterIPs[0], s.Spec.ClusterIPs[0], s.Spec.ClusterIPs[0], "None")
	for i := range w.pick(3) {
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{
			Name: oneOf(w, "http", "dns", fmt.Sprint("p", i)), Port: oneOf[int32](w, 80, 80, 53, 0),
			Protocol: oneOf(w, corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP, "ICMP"), TargetPort: intstr.FromString("web"),
			NodePort: oneOf[int32](w, 0, 30080, 30081, 70000),
		})
	}
	if w.once(3) {
		s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
	}
	if w.once(3) {
		local := corev1.ServiceInternalTrafficPolicyLocal
		s.Spec.InternalTrafficPolicy = &local
	}
	w.external(s)
	if w.once(8) {
		s.Labels = map[string]string{"service.kubernetes.io/service-proxy-name": "other"}
	}
	return s
}

// external adds what concerns clients outside the cluster.
func (w world) external(s *corev1.Service) {
	if w.once(2) {
		s.Spec.ExternalTrafficPolicy, s.Spec.HealthCheckNodePort = corev1.ServiceExternalTrafficPolicyLocal, oneOf[int32](w, 0, 30999)
	}
	if w.once(3) {
		s.Spec.ExternalIPs = []string{oneOf(w, "192.0.2.1", "192.0.2.2", "2001:db8::1", "10.96.0.1", "127.0.0.1", "bad")}
	}
	if w.once(3) {
		s.Spec.LoadBalancerSourceRanges = []string{oneOf(w, "198.51.100.0/24", "192.168.0.0/16", "2001:db8::/32", " 10.0.0.0/8", "bad")}
	}
	for range w.pick(3) {
		mode := oneOf(w, corev1.LoadBalancerIPModeVIP, corev1.LoadBalancerIPModeProxy)
		s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{
			IP: oneOf(w, "192.0.2.1", "192.0.2.3", "2001:db8::3", ""), IPMode: oneOf(w, nil, &mode),
		})
	}
}

// network is that of a node, or none.
func (w world) network() *desired.Network {
	return oneOf(w, nil,
		&desired.Network{Addresses: []netip.Addr{netip.MustParseAddr("192.168.0.1")}, Uplinks: []string{"eth0"}},
		&desired.Network{Addresses: []netip.Addr{netip.MustParseAddr("192.168.0.1"), netip.MustParseAddr("2001:db8::9")}})
}

func (w world) slice(name desired.Name, service string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: oneOf(w, discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6),
	}
	for range w.pick(3) {
		port, protocol := oneOf[int32](w, 8080, 5353, 0), oneOf(w, corev1.ProtocolTCP, corev1.ProtocolUDP)
		portName := oneOf(w, "http", "dns", "p0")
		s.Ports = append(s.Ports, discoveryv1.EndpointPort{Name: &portName, Port: &port, Protocol: &protocol})
	}
	for range w.pick(5) {
		address := fmt.Sprintf("10.244.0.%d", w.pick(6))
		if s.AddressType == discoveryv1.AddressTypeIPv6 {
			address = fmt.Sprintf("fd00:244::%d", 1+w.pick(6))
		}
		e := discoveryv1.Endpoint{Addresses: []string{oneOf(w, address, address, address, "bad")}}
		e.Conditions = discoveryv1.EndpointConditions{Ready: w.maybe(), Serving: w.maybe(), Terminating: w.maybe()}
		node, zone := oneOf(w, "a", "b"), oneOf(w, "east", "west")
		e.NodeName, e.Zone = &node, &zone
		if !w.once(3) {
			e.Hints = &discoveryv1.EndpointHints{ForZones: []discoveryv1.ForZone{{Name: oneOf(w, "east", "west")}}}
		}
		if e.Hints != nil && w.once(2) {
			e.Hints.ForNodes = []discoveryv1.ForNode{{Name: node}}
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	return s
}

// maybe returns nil, a pointer to true, or one to false.
func (w world) maybe() *bool {
	if w.once(3) {
		return nil
	}
	b := w.once(2)
	return &b
}

// change adds, replaces or removes one object.
func (w world) change(o desired.Objects) desired.Objects {
	name := desired.Name{Namespace: oneOf(w, "demo", "prod"), Name: oneOf(w, "shop", "db", "web")}
	sliceName := desired.Name{Namespace: name.Namespace, Name: fmt.Sprint(name.Name, "-", w.pick(2))}
	switch w.pick(6) {
	case 0:
		o.Services = o.Services.Delete(name)
	case 1:
		o.Slices = o.Slices.Delete(sliceName)
	case 2, 3:
		o.Services = o.Services.Set(name, desired.ParseService(w.service(name)))
	default:
		o.Slices = o.Slices.Set(sliceName, desired.ParseSlice(w.slice(sliceName, name.Name)))
	}
	return o
}

// check states what holds for every Table of a State.
func check(t *testing.T, s *desired.State, table Table) {
	t.Helper()
	wanted := map[Frontend]bool{}
	for _, service := range s.Services.All() {
		for f := range Frontends(service, table.Options) {
			wanted[f] = true
		}
	}
	for f, e := range table.Entries.All() {
		service, ok := s.Services.Get(e.Service)
		if !ok || !wanted[f] {
			t.Fatalf("%s of Service %s, which is not there or does not want it", f, e.Service)
		}
		if !slices.IsSortedFunc(e.Backends, netip.AddrPort.Compare) || len(slices.Compact(slices.Clone(e.Backends))) != len(e.Backends) {
			t.Errorf("%s: backends not sorted or not distinct: %v", f, e.Backends)
		}
		for _, b := range e.Backends {
			if b.Addr().Is6() != f.Address.Is6() || !isEndpoint(service, f, e.Port, b) {
				t.Errorf("%s: %s is no endpoint of port %q of Service %s", f, b, e.Port, e.Service)
			}
		}
		if e.Drop && (len(e.Backends) > 0 || !service.InternalLocal) {
			t.Errorf("%s: dropped without reason", f)
		}
		if e.Outside != nil && (!service.ExternalLocal || e.Kind == ClusterIP || e.Outside.Drop && (len(e.Outside.Backends) > 0 || len(e.Backends) == 0)) {
			t.Errorf("%s: outside %+v without reason", f, e.Outside)
		}
		if (e.Sources != nil) != (e.Kind == LoadBalancerIP && len(service.SourceRanges) > 0) {
			t.Errorf("%s: sources %v without reason", f, e.Sources)
		}
		checkNodes(t, service, f, e)
		checkHere(t, s, service, table.Options, f, e)
		delete(wanted, f)
	}
	service, _ := s.Services.Get(table.Options.NodeService)
	for address, node := range table.Peers.All() {
		if service == nil || !isOnNode(service, address, node) {
			t.Errorf("peer %s on node %q is no endpoint of %s", address, node, table.Options.NodeService)
		}
	}
	for f := range wanted {
		t.Errorf("nobody has %s", f)
	}
	for _, service := range s.Services.All() {
		table.Explain(service)
	}
}

// checkNodes states that what is reached from outside names the node of each backend.
func checkNodes(t *testing.T, s *desired.Service, f Frontend, e *Entry) {
	t.Helper()
	if e.Kind == ClusterIP {
		if e.Nodes != nil {
			t.Errorf("%s: a ClusterIP has nodes %v", f, e.Nodes)
		}
		return
	}
	backends := e.For(Outside).Backends
	if len(e.Nodes) != len(backends) {
		t.Fatalf("%s: %d nodes of %d backends", f, len(e.Nodes), len(backends))
	}
	for i, b := range backends {
		if !isOnNode(s, b.Addr(), e.Nodes[i]) {
			t.Errorf("%s: backend %s is not on node %q", f, b, e.Nodes[i])
		}
	}
}

// checkHere states that all endpoints on the node are known that other nodes may
// choose for direct return, and no others.
func checkHere(t *testing.T, s *desired.State, service *desired.Service, o Options, f Frontend, e *Entry) {
	t.Helper()
	if wanted := o.DirectReturn && f.Protocol == desired.TCP && e.Kind != ClusterIP; !wanted {
		if e.Here != nil {
			t.Errorf("%s: endpoints for direct return, which it has not: %v", f, e.Here)
		}
		return
	}
	if !slices.IsSortedFunc(e.Here, netip.AddrPort.Compare) {
		t.Errorf("%s: not sorted: %v", f, e.Here)
	}
	for _, b := range e.Here {
		if !isEndpoint(service, f, e.Port, b) || !isOnNode(service, b.Addr(), s.Node.Name) {
			t.Errorf("%s: %s is no endpoint here", f, b)
		}
	}
	for _, b := range e.Backends {
		if isOn(&desired.Endpoint{Node: nodeOf(service, b.Addr())}, s.Node) && !slices.Contains(e.Here, b) {
			t.Errorf("%s: endpoint %s here is missing", f, b)
		}
	}
}

// nodeOf names the node of an endpoint if there is only one.
func nodeOf(s *desired.Service, address netip.Addr) string {
	nodes := map[string]bool{}
	for _, slice := range s.Slices {
		for _, e := range slice.Endpoints {
			if e.Address == address {
				nodes[e.Node] = true
			}
		}
	}
	for node := range nodes {
		if len(nodes) == 1 {
			return node
		}
	}
	return ""
}

func isOnNode(s *desired.Service, address netip.Addr, node string) bool {
	return slices.ContainsFunc(s.Slices, func(slice *desired.Slice) bool {
		return slices.ContainsFunc(slice.Endpoints, func(e desired.Endpoint) bool { return e.Address == address && e.Node == node })
	})
}

func isEndpoint(s *desired.Service, f Frontend, portName string, backend netip.AddrPort) bool {
	return slices.ContainsFunc(s.Slices, func(slice *desired.Slice) bool {
		number, ok := slice.Port(portName, f.Protocol)
		return ok && number == backend.Port() && slices.ContainsFunc(slice.Endpoints, func(e desired.Endpoint) bool { return e.Address == backend.Addr() })
	})
}
