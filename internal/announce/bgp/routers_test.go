package bgp

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead-net/fairlead/internal/announce"
)

// TestRouters has sessions with routers of several kinds at once, and with some that
// nothing can be made of.
func TestRouters(t *testing.T) {
	tor, core, bird, leaf := newRouter(t, 1), newRouter(t, 2), newRouter(t, 3), newRouter(t, 4)
	tor.frr(frrConfig(tor, 64513, 64512, "network 203.0.113.0/24"))
	core.frr(frrConfig(core, 64512, 64512, fmt.Sprintf("neighbor %s password secret", core.node4), fmt.Sprintf("neighbor %s bfd 30 100 100", core.node4), fmt.Sprintf("neighbor %s remote-as 65000", core.node6)))
	leaf.frr(frrConfig(leaf, 64515, 64512, fmt.Sprintf("neighbor %s password right", leaf.node4),
		fmt.Sprintf("neighbor %s password right", leaf.node6),
		"neighbor eth0 interface remote-as external", "neighbor eth0 bfd 30 100 100", "neighbor eth0 timers 3 9", "neighbor eth0 timers connect 2",
		"address-family ipv6 unicast", " neighbor eth0 activate", "exit-address-family"))
	bird.bird()
	both := func(p *announce.Peer) { p.BothFamilies = true }
	slow := byBFD(100*time.Millisecond, 30)
	password := func(key string) func(*announce.Peer) { return func(p *announce.Peer) { p.Password = key } }
	peers := []announce.Peer{
		peer("tor", tor.own4, 64513, both),
		peer("core", core.own4, 64512, password("secret"), slow, func(p *announce.Peer) { p.Source = core.node4 }),
		peer("bird4", bird.own4, 0, slow), // any AS but the node's
		peer("bird6", bird.own6, 64514, both),
		peer("leaf", netip.Addr{}, 0, slow, func(p *announce.Peer) { p.Interface = leaf.cable }),
		peer("wrong-as", tor.own6, 64999),
		peer("wrong-own-as", core.own6, 64512),
		peer("wrong-key", leaf.own4, 64515, password("wrong")),
		peer("no-key", leaf.own6, 64515),
		peer("refused", netip.MustParseAddr("127.0.0.1"), 64513, func(p *announce.Peer) { p.Port = 9 }),
		peer("silent", netip.MustParseAddr("10.99.1.77"), 64513),
		peer("nowhere", netip.MustParseAddr("192.0.2.77"), 64513),
		peer("source", bird.own4.Next(), 64513, func(p *announce.Peer) { p.Source = netip.MustParseAddr("192.0.2.78") }),
		peer("vrf", netip.MustParseAddr("10.99.1.78"), 64513, func(p *announce.Peer) { p.VRF = "red" }),
		peer("twice", tor.own4, 64513),
	}
	preferred := route("192.0.2.2/32", "", "core")
	preferred.LocalPref = 300
	p := plane(t, func(c *Config) { c.Drain = 3 * time.Second })
	started := time.Now()
	apply(t, p, table(peers,
		route("192.0.2.1/32", "64500:7 no-export large:64500:1:2"), route("198.51.100.0/24", ""),
		route("2001:db8::1/128", "64500:8"), preferred, route("192.0.2.3/32", "", "tor", "bird6")))
	for _, name := range []string{"tor", "core", "bird4", "bird6", "leaf"} {
		established(t, p, name)
		t.Logf("%s is up after %s", name, time.Since(started).Round(10*time.Millisecond))
	}
	t.Run("external", func(t *testing.T) { checkExternal(t, tor, p) })
	t.Run("internal", func(t *testing.T) { checkInternal(t, core, p) })
	t.Run("bird", func(t *testing.T) { checkBird(t, bird, p) })
	t.Run("unnumbered", func(t *testing.T) { checkUnnumbered(t, leaf, p) })
	withBFD(t, p, "core", "bird4", "leaf")
	t.Run("mishaps", func(t *testing.T) { checkMishaps(t, tor, p) })
	t.Run("listens", checkListens)
	t.Run("changes", func(t *testing.T) { checkChanges(t, tor, core, p, peers) })
	for _, line := range p.Describe() {
		t.Log(line)
	}
	t.Run("leaving", func(t *testing.T) { checkLeaving(t, tor, p, peers[1:]) })
}

func checkExternal(t *testing.T, tor *router, p *Plane) {
	tor.has("192.0.2.1/32", "192.0.2.3/32", "198.51.100.0/24", "2001:db8::1/128", "203.0.113.0/24")
	if diff := cmp.Diff("64500:7 no-export 64500:1:2", tor.communities("192.0.2.1/32")); diff != "" {
		t.Errorf("communities: %s", diff)
	}
	got := tor.routes()
	for prefix, hop := range map[string]netip.Addr{"192.0.2.1/32": tor.node4, "2001:db8::1/128": tor.node6} {
		if a := got[prefix]; a.Path != "64512" || a.Nexthops[0].IP != hop.String() {
			t.Errorf("%s is %+v, want next hop %s", prefix, a, hop)
		}
		await(t, "the router forwards "+prefix, func() bool { return tor.forwards(prefix) })
	}
	if text := tor.vtysh("show bgp neighbors " + tor.node4.String()); !strings.Contains(text, "remote router ID 10.99.0.1") {
		t.Errorf("the router ID is another:\n%s", text)
	}
	s := status(t, p, "tor")
	if s.Routes != 4 || s.AS != 64513 || s.Error != "" || s.Losses != 0 || s.Untold != "" {
		t.Errorf("got %+v", s)
	}
	if c := s.Counters; c.OpensSent != 1 || c.OpensReceived != 1 || c.KeepalivesSent == 0 || c.UpdatesSent == 0 || c.TotalSent == 0 {
		t.Errorf("got %+v", c)
	}
}

func checkInternal(t *testing.T, core *router, p *Plane) {
	core.has("192.0.2.1/32", "192.0.2.2/32", "198.51.100.0/24")
	got := core.routes()
	if a := got["192.0.2.2/32"]; a.Path != "" || a.LocalPref != 300 || a.Nexthops[0].IP != core.node4.String() {
		t.Errorf("got %+v, want preference 300", a)
	}
	if a := got["192.0.2.1/32"]; a.LocalPref != 100 {
		t.Errorf("got %+v, want preference 100", a)
	}
	if s := status(t, p, "core"); s.Routes != 3 {
		t.Errorf("got %+v", s)
	}
}

func checkBird(t *testing.T, bird *router, p *Plane) {
	var text string
	await(t, "BIRD has the routes", func() bool {
		text = bird.birdc("show", "route", "all")
		return strings.Contains(text, "2001:db8::1/128") && strings.Contains(text, "192.0.2.3/32") && strings.Contains(text, "[four")
	}, func() string { return text })
	for _, want := range []string{
		"BGP.community: (64500,7) (65535,65281)", "BGP.large_community: (64500, 1, 2)", "BGP.as_path: 64512",
		"BGP.next_hop: " + bird.node4.String(), "BGP.next_hop: " + bird.node6.String(),
	} {
		if !strings.Contains(text, want) {
			t.Errorf("BIRD does not say %q:\n%s", want, text)
		}
	}
	if s := status(t, p, "bird4"); s.AS != 64514 || s.Routes != 2 {
		t.Errorf("got %+v", s)
	}
	if s := status(t, p, "bird6"); s.Routes != 4 {
		t.Errorf("got %+v", s)
	}
}

func checkUnnumbered(t *testing.T, leaf *router, p *Plane) {
	leaf.has("192.0.2.1/32", "198.51.100.0/24", "2001:db8::1/128")
	for prefix, a := range leaf.routes() {
		if !strings.HasPrefix(a.Nexthops[0].IP, "fe80:") {
			t.Errorf("%s is %+v, want a link-local next hop", prefix, a)
		}
		await(t, "the router forwards "+prefix, func() bool { return leaf.forwards(prefix) })
	}
	if s := status(t, p, "leaf"); s.AS != 64515 || s.Routes != 3 || !strings.HasSuffix(s.Address, "%"+leaf.cable) {
		t.Errorf("got %+v", s)
	}
}

func checkMishaps(t *testing.T, tor *router, p *Plane) {
	for name, text := range map[string]string{
		"wrong-as":     "the router's AS number is 64513, but BGPPeer lab/wrong-as says spec.peerASN: 64999; correct one of them",
		"wrong-own-as": "the router closed the session: wrong AS number; it expects another AS number of this node than spec.myASN, 64512",
		"wrong-key":    "a wrong MD5 key looks just like this",
		"no-key":       "demands an MD5 key",
		"refused":      "nothing listens at 127.0.0.1:9",
		"silent":       " 10.99.1.77:179: look whether the router is up",
		"nowhere":      "there is no way to 192.0.2.77:179",
		"source":       "spec.sourceAddress 192.0.2.78 is not an address of this node",
		"vrf":          "spec.vrf: sessions inside a VRF of the node are not supported",
		"twice":        "another BGPPeer for this node has the same spec.peerAddress " + tor.own4.String(),
	} {
		says(t, p, name, text)
	}
}

// checkListens: nobody can connect to this process, be it by BGP or by gRPC.
func checkListens(t *testing.T) {
	for _, file := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		content, err := os.ReadFile(file)
		must(t, err)
		for line := range strings.Lines(string(content)) {
			if f := strings.Fields(line); len(f) > 3 && f[3] == "0A" {
				t.Errorf("%s: something listens: %s", file, line)
			}
		}
	}
}

func checkChanges(t *testing.T, tor, core *router, p *Plane, peers []announce.Peer) {
	before := status(t, p, "tor")
	// One route gets other communities, one is withdrawn, one is now for others.
	moved := route("192.0.2.3/32", "", "core")
	changed := table(peers, route("192.0.2.1/32", "64500:9"), route("2001:db8::1/128", "64500:8"), moved)
	apply(t, p, changed)
	tor.has("192.0.2.1/32", "2001:db8::1/128", "203.0.113.0/24")
	core.has("192.0.2.1/32", "192.0.2.3/32")
	await(t, "the communities have changed", func() bool { return tor.communities("192.0.2.1/32") == "64500:9" })
	sent := status(t, p, "tor").Counters.UpdatesSent
	for range 3 {
		apply(t, p, changed)
	}
	// New times do not need a new session.
	slower := peer("tor", tor.own4, 64513, func(p *announce.Peer) { p.BothFamilies, p.Hold = true, 30*time.Second })
	apply(t, p, table(append([]announce.Peer{slower}, peers[1:]...), changed.Routes...))
	if after := status(t, p, "tor"); !after.Established() || after.Losses != before.Losses || after.Counters.UpdatesSent != sent {
		t.Errorf("the session is %+v, and before %+v", after, before)
	}
	// Without a peer the routes are gone, and others stay.
	apply(t, p, table(peers[1:], changed.Routes...))
	tor.has("203.0.113.0/24")
	core.has("192.0.2.1/32", "192.0.2.3/32")
	if s := status(t, p, "core"); s.Losses != 0 {
		t.Errorf("got %+v", s)
	}
	// The one that was the second with the same address takes its place.
	await(t, "the other BGPPeer of the router is up", func() bool { return status(t, p, "twice").Established() })
}

// checkLeaving: routers are asked to prefer other nodes before the routes go.
func checkLeaving(t *testing.T, tor *router, p *Plane, peers []announce.Peer) {
	want := table(peers, route("192.0.2.1/32", "64500:7"))
	apply(t, p, want)
	await(t, "the router has the route", func() bool { return tor.communities("192.0.2.1/32") == "64500:7" })
	// Not synced: nothing changes.
	apply(t, p, announce.Table{})
	gone := announce.Table{Revision: 2, Synced: true, Node: "node", Unavailable: "it is cordoned"}
	apply(t, p, gone)
	await(t, "the router is asked", func() bool {
		got := tor.communities("192.0.2.1/32")
		return strings.Contains(got, "graceful-shutdown") && strings.Contains(got, "64500:7")
	})
	// It stays after all.
	apply(t, p, want)
	await(t, "the router is not asked any more", func() bool { return tor.communities("192.0.2.1/32") == "64500:7" })
	// The routes to its own pods outlast those to Services.
	pods := table(peers, route("10.244.1.0/24", ""))
	pods.Unavailable = gone.Unavailable
	apply(t, p, pods)
	await(t, "the router is asked again", func() bool { return strings.Contains(tor.communities("192.0.2.1/32"), "graceful-shutdown") })
	tor.has("10.244.1.0/24", "203.0.113.0/24")
	if s := status(t, p, "core"); s.Losses != 0 {
		t.Errorf("got %+v", s)
	}
	apply(t, p, want)
	await(t, "the node is back", func() bool { return tor.communities("192.0.2.1/32") == "64500:7" })
	apply(t, p, gone)
	tor.has("203.0.113.0/24")
	await(t, "there are no sessions", func() bool { return len(p.Peers()) == 0 })
}
