package announce

import (
	"fmt"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead-net/fairlead/api/metallb"
	"github.com/fairlead-net/fairlead/internal/desired"
)

// cluster has so many Services of type LoadBalancer, half of them with
// externalTrafficPolicy: Local, and so many others, all with endpoints.
func cluster(balanced, others int) *world {
	w := randomWorld(1)
	w.putPool(&metallb.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: metallb.IPAddressPoolSpec{Addresses: []string{"10.64.0.0/16"}}})
	w.putL2(&metallb.L2Advertisement{ObjectMeta: metav1.ObjectMeta{Name: "l"}})
	w.putBGP(&metallb.BGPAdvertisement{ObjectMeta: metav1.ObjectMeta{Name: "b"}})
	address := netip.MustParseAddr("10.64.0.0")
	for i := range balanced + others {
		s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: fmt.Sprint("s", i)}}
		if i < balanced {
			s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: address.String()}}
			address = address.Next()
			if i%2 == 0 {
				s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
			}
		} else {
			s.Spec.Type = corev1.ServiceTypeClusterIP
		}
		w.putService(s)
		w.putEndpoints(s.Name, "a", "b")
	}
	return w
}

func (w *world) putEndpoints(service string, nodes ...string) {
	slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: service}}
	for i, node := range nodes {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{fmt.Sprintf("10.1.0.%d", i+1)}, NodeName: &node})
	}
	w.putSlice(slice)
}

// BenchmarkCompile measures what one change costs with 1,000 Services of type
// LoadBalancer and 10,000 others.
func BenchmarkCompile(b *testing.B) {
	w := cluster(1000, 10000)
	first, _ := desired.Build(w.Objects, w.node, nil)
	table, _ := Compile(first, Table{}, options())
	if len(table.L2) != 1000 || len(table.Routes) != 1000 {
		b.Fatalf("%d addresses, %d routes", len(table.L2), len(table.Routes))
	}
	for _, c := range []struct {
		name   string
		change func(w *world)
	}{
		{"other Service's endpoints", func(w *world) { w.putEndpoints("s5000", "c") }},
		{"endpoints that change nothing", func(w *world) { w.putEndpoints("s1", "a", "b", "c") }},
		{"endpoints that move", func(w *world) { w.putEndpoints("s0", "b", "c") }},
		{"an advertisement", func(w *world) { w.putL2(&metallb.L2Advertisement{ObjectMeta: metav1.ObjectMeta{Name: "m"}}) }},
		{"everything", nil},
	} {
		copied := *w
		prev := table
		if c.change != nil {
			c.change(&copied)
		} else {
			prev = Table{}
		}
		state, _ := desired.Build(copied.Objects, w.node, first)
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Compile(state, prev, options())
			}
		})
	}
}

// BenchmarkElect measures an election over 1,000 addresses.
func BenchmarkElect(b *testing.B) {
	for _, nodes := range []int{3, 100} {
		var names []string
		for i := range nodes {
			names = append(names, fmt.Sprintf("node-%03d", i))
		}
		table, live := electing(netip.MustParseAddr("10.64.0.0"), 1000, names...)
		b.Run(fmt.Sprint(nodes, " nodes"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Elect(table, live)
			}
		})
	}
}
