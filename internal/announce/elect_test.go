package announce

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// TestForever has numbers that nodes of different versions must agree on.
func TestForever(t *testing.T) {
	if got := OfferHash(desired.Name{Namespace: "metallb-system", Name: "office"}); got != 0xe0ea1d71 {
		t.Errorf("OfferHash = %#x", got)
	}
	e := electorate{}
	for address, want := range map[string]uint64{"192.0.2.1": 0x81067e782de63e8d, "2001:db8::1": 0x6f397aac0a469927} {
		if got := e.weight(netip.MustParseAddr(address), "node-1"); got != want {
			t.Errorf("weight of %s = %#x", address, got)
		}
	}
}

// electing is a Table with consecutive addresses, and a Live with all of the nodes.
func electing(first netip.Addr, addresses int, nodes ...string) (Table, Live) {
	offer := desired.Name{Namespace: "m", Name: "l"}
	t := Table{Node: nodes[0], Synced: true, Offers: []desired.Name{offer}}
	live := Live{Nodes: map[string]*Condition{}}
	for _, name := range nodes {
		t.Nodes = append(t.Nodes, Node{Name: name})
		live.Nodes[name] = &Condition{Offers: []uint32{OfferHash(offer)}}
	}
	for range addresses {
		t.L2 = append(t.L2, L2Address{Address: first, Services: []desired.Name{{Namespace: "demo", Name: "s"}}, By: []L2Via{{Advertisement: offer}}})
		first = first.Next()
	}
	return t, live
}

func owners(e Election) map[netip.Addr]string {
	owners := map[netip.Addr]string{}
	for _, one := range e.Addresses {
		owners[one.Address] = one.Owner
	}
	return owners
}

// TestSpread expects 1,000 consecutive addresses to spread evenly over three nodes:
// the one with the most has at most a fifth more than the one with the least. Shares
// that are drawn at random differ by more in one of 70 ranges, so a few may.
func TestSpread(t *testing.T) {
	const ranges = 100
	for _, nodes := range [][]string{
		{"node-1", "node-2", "node-3"}, {"a", "b", "c"}, {"worker0", "worker1", "worker2"},
		{"ip-10-0-0-1.eu-central-1.compute.internal", "ip-10-0-0-2.eu-central-1.compute.internal", "ip-10-0-0-3.eu-central-1.compute.internal"},
	} {
		all, uneven := map[string]int{}, 0
		for i := range ranges {
			table, live := electing(netip.AddrFrom4([4]byte{10, byte(i), 0, 0}), 1000, nodes...)
			count := map[string]int{}
			for _, owner := range owners(Elect(table, live)) {
				count[owner]++
				all[owner]++
			}
			if spread(count) > 0.2 {
				uneven++
			}
		}
		if len(all) != len(nodes) || spread(all) > 0.03 || uneven > 5 {
			t.Errorf("addresses of the nodes: %v; %d of %d ranges are uneven", all, uneven, ranges)
		}
	}
}

// spread returns by what part of the most the least is less.
func spread(count map[string]int) float64 {
	least, most := slices.Min(slices.Collect(maps.Values(count))), slices.Max(slices.Collect(maps.Values(count)))
	return float64(most-least) / float64(most)
}

// TestMoves expects that only the addresses of a node move that goes, dies or
// leaves, and that they come back.
func TestMoves(t *testing.T) {
	table, live := electing(netip.MustParseAddr("192.0.2.0"), 1000, "a", "b", "c", "d")
	before := owners(Elect(table, live))
	gone := live.Nodes["c"]
	check := func(what string) {
		t.Helper()
		for address, now := range owners(Elect(table, live)) {
			if was := before[address]; now == "c" || was != "c" && was != now {
				t.Fatalf("c %s: %s goes from %s to %q", what, address, was, now)
			}
		}
	}
	delete(live.Nodes, "c")
	check("is dead")
	live.Nodes["c"] = &Condition{Offers: gone.Offers, Leaving: true}
	check("is leaving")
	live.Nodes["c"] = &Condition{Offers: []uint32{7}}
	check("offers something else")
	live.Nodes["c"] = gone
	table.Nodes = slices.Delete(table.Nodes, 2, 3)
	check("is not expected")
	table.Nodes = slices.Insert(table.Nodes, 2, Node{Name: "c"})
	if diff := cmp.Diff(before, owners(Elect(table, live)), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}

// TestAgreement lets each node of a random cluster elect by itself, and expects
// that all come to the same, which a second reading of the rules finds as well.
func TestAgreement(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	owned := map[bool]int{}
	for range 300 {
		table, live, offers := randomElectorate(rng)
		want := map[netip.Addr]string{}
		for _, a := range table.L2 {
			want[a.Address] = ownerOf(a, table, live)
			owned[want[a.Address] != ""]++
		}
		for name := range live.Nodes {
			// A node may be late to tell others of what it knows itself.
			mine, view := table, Live{Nodes: maps.Clone(live.Nodes)}
			mine.Node, mine.Offers = name, offers[name]
			view.Nodes[name] = &Condition{Offers: []uint32{1, 2, 3}, Leaving: live.Nodes[name].Leaving}
			if diff := cmp.Diff(want, owners(Elect(mine, view)), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Fatalf("node %s of %+v: %s", name, live, diff)
			}
		}
	}
	if owned[true] < 1000 || owned[false] < 100 {
		t.Errorf("owned or not: %v", owned)
	}
}

func randomElectorate(rng *rand.Rand) (Table, Live, map[string][]desired.Name) {
	table, live, offers := Table{}, Live{Nodes: map[string]*Condition{}}, map[string][]desired.Name{}
	advertisement := func(i int) desired.Name { return desired.Name{Namespace: "m", Name: fmt.Sprint("l", i)} }
	for i := range 1 + rng.IntN(5) {
		name := fmt.Sprint("n", i)
		table.Nodes = append(table.Nodes, Node{Name: name})
		c := &Condition{Leaving: rng.IntN(4) == 0}
		for i := range 3 {
			if rng.IntN(2) == 0 {
				offers[name] = append(offers[name], advertisement(i))
				c.Offers = append(c.Offers, OfferHash(advertisement(i)))
			}
		}
		slices.Sort(c.Offers)
		if rng.IntN(4) > 0 {
			live.Nodes[name] = c
		}
	}
	live.Nodes["stranger"] = &Condition{}
	for i := range 10 {
		a := L2Address{Address: netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})}
		for i := range 3 {
			if rng.IntN(2) == 0 {
				a.By = append(a.By, L2Via{Advertisement: advertisement(i)})
			}
		}
		if rng.IntN(3) == 0 {
			a.Nodes = []string{}
			for i := range 5 {
				if rng.IntN(2) == 0 {
					a.Nodes = append(a.Nodes, fmt.Sprint("n", i))
				}
			}
		}
		table.L2 = append(table.L2, a)
	}
	return table, live, offers
}

func ownerOf(a L2Address, t Table, live Live) string {
	var able []string
	for _, n := range t.Nodes {
		c := live.Nodes[n.Name]
		makes := c != nil && slices.ContainsFunc(a.By, func(v L2Via) bool { return slices.Contains(c.Offers, OfferHash(v.Advertisement)) })
		if makes && (a.Nodes == nil || slices.Contains(a.Nodes, n.Name)) {
			able = append(able, n.Name)
		}
	}
	e := electorate{}
	slices.SortFunc(able, func(x, y string) int {
		if live.Nodes[x].Leaving != live.Nodes[y].Leaving {
			if live.Nodes[y].Leaving {
				return -1
			}
			return 1
		}
		if e.weight(a.Address, x) > e.weight(a.Address, y) {
			return -1
		}
		return 1
	})
	if len(able) == 0 {
		return ""
	}
	return able[0]
}

func TestOfferHashes(t *testing.T) {
	table := Table{}
	for i := range MaxOffers {
		table.Offers = append(table.Offers, desired.Name{Namespace: "m", Name: fmt.Sprint(i)})
	}
	if hashes := table.OfferHashes(); len(hashes) != MaxOffers || !slices.IsSorted(hashes) {
		t.Errorf("%d hashes: %v", len(hashes), hashes)
	}
}
