package announce

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead-net/fairlead/api/metallb"
	"github.com/fairlead-net/fairlead/internal/desired"
)

// objects are what an API server has.
type objects struct{ desired.Objects }

const system = "metallb-system"

func (o *objects) putService(s *corev1.Service) {
	if s.Namespace == "" {
		s.Namespace = "demo"
	}
	if s.Spec.Type == "" {
		s.Spec.Type = corev1.ServiceTypeLoadBalancer
	}
	if len(s.Spec.Ports) == 0 {
		s.Spec.Ports = []corev1.ServicePort{{Port: 80}}
	}
	if len(s.Spec.ClusterIPs) == 0 && s.Spec.ClusterIP == "" {
		s.Spec.ClusterIPs = []string{"10.96.0.1", "fd00::1"}
	}
	o.Services = o.Services.Set(desired.Name{Namespace: s.Namespace, Name: s.Name}, desired.ParseService(s))
}

// putSlice stores an EndpointSlice; one without a Service belongs to that of its
// own name, and one without ports offers what a Service without names asks for.
func (o *objects) putSlice(s *discoveryv1.EndpointSlice) {
	if s.Namespace == "" {
		s.Namespace = "demo"
	}
	if s.Labels[discoveryv1.LabelServiceName] == "" {
		s.Labels = map[string]string{discoveryv1.LabelServiceName: s.Name}
	}
	if s.AddressType == "" {
		s.AddressType = discoveryv1.AddressTypeIPv4
	}
	if s.Ports == nil {
		port := int32(8080)
		s.Ports = []discoveryv1.EndpointPort{{Port: &port}}
	}
	o.Slices = o.Slices.Set(desired.Name{Namespace: s.Namespace, Name: s.Name}, desired.ParseSlice(s))
}

func inSystem(m *metav1.ObjectMeta) desired.Name {
	m.Namespace = system
	return desired.Name{Namespace: system, Name: m.Name}
}

func (o *objects) putPool(p *metallb.IPAddressPool) {
	name := inSystem(&p.ObjectMeta)
	o.Addressing.Pools = o.Addressing.Pools.Set(name, desired.ParsePool(p))
}

func (o *objects) putL2(a *metallb.L2Advertisement) {
	name := inSystem(&a.ObjectMeta)
	o.Addressing.L2Advertisements = o.Addressing.L2Advertisements.Set(name, desired.ParseL2Advertisement(a))
}

func (o *objects) putBGP(a *metallb.BGPAdvertisement) {
	name := inSystem(&a.ObjectMeta)
	o.Addressing.BGPAdvertisements = o.Addressing.BGPAdvertisements.Set(name, desired.ParseBGPAdvertisement(a))
}

func (o *objects) putPeer(p *metallb.BGPPeer) {
	name := inSystem(&p.ObjectMeta)
	o.Addressing.Peers = o.Addressing.Peers.Set(name, desired.ParsePeer(p))
}

// world is an API server with users who change what they like.
type world struct {
	objects
	pick func(n int) int // of 0 to n-1
	node desired.Node
}

func randomWorld(seed uint64) *world { return newWorld(rand.New(rand.NewPCG(seed, 1)).IntN) }

func newWorld(pick func(n int) int) *world {
	w := &world{pick: pick}
	w.node = desired.Node{Name: "a", About: &desired.NodeObject{Labels: map[string]string{"rack": "x"}}}
	w.Synced = true
	w.putNodeService()
	return w
}

// putNodeService creates the headless Service of the nodes.
func (o *objects) putNodeService() {
	s := &corev1.Service{Spec: corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, Type: corev1.ServiceTypeClusterIP}}
	s.Namespace, s.Name = nodeService.Namespace, nodeService.Name
	o.putService(s)
}

func (w *world) once(in int) bool { return w.pick(in) == 0 }

func oneOf[T any](w *world, of ...T) T { return of[w.pick(len(of))] }

// change is something that a user, or the cluster, does.
func (w *world) change() {
	switch w.pick(14) {
	case 0:
		w.Services = w.Services.Delete(w.service())
	case 1, 2, 3:
		w.randomService()
	case 4, 5, 6, 7:
		w.randomSlice()
	case 8:
		w.randomPool()
	case 9:
		w.randomL2()
	case 10:
		w.randomBGP()
	case 11:
		w.randomPeer()
	case 12:
		w.randomNode()
	default:
		w.randomRemoval()
	}
}

func (w *world) service() desired.Name {
	return desired.Name{Namespace: oneOf(w, "demo", "demo", "other"), Name: oneOf(w, "s", "t", "u")}
}

func (w *world) labels(key string) map[string]string {
	return oneOf(w, nil, map[string]string{key: "x"}, map[string]string{key: "y"})
}

func (w *world) selectors(key string) []metav1.LabelSelector {
	return oneOf(w, nil, nil, nil, []metav1.LabelSelector{{MatchLabels: map[string]string{key: "x"}}},
		[]metav1.LabelSelector{{MatchLabels: map[string]string{key: "x"}}, {MatchLabels: map[string]string{key: "y"}}})
}

func (w *world) randomService() {
	name := w.service()
	class := oneOf(w, "", "", "own", "other")
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name, Labels: w.labels("tier")}}
	if class != "" {
		s.Spec.LoadBalancerClass = &class
	}
	if w.once(8) {
		s.Spec.Type = corev1.ServiceTypeNodePort
	}
	if w.once(2) {
		s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	}
	mode := oneOf(w, corev1.LoadBalancerIPModeVIP, corev1.LoadBalancerIPModeProxy)
	for range w.pick(3) {
		s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{
			IP: oneOf(w, "192.0.2.1", "192.0.2.2", "192.0.2.9", "198.51.100.1", "2001:db8::1", "2001:db8::2"), IPMode: &mode,
		})
	}
	w.putService(s)
}

func (w *world) randomSlice() {
	service := w.service()
	if w.once(8) {
		service = nodeService
	}
	s := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{
		Namespace: service.Namespace, Name: service.Name + oneOf(w, "-1", "-2"),
		Labels: map[string]string{discoveryv1.LabelServiceName: service.Name},
	}}
	format := "10.0.0.%d"
	if w.once(2) {
		s.AddressType, format = discoveryv1.AddressTypeIPv6, "fd00::%d"
	}
	if w.once(8) {
		name, port := "metrics", int32(9090)
		s.Ports = []discoveryv1.EndpointPort{{Name: &name, Port: &port}}
	}
	if w.once(10) {
		s.Labels[desired.LabelHeadless] = ""
	}
	for range w.pick(4) {
		ready, serving, terminating := w.once(2), w.once(2), w.once(3)
		e := discoveryv1.Endpoint{
			Addresses:  []string{fmt.Sprintf(format, 1+w.pick(3))},
			Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &serving, Terminating: &terminating},
		}
		if node := oneOf(w, "a", "b", "c", ""); node != "" {
			e.NodeName = &node
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	w.putSlice(s)
}

func (w *world) randomPool() {
	p := &metallb.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: oneOf(w, "p", "q"), Labels: w.labels("net")}}
	for range 1 + w.pick(2) {
		p.Spec.Addresses = append(p.Spec.Addresses, oneOf(w, "192.0.2.0/28", "192.0.2.1-192.0.2.6", "192.0.2.2", "2001:db8::/120", "2001:db8::1", "bad"))
	}
	w.putPool(p)
}

func (w *world) advertised() metallb.Advertised {
	return metallb.Advertised{
		IPAddressPools:         oneOf(w, nil, nil, []string{"p"}, []string{"q", "nowhere"}),
		IPAddressPoolSelectors: w.selectors("net"), NodeSelectors: w.selectors("rack"), ServiceSelectors: w.selectors("tier"),
	}
}

func (w *world) randomL2() {
	a := &metallb.L2Advertisement{ObjectMeta: metav1.ObjectMeta{Name: oneOf(w, "l", "m")}}
	a.Spec.Advertised, a.Spec.Interfaces = w.advertised(), oneOf(w, nil, []string{"eth0"}, []string{"eth1"})
	w.putL2(a)
}

func (w *world) randomBGP() {
	bits4, bits6 := oneOf[int32](w, 32, 28, 24), oneOf[int32](w, 128, 120, 64)
	a := &metallb.BGPAdvertisement{ObjectMeta: metav1.ObjectMeta{Name: oneOf(w, "l", "n")}}
	a.Spec = metallb.BGPAdvertisementSpec{
		Advertised: w.advertised(), AggregationLength: &bits4, AggregationLengthV6: &bits6, LocalPref: oneOf[uint32](w, 0, 0, 200),
		Communities: oneOf(w, nil, nil, nil, []string{"64500:1"}, []string{"no-export", "64500:1", "64500:1"}, []string{"unknown"}),
		Peers:       oneOf(w, nil, nil, nil, []string{"r"}, []string{"r2", "r"}, []string{"nobody"}),
	}
	w.putBGP(a)
}

func (w *world) randomPeer() {
	w.putPeer(&metallb.BGPPeer{
		ObjectMeta: metav1.ObjectMeta{Name: oneOf(w, "r", "r2")},
		Spec: metallb.BGPPeerSpec{
			MyASN: oneOf[uint32](w, 64500, 64500, 0), ASN: 64501, Address: "192.0.2.254",
			NodeSelectors: w.selectors("rack"), BFDProfile: oneOf(w, "", "fast"),
		},
	})
}

func (w *world) randomNode() {
	w.node = desired.Node{Name: oneOf(w, "a", "a", "a", "b")}
	if !w.once(8) {
		w.node.About = &desired.NodeObject{Labels: w.labels("rack"), Unavailable: oneOf(w, "", "", "", "", "it is tired")}
	}
}

func (w *world) randomRemoval() {
	a, name := &w.Addressing, func(of ...string) desired.Name {
		return desired.Name{Namespace: system, Name: oneOf(w, of...)}
	}
	switch w.pick(7) {
	case 5:
		if _, has := w.Services.Get(nodeService); has {
			w.Services = w.Services.Delete(nodeService)
		} else {
			w.putNodeService()
		}
	case 0:
		a.Pools = a.Pools.Delete(name("p", "q"))
	case 1:
		a.L2Advertisements = a.L2Advertisements.Delete(name("l", "m"))
	case 2:
		a.BGPAdvertisements = a.BGPAdvertisements.Delete(name("l", "n"))
	case 3:
		a.Peers = a.Peers.Delete(name("r", "r2"))
	case 4:
		if a.Claims.Len() > 0 {
			a.Claims = desired.Addressing{}.Claims
		} else {
			a.Claims = a.Claims.Set(netip.MustParseAddr("192.0.2.1"), &desired.Claim{})
		}
	default:
		w.Synced = !w.Synced || !w.once(4)
	}
}

var nodeService = desired.Name{Namespace: "fairlead", Name: "fairlead-node"}

func options() Options {
	return Options{NodeService: nodeService, Default: true, Classes: []string{"own"}}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
