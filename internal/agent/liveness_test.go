package agent

import (
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// TestWithout expects that the named Service loses its dead endpoints, as do others that
// lead to the same pods, and never the last one; what has but the address is let alone.
func TestWithout(t *testing.T) {
	slice := func(service string, addresses ...string) *desired.Slice {
		s := &discoveryv1.EndpointSlice{
			ObjectMeta:  metav1.ObjectMeta{Namespace: "kube-system", Name: service, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
			AddressType: discoveryv1.AddressTypeIPv4,
		}
		for _, address := range addresses {
			address, pod, _ := strings.Cut(address, " ")
			s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{address}, TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: pod}})
		}
		return desired.ParseSlice(s)
	}
	name := func(n string) desired.Name { return desired.Name{Namespace: "kube-system", Name: n} }
	var o desired.Objects
	o.Slices = o.Slices.Set(name("kube-dns"), slice("kube-dns", "10.0.0.1 one", "10.0.0.2 two")).
		Set(name("outside"), slice("outside", "10.0.0.1 one", "10.0.0.2 two", "10.0.0.3 three")).
		Set(name("last"), slice("last", "10.0.0.1 one")).
		Set(name("other"), slice("other", "10.0.0.1 web", "10.0.0.2 two"))
	ready := func(o desired.Objects, service string) int {
		s, _ := o.Slices.Get(name(service))
		n := 0
		for _, e := range s.Endpoints {
			if e.Ready {
				n++
			}
		}
		return n
	}
	one := map[netip.Addr]bool{netip.MustParseAddr("10.0.0.1"): true}
	all := map[netip.Addr]bool{netip.MustParseAddr("10.0.0.1"): true, netip.MustParseAddr("10.0.0.2"): true}
	got := without(o, name("kube-dns"), one)
	for service, want := range map[string]int{"kube-dns": 1, "outside": 2, "last": 1, "other": 2} {
		if n := ready(got, service); n != want {
			t.Errorf("one is dead: %s has %d endpoints that are ready, want %d", service, n, want)
		}
	}
	if got := without(o, name("kube-dns"), all); ready(got, "kube-dns") != 2 {
		t.Error("the last endpoint was taken away")
	}
	if got := without(o, name("kube-dns"), nil); got.Slices != o.Slices {
		t.Error("nothing dead, but the objects changed")
	}
	if ready(o, "kube-dns") != 2 {
		t.Error("the objects given were written to")
	}
}
