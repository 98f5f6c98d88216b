package desired

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead-net/fairlead/api/metallb"
)

// meta is that of every object of these tests.
func meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "metallb-system", Name: name}
}

// said checks the reasons against an object: one for each text of want, which is
// CODE: and a part of the message.
func said(t *testing.T, what string, reasons []Reason, kind string, want ...string) {
	t.Helper()
	if len(reasons) != len(want) {
		t.Errorf("%s: %d reasons %v, want %d", what, len(reasons), reasons, len(want))
		return
	}
	for i, r := range reasons {
		code, text, _ := strings.Cut(want[i], ": ")
		if r.Code != code || !strings.Contains(r.Message, text) || r.Object.Kind != kind || r.Object.Namespace != "metallb-system" {
			t.Errorf("%s: %v says %s: %s; want %s", what, r.Object, r.Code, r.Message, want[i])
		}
	}
}

func poolOf(addresses ...string) *metallb.IPAddressPool {
	return &metallb.IPAddressPool{ObjectMeta: meta("pool"), Spec: metallb.IPAddressPoolSpec{Addresses: addresses}}
}

func TestParsePoolRanges(t *testing.T) {
	for _, c := range []struct {
		addresses []string
		want      string
		reasons   []string
	}{
		{nil, "[]", nil},
		{[]string{"192.0.2.0/30", "2001:db8::/126"}, "[192.0.2.0-192.0.2.3 2001:db8::-2001:db8::3]", nil},
		{[]string{"192.0.2.7/30"}, "[192.0.2.4-192.0.2.7]", nil},
		{[]string{" 192.0.2.9 - 192.0.2.11 "}, "[192.0.2.9-192.0.2.11]", nil},
		{[]string{"::ffff:192.0.2.9-::ffff:192.0.2.11"}, "[192.0.2.9-192.0.2.11]", nil},
		{[]string{"192.0.2.1", "192.0.2.1/32"}, "[192.0.2.1]", nil},
		{[]string{"192.0.2.8/29", "192.0.2.0-192.0.2.9", "192.0.2.2-192.0.2.3"}, "[192.0.2.0-192.0.2.15]", nil},
		{[]string{"10.0.0.0/8"}, "[10.0.0.0-10.255.255.255]", nil},
		{[]string{"some"}, "[]", []string{`RangeInvalid: spec.addresses[0]: "some" is neither`}},
		{[]string{"192.0.2.1", "192.0.2.0/33"}, "[192.0.2.1]", []string{`RangeInvalid: spec.addresses[1]: "192.0.2.0/33" is not of the form ADDRESS/BITS`}},
		{[]string{"192.0.2.1-"}, "[]", []string{"RangeInvalid: is not of the form FIRST-LAST"}},
		{[]string{"192.0.2.1-2-3"}, "[]", []string{"RangeInvalid: is not of the form FIRST-LAST"}},
		{[]string{"192.0.2.9-192.0.2.1"}, "[]", []string{"RangeInvalid: ends before it begins"}},
		{[]string{"192.0.2.1-2001:db8::1"}, "[]", []string{"RangeInvalid: one family"}},
		{[]string{"2001:db8::1%eth0"}, "[]", []string{"RangeInvalid: has a zone"}},
		{[]string{"0.0.0.0/0"}, "[]", []string{"RangeInvalid: unspecified"}},
		{[]string{"127.0.0.1"}, "[]", []string{"RangeInvalid: loopback"}},
		{[]string{"fe80::1-fe80::9"}, "[]", []string{"RangeInvalid: link-local"}},
		{[]string{"223.0.0.0-224.0.0.1"}, "[]", []string{"RangeInvalid: multicast"}},
		{[]string{"::/0"}, "[]", []string{"RangeInvalid: unspecified"}},
	} {
		p := ParsePool(poolOf(c.addresses...))
		if got := fmt.Sprint(p.Ranges); got != c.want {
			t.Errorf("%q: %s, want %s", c.addresses, got, c.want)
		}
		said(t, fmt.Sprint(c.addresses), p.reasons, "IPAddressPool", c.reasons...)
	}
}

func TestPoolContains(t *testing.T) {
	o := poolOf("192.0.2.0/24", "2001:db8::/120")
	o.Spec.AvoidBuggyIPs = true
	p := ParsePool(o)
	for text, want := range map[string][2]bool{
		"192.0.2.0": {true, true}, "192.0.2.255": {true, true}, "192.0.2.1": {true, false}, "192.0.3.1": {false, false},
		"2001:db8::": {true, false}, "2001:db8::ff": {true, false}, "2001:db8::100": {false, false}, "0.0.0.1": {false, false},
	} {
		a := netip.MustParseAddr(text)
		if got := [2]bool{p.Contains(a), p.Avoids(a)}; got != want {
			t.Errorf("%s: has and avoids %v, want %v", a, got, want)
		}
	}
	o.Spec.AvoidBuggyIPs = false
	if ParsePool(o).Avoids(netip.MustParseAddr("192.0.2.0")) {
		t.Error("avoids an address though nobody asked for it")
	}
	no := false
	if !p.AutoAssign {
		t.Error("autoAssign is true where it is missing")
	}
	if o.Spec.AutoAssign = &no; ParsePool(o).AutoAssign {
		t.Error("autoAssign: false is not seen")
	}
}

func selecting(key, value string) metav1.LabelSelector {
	return metav1.LabelSelector{MatchLabels: map[string]string{key: value}}
}

// broken is a selector that the API server's schema lets through.
func broken() metav1.LabelSelector {
	return metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "tier", Operator: "Is"}}}
}

func TestPoolFor(t *testing.T) {
	front, gold := map[string]string{"tier": "front"}, map[string]string{"plan": "gold"}
	for name, c := range map[string]struct {
		to                      metallb.ServiceAllocation
		namespace               string
		namespaceLabels, labels map[string]string
		want                    bool
	}{
		"open":                              {metallb.ServiceAllocation{}, "demo", nil, nil, true},
		"the namespace is named":            {metallb.ServiceAllocation{Namespaces: []string{"shop", "demo"}}, "demo", nil, nil, true},
		"another is":                        {metallb.ServiceAllocation{Namespaces: []string{"shop"}}, "demo", nil, nil, false},
		"named or selected: selected":       {metallb.ServiceAllocation{Namespaces: []string{"shop"}, NamespaceSelectors: []metav1.LabelSelector{selecting("plan", "gold")}}, "demo", gold, nil, true},
		"named or selected: neither":        {metallb.ServiceAllocation{Namespaces: []string{"shop"}, NamespaceSelectors: []metav1.LabelSelector{selecting("plan", "gold")}}, "demo", front, nil, false},
		"the Service is selected":           {metallb.ServiceAllocation{ServiceSelectors: []metav1.LabelSelector{selecting("a", "b"), selecting("tier", "front")}}, "demo", nil, front, true},
		"the Service is not":                {metallb.ServiceAllocation{ServiceSelectors: []metav1.LabelSelector{selecting("tier", "front")}}, "demo", nil, gold, false},
		"both are needed":                   {metallb.ServiceAllocation{Namespaces: []string{"demo"}, ServiceSelectors: []metav1.LabelSelector{selecting("tier", "front")}}, "demo", nil, gold, false},
		"a broken selector opens nothing":   {metallb.ServiceAllocation{ServiceSelectors: []metav1.LabelSelector{broken()}}, "demo", nil, front, false},
		"nor does one of namespaces":        {metallb.ServiceAllocation{NamespaceSelectors: []metav1.LabelSelector{broken()}}, "demo", front, nil, false},
		"an empty selector selects all":     {metallb.ServiceAllocation{ServiceSelectors: []metav1.LabelSelector{{}}}, "demo", nil, nil, true},
		"the others of a broken one remain": {metallb.ServiceAllocation{ServiceSelectors: []metav1.LabelSelector{broken(), selecting("tier", "front")}}, "demo", nil, front, true},
	} {
		o := poolOf("192.0.2.1")
		o.Spec.AllocateTo = &c.to
		if got := ParsePool(o).For(c.namespace, c.namespaceLabels, c.labels); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	o := poolOf("192.0.2.1")
	o.Spec.AllocateTo = &metallb.ServiceAllocation{Priority: 7, ServiceSelectors: []metav1.LabelSelector{{}, broken()}, NamespaceSelectors: []metav1.LabelSelector{broken()}}
	p := ParsePool(o)
	said(t, "selectors", p.reasons, "IPAddressPool",
		`SelectorInvalid: spec.serviceAllocation.namespaceSelectors[0]: "Is" is not a valid label selector operator; it matches nothing`,
		"SelectorInvalid: spec.serviceAllocation.serviceSelectors[1]")
	if p.Priority != 7 {
		t.Errorf("priority %d", p.Priority)
	}
}

// TestSelector holds that the zero Selector, which stands for one that cannot be read,
// matches nothing.
func TestSelector(t *testing.T) {
	var none Selector
	if none.Matches(nil) || none.Matches(map[string]string{"a": "b"}) || none.String() != "" {
		t.Error("the zero Selector matches something")
	}
	var r reasons
	s := parseSelectors([]metav1.LabelSelector{selecting("tier", "front")}, "spec.nodeSelectors", &r)
	if text, err := s[0].MarshalText(); string(text) != "tier=front" || err != nil || len(r) != 0 {
		t.Errorf("%s, %v, %v", text, err, r)
	}
	if Selectors(nil).Match(nil) != true || s.Match(nil) {
		t.Error("no selectors match everything, others what they say")
	}
}

func FuzzParseRange(f *testing.F) {
	for _, text := range []string{"192.0.2.0/24", "192.0.2.1-192.0.2.9", "2001:db8::1", "::ffff:1.2.3.4/120", "-", "/", "fe80::1%x-fe80::2%x"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, problem := parseRange(text)
		if problem != "" {
			return
		}
		if !r.Contains(r.First) || !r.Contains(r.Last) || r.First.Is4In6() || r.Last.Is4In6() {
			t.Errorf("%q gives %v", text, r)
		}
		if again, problem := parseRange(r.String()); problem != "" || again != r {
			t.Errorf("%q gives %v, which gives %v %s", text, r, again, problem)
		}
	})
}
