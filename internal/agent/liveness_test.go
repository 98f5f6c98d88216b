package agent

import (
	"net/netip"
	"testing"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// TestWithout expects that only the named Service loses its dead endpoints, and
// never its last one.
func TestWithout(t *testing.T) {
	slice := func(service string, addresses ...string) *desired.Slice {
		s := &discoveryv1.EndpointSlice{
			ObjectMeta:  metav1.ObjectMeta{Namespace: "kube-system", Name: service, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
			AddressType: discoveryv1.AddressTypeIPv4,
		}
		for _, address := range addresses {
			s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{address}})
		}
		return desired.ParseSlice(s)
	}
	name := func(n string) desired.Name { return desired.Name{Namespace: "kube-system", Name: n} }
	var o desired.Objects
	o.Slices = o.Slices.Set(name("kube-dns"), slice("kube-dns", "10.0.0.1", "10.0.0.2")).Set(name("other"), slice("other", "10.0.0.1"))
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
	if got := without(o, name("kube-dns"), one); ready(got, "kube-dns") != 1 || ready(got, "other") != 1 {
		t.Error("one dead endpoint of two: not left out, or left out elsewhere")
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
