package bgp

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead-net/fairlead/internal/announce"
	"github.com/fairlead-net/fairlead/internal/desired"
)

func preferring(r announce.Route, preference uint32) announce.Route {
	r.LocalPref = preference
	return r
}

// TestRoutes: who is told what.
func TestRoutes(t *testing.T) {
	all := []announce.Route{
		route("192.0.2.1/32", "64500:2 64500:1"),
		preferring(route("192.0.2.1/32", "64500:2 large:1:2:3 no-export", "a", "b"), 200),
		preferring(route("192.0.2.1/32", "", "b"), 50),
		route("192.0.2.2/32", "", "b"),
		{Prefix: netip.MustParsePrefix("192.0.2.3/32"), Peers: []string{}},
	}
	say := func(all []told) string {
		var lines []string
		for _, a := range all {
			lines = append(lines, fmt.Sprintf("%s %d %v", a.prefix, a.localPref, a.communities))
		}
		return strings.Join(lines, "; ")
	}
	for peer, want := range map[string]string{
		"a": "192.0.2.1/32 200 [64500:1 64500:2 65535:65281 large:1:2:3]",
		"b": "192.0.2.1/32 200 [64500:1 64500:2 65535:65281 large:1:2:3]; 192.0.2.2/32 100 []",
		"c": "192.0.2.1/32 100 [64500:1 64500:2]",
	} {
		if diff := cmp.Diff(want, say(routes(all, peer))); diff != "" {
			t.Errorf("%s: %s", peer, diff)
		}
	}
}

// TestRoutesOracle compares with a second reading of the rule, on tables by chance.
func TestRoutesOracle(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	names := []string{"a", "b", "c"}
	for range 2000 {
		var all []announce.Route
		for range random.IntN(12) {
			r := announce.Route{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(random.IntN(4))}), 32), LocalPref: random.Uint32N(3) * 75}
			for range random.IntN(4) {
				r.Communities = append(r.Communities, desired.Community{Large: random.IntN(2) == 0, Numbers: [3]uint32{1, random.Uint32N(3), random.Uint32N(2)}})
			}
			if random.IntN(3) > 0 {
				r.Peers = slices.DeleteFunc(slices.Clone(names), func(string) bool { return random.IntN(2) == 0 })
			}
			all = append(all, r)
		}
		slices.SortFunc(all, func(a, b announce.Route) int { return a.Prefix.Compare(b.Prefix) })
		for _, name := range names {
			preference, communities := map[netip.Prefix]uint32{}, map[netip.Prefix]map[desired.Community]bool{}
			for _, r := range all {
				if r.Peers == nil || slices.Contains(r.Peers, name) {
					if r.LocalPref == 0 {
						r.LocalPref = 100
					}
					preference[r.Prefix] = max(preference[r.Prefix], r.LocalPref)
					if communities[r.Prefix] == nil {
						communities[r.Prefix] = map[desired.Community]bool{}
					}
					for _, c := range r.Communities {
						communities[r.Prefix][c] = true
					}
				}
			}
			got := routes(all, name)
			if len(got) != len(preference) {
				t.Fatalf("%d routes, want %d", len(got), len(preference))
			}
			for _, a := range got {
				each := map[desired.Community]bool{}
				for _, c := range a.communities {
					each[c] = true
				}
				if a.localPref != preference[a.prefix] || !maps.Equal(each, communities[a.prefix]) || len(each) != len(a.communities) {
					t.Fatalf("got %+v, want %d %v", a, preference[a.prefix], communities[a.prefix])
				}
			}
		}
	}
}

// TestCompile: which peers there is a session with, and why not with others.
func TestCompile(t *testing.T) {
	address := netip.MustParseAddr
	id := func(text string) func(*announce.Peer) {
		return func(p *announce.Peer) { p.RouterID = address(text) }
	}
	peers := []announce.Peer{
		peer("a", address("10.0.0.1"), 1),
		peer("b", address("10.0.0.2"), 1, id("1.1.1.1")),
		peer("c", address("10.0.0.3"), 1, id("1.1.1.2")),
		peer("d", address("10.0.0.1"), 2),
		peer("e", address("fe80::1"), 1),
		peer("f", address("224.0.0.1"), 1),
		peer("g", address("10.0.0.4"), 1, func(p *announce.Peer) { p.Password = strings.Repeat("x", 81) }),
		peer("h", address("10.0.0.5"), 1, func(p *announce.Peer) { p.VRF = "red" }, id("2.2.2.2")),
		peer("i", netip.Addr{}, 1, func(p *announce.Peer) { p.Interface = "eth1" }),
		peer("j", netip.Addr{}, 1, func(p *announce.Peer) { p.Interface = "eth1" }),
		peer("k", address("10.0.0.3"), 1), // c is refused, so this is the only one
		peer("l", address("10.0.0.6"), 1, id("0.0.0.0")),
	}
	p := compile(table(peers))
	if p.routerID != address("1.1.1.1") {
		t.Errorf("router ID %s", p.routerID)
	}
	refusals := map[string]string{
		"c": "spec.routerID is 1.1.1.2, but another BGPPeer for this node says 1.1.1.1", "d": "the same spec.peerAddress 10.0.0.1",
		"e": "name that in spec.interface", "f": "no address of a router", "g": "81 bytes", "h": "VRF", "j": "the same spec.interface eth1",
		"l": "spec.routerID 0.0.0.0 is not the address of a machine",
	}
	for _, w := range p.peers {
		if want := refusals[w.Name.Name]; (want == "") != (w.refused == "") || !strings.Contains(w.refused, want) {
			t.Errorf("%s: %q, want %q", w.Name, w.refused, want)
		}
	}
}

// TestLeavingPlan: all is asked to be used last, and the plan itself is not changed.
func TestLeavingPlan(t *testing.T) {
	p := compile(table([]announce.Peer{peer("a", netip.MustParseAddr("10.0.0.1"), 1)}, preferring(route("192.0.2.1/32", "64500:1 large:1:2:3"), 300)))
	after := p.leaving().peers[0].routes[0]
	if got := fmt.Sprint(after.localPref, after.communities); got != "0 [64500:1 65535:0 large:1:2:3]" {
		t.Errorf("got %s", got)
	}
	before := p.peers[0].routes[0]
	if got := fmt.Sprint(before.localPref, before.communities); got != "300 [64500:1 large:1:2:3]" {
		t.Errorf("got %s", got)
	}
	if !p.announces() || (plan{}).announces() {
		t.Error("announces is wrong")
	}
}

// TestRouterID: nodes without an IPv4 address have different ones, which look like the
// address of a host.
func TestRouterID(t *testing.T) {
	seen := map[netip.Addr]bool{}
	for n := range 1000 {
		id := hashedRouterID(fmt.Sprintf("node-%d", n))
		if first := id.As4()[0]; !id.Is4() || first == 0 || first >= 127 || seen[id] {
			t.Fatalf("node-%d has %s", n, id)
		}
		seen[id] = true
	}
	if a := hashedRouterID("worker-1"); a != hashedRouterID("worker-1") {
		t.Error("it changes")
	}
}
