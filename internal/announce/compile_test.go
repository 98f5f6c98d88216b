package announce

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead-net/fairlead/api/metallb"
	"github.com/fairlead-net/fairlead/internal/desired"
)

// TestTooManyAdvertisements has one L2Advertisement more than nodes can tell each
// other of.
func TestTooManyAdvertisements(t *testing.T) {
	w := cluster(1, 0)
	for i := range MaxOffers {
		w.putL2(&metallb.L2Advertisement{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("m%03d", i)}})
	}
	state, _ := desired.Build(w.Objects, w.node, nil)
	table, reasons := Compile(state, Table{}, options())
	last := fmt.Sprintf("m%03d", MaxOffers-1)
	if len(table.Offers) != MaxOffers || len(table.L2[0].By) != MaxOffers || slices.ContainsFunc(table.Offers, func(n desired.Name) bool { return n.Name == last }) {
		t.Errorf("%d offers, %d advertisements", len(table.Offers), len(table.L2[0].By))
	}
	if len(reasons) != 1 || reasons[0].Code != "TooManyAdvertisements" || reasons[0].Object.Name != last {
		t.Errorf("%+v", reasons)
	}
}

// TestNodes takes the process that stays where a node has two, and one address of
// each family.
func TestNodes(t *testing.T) {
	yes, a, b := true, "a", "b"
	w := randomWorld(1)
	terminating := discoveryv1.EndpointConditions{Terminating: &yes}
	for i, endpoints := range [][]discoveryv1.Endpoint{
		{{Addresses: []string{"10.0.0.1"}, NodeName: &a, Conditions: terminating}, {Addresses: []string{"10.0.0.3"}, NodeName: &a}, {Addresses: []string{"10.0.0.9"}}},
		{{Addresses: []string{"10.0.0.2"}, NodeName: &a}, {Addresses: []string{"10.0.0.4"}, NodeName: &b, Conditions: terminating}},
		{{Addresses: []string{"fd00::1"}, NodeName: &a}},
	} {
		s := &discoveryv1.EndpointSlice{Endpoints: endpoints}
		s.Namespace, s.Name, s.Labels = nodeService.Namespace, fmt.Sprint(i), map[string]string{discoveryv1.LabelServiceName: nodeService.Name}
		if strings.Contains(endpoints[0].Addresses[0], ":") {
			s.AddressType = discoveryv1.AddressTypeIPv6
		}
		w.putSlice(s)
	}
	state, _ := desired.Build(w.Objects, w.node, nil)
	table, _ := Compile(state, Table{}, options())
	if got := fmt.Sprint(table.Nodes); got != "[{a [10.0.0.2 fd00::1]} {b [10.0.0.4]}]" {
		t.Error(got)
	}
}

// TestUnchangedIsShared expects that a change elsewhere leaves the lists as they
// are, not just what is in them.
func TestUnchangedIsShared(t *testing.T) {
	w := cluster(10, 10)
	state, _ := desired.Build(w.Objects, w.node, nil)
	before, _ := Compile(state, Table{}, options())
	for _, change := range []func(){
		func() { w.putEndpoints("s15", "c") },          // of a Service that has no address
		func() { w.putEndpoints("s1", "a", "b", "c") }, // that admits all nodes anyway
		func() { w.putEndpoints("s2", "b", "a", "a") }, // which are the same nodes
		func() { w.Addressing.Claims = w.Addressing.Claims.Set(before.L2[0].Address, &desired.Claim{}) },
	} {
		change()
		state, _ = desired.Build(w.Objects, w.node, state)
		after, _ := Compile(state, before, options())
		if &before.L2[0] != &after.L2[0] || &before.Routes[0] != &after.Routes[0] || after.Revision != state.Revision {
			t.Error("the lists were made again")
		}
		before = after
	}
	w.putEndpoints("s2", "b")
	state, _ = desired.Build(w.Objects, w.node, state)
	if after, _ := Compile(state, before, options()); len(after.Routes) != len(before.Routes)-1 {
		t.Errorf("%d routes", len(after.Routes))
	}
}
