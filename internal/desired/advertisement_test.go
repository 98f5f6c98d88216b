package desired

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead-net/fairlead/api/metallb"
)

func TestParseL2Advertisement(t *testing.T) {
	o := &metallb.L2Advertisement{ObjectMeta: meta("all")}
	a := ParseL2Advertisement(o)
	said(t, "an empty one", a.reasons, "L2Advertisement")
	if !a.Covers(&Pool{Name: Name{"metallb-system", "any"}}, nil) || !a.NodeSelectors.Match(nil) || a.Interfaces != nil {
		t.Errorf("an empty one restricts something: %+v", a)
	}
	o.Spec.Interfaces = []string{"eth0"}
	o.Spec.NodeSelectors = []metav1.LabelSelector{broken()}
	o.Spec.IPAddressPoolSelectors = []metav1.LabelSelector{selecting("tier", "front"), broken()}
	o.Spec.ServiceSelectors = []metav1.LabelSelector{broken()}
	o.Spec.PreferredNodeSelectors = []metallb.PreferredNodeSelector{{Weight: 100}}
	a = ParseL2Advertisement(o)
	said(t, "bad selectors", a.reasons, "L2Advertisement", "SelectorInvalid: spec.ipAddressPoolSelectors[1]", "SelectorInvalid: spec.nodeSelectors[0]",
		"SelectorInvalid: spec.serviceSelectors[0]", "PreferenceIgnored: spec.nodeSelectors")
	if a.NodeSelectors.Match(map[string]string{"tier": "front"}) || a.Covers(&Pool{Labels: map[string]string{"tier": "front"}}, nil) {
		t.Error("a broken selector opens what it is to restrict")
	}
}

func TestCovers(t *testing.T) {
	front := &Pool{Name: Name{"metallb-system", "front"}, Labels: map[string]string{"tier": "front"}}
	back := &Pool{Name: Name{"metallb-system", "back"}}
	for name, c := range map[string]struct {
		of                    metallb.Advertised
		labels                map[string]string
		wantFront, wantBehind bool
	}{
		"open":              {metallb.Advertised{}, nil, true, true},
		"named":             {metallb.Advertised{IPAddressPools: []string{"back"}}, nil, false, true},
		"selected":          {metallb.Advertised{IPAddressPoolSelectors: []metav1.LabelSelector{selecting("tier", "front")}}, nil, true, false},
		"named or selected": {metallb.Advertised{IPAddressPools: []string{"back"}, IPAddressPoolSelectors: []metav1.LabelSelector{selecting("tier", "front")}}, nil, true, true},
		"a missing pool":    {metallb.Advertised{IPAddressPools: []string{"no"}}, nil, false, false},
		"Services without":  {metallb.Advertised{ServiceSelectors: []metav1.LabelSelector{selecting("app", "web")}}, nil, false, false},
		"Services with":     {metallb.Advertised{ServiceSelectors: []metav1.LabelSelector{selecting("app", "web")}}, map[string]string{"app": "web"}, true, true},
	} {
		a := ParseL2Advertisement(&metallb.L2Advertisement{Spec: metallb.L2AdvertisementSpec{Advertised: c.of}})
		if a.Covers(front, c.labels) != c.wantFront || a.Covers(back, c.labels) != c.wantBehind {
			t.Errorf("%s: front %v, back %v", name, a.Covers(front, c.labels), a.Covers(back, c.labels))
		}
	}
}

func TestParseBGPAdvertisement(t *testing.T) {
	length := func(n int32) *int32 { return &n }
	for _, c := range []struct {
		four, six *int32
		want      [2]int
		reasons   []string
	}{
		{nil, nil, [2]int{32, 128}, nil},
		{length(24), length(64), [2]int{24, 64}, nil},
		{length(1), length(128), [2]int{1, 128}, nil},
		{length(0), length(129), [2]int{32, 128}, []string{"AggregationInvalid: spec.aggregationLength is 0, allowed are 1 to 32", "AggregationInvalid: spec.aggregationLengthV6 is 129, allowed are 1 to 128"}},
		{length(33), length(-1), [2]int{32, 128}, []string{"AggregationInvalid: 33", "AggregationInvalid: -1"}},
	} {
		o := &metallb.BGPAdvertisement{ObjectMeta: meta("all")}
		o.Spec.AggregationLength, o.Spec.AggregationLengthV6 = c.four, c.six
		a := ParseBGPAdvertisement(o)
		said(t, "aggregation", a.reasons, "BGPAdvertisement", c.reasons...)
		if got := [2]int{a.Bits4, a.Bits6}; got != c.want {
			t.Errorf("%v, want %v", got, c.want)
		}
	}
	o := &metallb.BGPAdvertisement{ObjectMeta: meta("all")}
	o.Spec.Communities = []string{"64512:7", "no-export", "vip", "65536:1", "large:1:2:3"}
	a := ParseBGPAdvertisement(o)
	if len(a.Communities) != 3 || len(a.Aliases) != 2 || a.Aliases[0] != "vip" || a.Aliases[1] != "65536:1" {
		t.Errorf("communities %v, names %v", a.Communities, a.Aliases)
	}
}
