//go:build e2e

package e2e

import (
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestLedger makes sure that the ledger finds what TestAllocation looks for.
func TestLedger(t *testing.T) {
	four, six := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	long := time.Now().Add(-time.Hour)
	all := []addressRange{{four, four}, {six, six}}
	had := entry{asked: "x", dual: true, addresses: []netip.Addr{four, six}, at: time.Now().Add(-time.Minute)}
	for name, c := range map[string]struct {
		before entry
		now    []netip.Addr
		pools  []addressRange // since a second ago
		wrong  bool
	}{
		"both for nothing":            {had, nil, all, true},
		"one for nothing":             {had, []netip.Addr{four}, all, true},
		"one that no pool has":        {had, []netip.Addr{four}, all[:1], false},
		"the other one":               {had, []netip.Addr{six}, all[:1], true},
		"both, as no pool has one":    {had, nil, all[:1], false},
		"the second, after the first": {entry{asked: "x", dual: true, addresses: []netip.Addr{six}, at: had.at}, nil, all, false},
		"of one family, for nothing":  {entry{asked: "x", addresses: []netip.Addr{six}, at: had.at}, nil, all, true},
		"as it asks for another":      {entry{asked: "y", addresses: []netip.Addr{six}, at: had.at}, nil, all, false},
		"as it has asked for another": {entry{asked: "x", changed: true, addresses: []netip.Addr{six}, at: had.at}, nil, all, false},
	} {
		l := &ledger{pools: []offer{{long, [2][]addressRange{all, all}}, {time.Now().Add(-time.Second), [2][]addressRange{c.pools, c.pools}}}}
		l.loses(name, c.before, entry{asked: "x", dual: c.before.dual, addresses: c.now})
		if wrong := len(l.wrong) > 0; wrong != c.wrong {
			t.Errorf("%s: found wrong: %t, want %t: %v", name, wrong, c.wrong, l.wrong)
		}
	}
	l := &ledger{pools: []offer{{long, [2][]addressRange{nil, nil}}, {had.at.Add(-time.Minute), [2][]addressRange{all, all}}}}
	if l.loses("a pool long ago", had, entry{asked: "x", dual: true}); len(l.wrong) != 1 {
		t.Error("what pools had long ago is taken for a reason")
	}

	// One of two that share an address changes; before Fairlead knows, it gives the
	// other one a new address of the other family; then it takes the shared one away.
	l = &ledger{services: map[string]entry{}, pools: []offer{{long, [2][]addressRange{all, all}}}}
	state := func(name string, port int32, addresses ...netip.Addr) {
		s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{shareKey: "key"}}}
		s.Spec.Ports = []corev1.ServicePort{{Port: port}}
		for _, a := range addresses {
			s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: a.String()})
		}
		l.take(s, false)
	}
	state("older", 80, six)
	state("younger", 81, six)
	state("older", 81, six)
	state("younger", 81, four, six)
	if state("younger", 81, four); len(l.wrong) != 0 {
		t.Errorf("lost to who shares it no longer: %v", l.wrong)
	}
	state("third", 82, four)
	if state("third", 82); len(l.wrong) != 1 {
		t.Errorf("lost for nothing: %v", l.wrong)
	}
}
