package desired

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead-net/fairlead/api/metallb"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

func balancerOf(change func(*corev1.Service)) *Service {
	o := testService("demo", "shop", 1)
	o.Spec.Type, o.Annotations = corev1.ServiceTypeLoadBalancer, map[string]string{}
	change(o)
	return ParseService(o)
}

// TestRequestedAddresses holds which of the many places where addresses can be asked
// for counts, and what becomes of a text that is none.
func TestRequestedAddresses(t *testing.T) {
	for name, c := range map[string]struct {
		field       string
		annotations map[string]string
		want        string
		bad         string // part of the reason
	}{
		"nothing":           {"", nil, "[]", ""},
		"the field":         {"192.0.2.1", nil, "[192.0.2.1]", ""},
		"MetalLB first":     {"192.0.2.1", map[string]string{"metallb.io/loadBalancerIPs": "192.0.2.2, 2001:db8::2", "lbipam.cilium.io/ips": "192.0.2.3"}, "[192.0.2.2 2001:db8::2]", ""},
		"MetalLB's old":     {"", map[string]string{"metallb.universe.tf/loadBalancerIPs": "192.0.2.4"}, "[192.0.2.4]", ""},
		"Cilium's":          {"", map[string]string{"lbipam.cilium.io/ips": "192.0.2.3,192.0.2.3,,"}, "[192.0.2.3]", ""},
		"kube-vip's":        {"", map[string]string{"kube-vip.io/loadbalancerIPs": "192.0.2.5"}, "[192.0.2.5]", ""},
		"kube-vip's DHCP":   {"", map[string]string{"kube-vip.io/loadbalancerIPs": "0.0.0.0,::"}, "[]", ""},
		"an empty one":      {"192.0.2.1", map[string]string{"metallb.io/loadBalancerIPs": " "}, "[192.0.2.1]", ""},
		"mapped":            {"::ffff:192.0.2.1", nil, "[192.0.2.1]", ""},
		"a name":            {"shop.example", nil, "[invalid IP]", `spec.loadBalancerIP: "shop.example" is not an IP address, so the Service gets none`},
		"a zone":            {"", map[string]string{"lbipam.cilium.io/ips": "192.0.2.1,fe80::1%eth0"}, "[192.0.2.1 invalid IP]", "annotation lbipam.cilium.io/ips"},
		"a prefix":          {"192.0.2.0/24", nil, "[invalid IP]", "192.0.2.0/24"},
		"separated by hope": {"192.0.2.1 192.0.2.2", nil, "[invalid IP]", "correct it or leave it out"},
	} {
		s := balancerOf(func(o *corev1.Service) { o.Spec.LoadBalancerIP, o.Annotations = c.field, c.annotations })
		if got := fmt.Sprint(s.Balancer.Requested); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
		said := slices.DeleteFunc(slices.Clone(s.reasons), func(r Reason) bool { return r.Code != "RequestedAddressInvalid" })
		if len(said) != 0 && c.bad == "" || c.bad != "" && (len(said) != 1 || !strings.Contains(said[0].Message, c.bad) || said[0].Object.String() == "") {
			t.Errorf("%s: %v", name, said)
		}
	}
}

func TestBalancer(t *testing.T) {
	class, policy := "example.com/other", corev1.IPFamilyPolicyRequireDualStack
	b := balancerOf(func(o *corev1.Service) {
		o.Spec.LoadBalancerClass, o.Spec.IPFamilyPolicy, o.Spec.Selector = &class, &policy, map[string]string{"b": "2", "a": "1"}
		o.Annotations = map[string]string{"metallb.universe.tf/address-pool": "old", "metallb.io/address-pool": "new"}
		o.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "::ffff:192.0.2.1"}, {Hostname: "shop.example"}, {IP: "none"}}
	}).Balancer
	if b.Class != class || !b.RequireDualStack || b.Pods != "a=1,b=2" || !slices.Equal(b.Pools, []string{"new"}) || !b.Hostnames ||
		!slices.Equal(b.Ingress, []netip.Addr{netip.MustParseAddr("192.0.2.1")}) {
		t.Errorf("%+v", b)
	}
	if s := ParseService(testService("demo", "shop", 1)); s.Balancer != nil {
		t.Errorf("of type ClusterIP: %+v", s.Balancer)
	}
	for name, c := range map[string]struct {
		annotations map[string]string
		key         string
		namespaces  []string
	}{
		"none":              {nil, "", nil},
		"MetalLB's":         {map[string]string{"metallb.io/allow-shared-ip": "k", "lbipam.cilium.io/sharing-key": "other"}, "k", []string{"*"}},
		"Cilium's":          {map[string]string{"lbipam.cilium.io/sharing-key": "k"}, "k", nil},
		"Cilium's, across":  {map[string]string{"lbipam.cilium.io/sharing-key": "k", "lbipam.cilium.io/sharing-cross-namespace": "a, b,"}, "k", []string{"a", "b"}},
		"MetalLB's, across": {map[string]string{"metallb.io/allow-shared-ip": "k", "lbipam.cilium.io/sharing-cross-namespace": "a"}, "k", []string{"a"}},
	} {
		b := balancerOf(func(o *corev1.Service) { o.Annotations = c.annotations }).Balancer
		if b.SharingKey != c.key || !slices.Equal(b.SharingNamespaces, c.namespaces) {
			t.Errorf("%s: %q %v", name, b.SharingKey, b.SharingNamespaces)
		}
	}
}

// TestAddressingReasons expects Build to tell of bad objects of each kind, and to take
// that back once they are good or gone.
func TestAddressingReasons(t *testing.T) {
	var bad Addressing
	name := func(s string) Name { return Name{"metallb-system", s} }
	bad.Pools = bad.Pools.Set(name("pool"), ParsePool(poolOf("x")))
	l2 := &metallb.L2Advertisement{ObjectMeta: meta("l2")}
	l2.Spec.PreferredNodeSelectors = make([]metallb.PreferredNodeSelector, 1)
	bad.L2Advertisements = bad.L2Advertisements.Set(name("l2"), ParseL2Advertisement(l2))
	zero := int32(0)
	bgp := &metallb.BGPAdvertisement{ObjectMeta: meta("bgp")}
	bgp.Spec.AggregationLength = &zero
	bad.BGPAdvertisements = bad.BGPAdvertisements.Set(name("bgp"), ParseBGPAdvertisement(bgp))
	community := &metallb.Community{ObjectMeta: meta("names")}
	community.Spec.Communities = make([]metallb.CommunityAlias, 1)
	bad.Communities = bad.Communities.Set(name("names"), ParseCommunityNames(community))
	bad.Peers = bad.Peers.Set(name("tor"), ParsePeer(peerOf(func(s *metallb.BGPPeerSpec) { s.MyASN = 0 })))
	yes := true
	bad.BFDProfiles = bad.BFDProfiles.Set(name("fast"), ParseBFDProfile(&metallb.BFDProfile{ObjectMeta: meta("fast"), Spec: metallb.BFDProfileSpec{EchoMode: &yes}}))

	s, changed := Build(Objects{Synced: true, Addressing: bad}, Node{}, nil)
	kinds := func(all pmap.Map[Ref, *Status]) string {
		var texts []string
		for ref, status := range all.All() {
			texts = append(texts, fmt.Sprintf("%s %s %d", ref.Kind, ref.Name, len(status.Reasons)))
		}
		slices.Sort(texts)
		return strings.Join(texts, ", ")
	}
	want := "BFDProfile fast 1, BGPAdvertisement bgp 1, BGPPeer tor 1, Community names 1, IPAddressPool pool 1, L2Advertisement l2 1"
	if got := kinds(s.Statuses); got != want || len(changed) != 6 {
		t.Errorf("%s, %d changed; want %s", got, len(changed), want)
	}
	next := bad
	next.Pools = next.Pools.Set(name("pool"), ParsePool(poolOf("192.0.2.1")))
	next.Peers = next.Peers.Delete(name("tor"))
	s, changed = Build(Objects{Synced: true, Addressing: next}, Node{}, s)
	if got := kinds(s.Statuses); strings.Contains(got, "Pool") || strings.Contains(got, "Peer") || len(changed) != 2 {
		t.Errorf("afterwards %s, %v", got, changed)
	}
}
