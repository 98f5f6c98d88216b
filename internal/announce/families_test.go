package announce

import (
	"net/netip"
	"slices"
	"testing"
)

// TestLeavesFamilyByFamily takes a node that leaves out of the Table as Kubernetes does,
// out of the EndpointSlices of one family and then of the other: packets of its
// connections go on to it.
func TestLeavesFamilyByFamily(t *testing.T) {
	c := newFleet(t, 40, "a", "b", "c")
	second := netip.MustParseAddr("fd00::a")
	c.table.Nodes[0].Addresses = append(c.table.Nodes[0].Addresses, second)
	c.settle()
	passed := func() (n int) {
		for _, name := range []string{"b", "c"} {
			for _, p := range c.nodes[name].kernel {
				if p.Node == "a" && p.To == netip.MustParseAddr("10.0.0.1") {
					n++
				}
			}
		}
		return n
	}
	c.nodes["a"].leaving = true
	c.settle()
	before := passed()
	if before == 0 {
		t.Fatal("nothing is passed to a node that leaves")
	}
	others := c.table.Nodes[1:]
	for _, left := range [][]Node{slices.Concat([]Node{{Name: "a", Addresses: []netip.Addr{second}}}, others), others} {
		c.table.Nodes = left
		c.settle()
		if n := passed(); n != before {
			t.Errorf("%d addresses are passed to the node when the Table has %+v, and %d before", n, left, before)
		}
	}
	c.nodes["a"].running = false
	c.settle()
	if n := passed(); n != before {
		t.Errorf("%d addresses are passed to the node when its process has gone, and %d before", n, before)
	}
}
