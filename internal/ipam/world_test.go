package ipam

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead-net/fairlead/api/metallb"
	"github.com/fairlead-net/fairlead/internal/desired"
)

// world is an API server with users who change what they like. It is small, so that
// they get in each other's way.
type world struct {
	*server
	pick func(n int) int // of 0 to n-1
	// given are what another controller has written into statuses.
	given map[had]bool
}

type had struct {
	service desired.Name
	address netip.Addr
}

func randomWorld(seed uint64) *world {
	rng := rand.New(rand.NewPCG(seed, 1))
	return &world{server: newServer(), pick: rng.IntN, given: map[had]bool{}}
}

// worldOf draws from bytes; when there are none left it picks 0.
func worldOf(content *[]byte) *world {
	return &world{server: newServer(), given: map[had]bool{}, pick: func(n int) int {
		if len(*content) == 0 {
			return 0
		}
		b := (*content)[0]
		*content = (*content)[1:]
		return int(b) % n
	}}
}

func (w *world) once(in int) bool { return w.pick(in) == 0 }

func oneOf[T any](w *world, of ...T) T { return of[w.pick(len(of))] }

// change is something that a user does.
func (w *world) change() {
	switch w.pick(12) {
	case 0:
		w.remove(w.anyName())
	case 1, 2:
		w.randomPool()
	case 3:
		a := &w.objects.Addressing
		a.Pools = a.Pools.Delete(desired.Name{Namespace: "metallb-system", Name: oneOf(w, "p0", "p1", "p2")})
	case 4:
		w.putNamespace(oneOf(w, "demo", "other"), map[string]string{"team": oneOf(w, "red", "blue")})
	case 5:
		w.foreignClaim()
	case 6:
		w.otherController()
	default:
		w.randomService()
	}
}

func (w *world) anyName() desired.Name {
	return desired.Name{Namespace: oneOf(w, "demo", "demo", "other"), Name: oneOf(w, "a", "b", "c")}
}

func (w *world) randomPool() {
	yes, no := true, false
	p := &metallb.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: oneOf(w, "p0", "p1", "p2")}}
	for range 1 + w.pick(2) {
		p.Spec.Addresses = append(p.Spec.Addresses, oneOf(w, "192.0.2.1-192.0.2.2", "192.0.2.2-192.0.2.4", "192.0.2.0/30",
			"2001:db8::1-2001:db8::2", "2001:db8::2-2001:db8::3", "192.0.2.6", "10.0.0.0/8"))
	}
	p.Spec.AutoAssign = oneOf(w, nil, nil, &yes, &no)
	p.Spec.AvoidBuggyIPs = w.once(3)
	if w.once(3) {
		p.Spec.AllocateTo = &metallb.ServiceAllocation{Priority: w.pick(3), Namespaces: oneOf(w, nil, []string{"demo"}, []string{"other"})}
		if w.once(2) {
			p.Spec.AllocateTo.NamespaceSelectors = []metav1.LabelSelector{{MatchLabels: map[string]string{"team": "red"}}}
		}
		if w.once(2) {
			p.Spec.AllocateTo.ServiceSelectors = []metav1.LabelSelector{{MatchLabels: map[string]string{"tier": "edge"}}}
		}
	}
	w.putPool(p)
}

func (w *world) randomService() {
	name := w.anyName()
	class := oneOf(w, "", "", Class, "other")
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name, Annotations: map[string]string{}}}
	if class != "" {
		s.Spec.LoadBalancerClass = &class
	}
	if w.once(10) {
		s.Spec.Type = corev1.ServiceTypeNodePort
	}
	s.Spec.IPFamilies = oneOf(w, nil, []corev1.IPFamily{corev1.IPv6Protocol}, []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol})
	if len(s.Spec.IPFamilies) == 2 && w.once(2) {
		policy := corev1.IPFamilyPolicyRequireDualStack
		s.Spec.IPFamilyPolicy = &policy
	}
	for range 1 + w.pick(2) {
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Port: int32(80 + w.pick(3)), Protocol: oneOf(w, corev1.ProtocolTCP, corev1.ProtocolUDP)})
	}
	if w.once(3) {
		s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	}
	s.Spec.Selector = oneOf(w, nil, map[string]string{"app": "x"}, map[string]string{"app": "x"}, map[string]string{"app": "y"})
	s.Labels = oneOf(w, nil, map[string]string{"tier": "edge"})
	annotate := func(key string, values ...string) {
		if value := oneOf(w, values...); value != "" {
			s.Annotations[key] = value
		}
	}
	annotate(annotationKey, "", "k", "k", "l")
	annotate(annotationAcross, "", "*", "demo,other")
	annotate("metallb.io/address-pool", "", "", "", "", "p0", "p1", "nowhere")
	annotate("metallb.io/loadBalancerIPs", "", "", "", "", "192.0.2.1", "192.0.2.2,2001:db8::2", "192.0.2.3,192.0.2.2", "2001:db8::1", "bogus", "172.16.0.1")
	w.put(s)
}

const (
	annotationKey    = "metallb.io/allow-shared-ip"
	annotationAcross = "lbipam.cilium.io/sharing-cross-namespace"
)

func (w *world) anyAddress() netip.Addr {
	return netip.MustParseAddr(oneOf(w, "192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "2001:db8::2", "172.16.0.1"))
}

// foreignClaim lets somebody else claim an address, or give it up.
func (w *world) foreignClaim() {
	address, a := w.anyAddress(), &w.objects.Addressing
	claim, ok := a.Claims.Get(address)
	switch {
	case !ok:
		a.Claims = a.Claims.Set(address, &desired.Claim{Address: address, Foreign: fmt.Sprintf("IPAddress %s says it is that of x/y", address)})
	case claim.Foreign != "":
		a.Claims = a.Claims.Delete(address)
	}
}

// otherController writes a status, as MetalLB might that still runs.
func (w *world) otherController() {
	name := w.anyName()
	o := w.raw[name]
	if o == nil || o.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return
	}
	address := w.anyAddress()
	o = o.DeepCopy()
	o.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: address.String()}}
	if w.once(4) {
		o.Status.LoadBalancer.Ingress = append(o.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{Hostname: "x.example.com"})
	}
	w.store(o)
	w.given[had{name, address}] = true
}
