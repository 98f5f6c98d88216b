package bgp

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/osrg/gobgp/v4/api"

	"github.com/fairlead-net/fairlead/internal/announce"
	"github.com/fairlead-net/fairlead/internal/desired"
)

// TestNextHops: what a router is told as the next hop, and what it is not told.
func TestNextHops(t *testing.T) {
	four, six, local := netip.MustParseAddr("10.0.0.9"), netip.MustParseAddr("2001:db8::9"), netip.MustParseAddr("fe80::9")
	full := surroundings{name: "eth0", v4: four, v6: six, linkLocal: local}
	bare := surroundings{name: "eth0", linkLocal: local}
	routes := []told{{prefix: netip.MustParsePrefix("192.0.2.1/32")}, {prefix: netip.MustParsePrefix("2001:db8:1::/64")}}
	for name, c := range map[string]struct {
		address      string
		both         bool
		around       surroundings
		extended     bool
		want, untold string
	}{
		"IPv4":                      {"10.0.0.1", false, full, false, "192.0.2.1/32 0.0.0.0", ""},
		"IPv6":                      {"2001:db8::1", false, full, false, "2001:db8:1::/64 ::", ""},
		"both by IPv4":              {"10.0.0.1", true, full, false, "192.0.2.1/32 0.0.0.0, 2001:db8:1::/64 2001:db8::9", ""},
		"both by IPv6":              {"2001:db8::1", true, full, true, "192.0.2.1/32 10.0.0.9, 2001:db8:1::/64 ::", ""},
		"both by IPv4, no IPv6":     {"10.0.0.1", true, bare, true, "192.0.2.1/32 0.0.0.0", "1 routes are not announced to this router: interface eth0 has no IPv6 address"},
		"both by IPv6, no IPv4":     {"2001:db8::1", true, bare, false, "2001:db8:1::/64 ::", "extended-nexthop"},
		"both by IPv6, RFC 8950":    {"2001:db8::1", true, bare, true, "192.0.2.1/32 0.0.0.0, 2001:db8:1::/64 ::", ""},
		"unnumbered":                {"fe80::1%eth0", true, full, true, "192.0.2.1/32 0.0.0.0, 2001:db8:1::/64 ::", ""},
		"unnumbered, no RFC 8950":   {"fe80::1%eth0", true, full, false, "192.0.2.1/32 10.0.0.9, 2001:db8:1::/64 ::", ""},
		"unnumbered, nothing helps": {"fe80::1%eth0", true, bare, false, "2001:db8:1::/64 ::", "extended-nexthop"},
	} {
		p := peer("a", netip.MustParseAddr(c.address), 1, func(p *announce.Peer) { p.BothFamilies = c.both })
		w := wanted{Peer: p.Peer}
		paths, untold := w.neighbor(w.Address, netip.Addr{}, 1).paths(routes, c.around, c.extended)
		var got []string
		for _, path := range paths {
			got = append(got, fmt.Sprintf("%s %s", path.prefix, path.nextHop))
		}
		if text := strings.Join(got, ", "); text != c.want || (c.untold == "") != (untold == "") || !strings.Contains(untold, c.untold) {
			t.Errorf("%s: %s; %q; want %s; %q", name, text, untold, c.want, c.untold)
		}
	}
}

// TestPeer: what GoBGP is asked for.
func TestPeer(t *testing.T) {
	p := peer("tor", netip.MustParseAddr("10.0.0.1"), 64513, func(p *announce.Peer) {
		p.Source, p.Port, p.Hold, p.MultiHop, p.GracefulRestart, p.BothFamilies = netip.MustParseAddr("10.0.0.9"), 1179, 30*time.Second, true, true, true
	})
	w := wanted{Peer: p.Peer, password: "secret"}
	got := w.neighbor(w.Address, w.Source, 64513).peer()
	if c := got.Conf; c.NeighborAddress != "10.0.0.1" || c.PeerAsn != 64513 || c.LocalAsn != 64512 || c.AuthPassword != "secret" || c.Vrf != "lab/tor" {
		t.Errorf("got %v", c)
	}
	if c := got.Timers.Config; c.HoldTime != 30 || c.KeepaliveInterval != 10 || c.ConnectRetry != 2 {
		t.Errorf("got %v", c)
	}
	if got.Transport.LocalAddress != "10.0.0.9" || got.Transport.RemotePort != 1179 || got.EbgpMultihop.MultihopTtl != 255 {
		t.Errorf("got %v, %v", got.Transport, got.EbgpMultihop)
	}
	if g := got.GracefulRestart; !g.Enabled || !g.LocalRestarting || g.RestartTime != 120 || !g.NotificationEnabled {
		t.Errorf("got %v", g)
	}
	families := map[api.Family_Afi]bool{}
	for _, f := range got.AfiSafis {
		families[f.Config.Family.Afi] = f.MpGracefulRestart.Config.Enabled && f.PrefixLimits.MaxPrefixes == maxPrefixes
	}
	if !maps.Equal(families, map[api.Family_Afi]bool{api.Family_AFI_IP: true, api.Family_AFI_IP6: true}) {
		t.Errorf("got %v", families)
	}
	// A router would lose a session that is kept alive as seldom as it expires.
	p.Hold, p.Keepalive = 0, 2*time.Minute
	if c := w.neighbor(w.Address, w.Source, 64513).peer().Timers.Config; c.HoldTime != 90 || c.KeepaliveInterval != 30 {
		t.Errorf("got %v", c)
	}
	p.Hold, p.Keepalive = 9*time.Second, 8*time.Second
	if c := w.neighbor(w.Address, w.Source, 64513).peer().Timers.Config; c.HoldTime != 9 || c.KeepaliveInterval != 8 {
		t.Errorf("got %v", c)
	}
	// Of the same AS the number of hops does not matter, and without a word the times
	// are the usual ones.
	plain := wanted{Peer: &desired.Peer{ASN: 1, PeerASN: 1, Address: w.Address, MultiHop: true}}
	got = plain.neighbor(w.Address, netip.Addr{}, 1).peer()
	if c := got.Timers.Config; c.HoldTime != 90 || c.KeepaliveInterval != 30 || c.ConnectRetry != 10 || got.EbgpMultihop != nil || got.GracefulRestart != nil || got.Transport.LocalAddress != "" {
		t.Errorf("got %v", got)
	}
}

// TestTimers: other times alone are no other session.
func TestTimers(t *testing.T) {
	w := wanted{Peer: peer("a", netip.MustParseAddr("10.0.0.1"), 1).Peer}
	n := w.neighbor(w.Address, netip.Addr{}, 1)
	slow, other := n, n
	slow.hold, slow.keepalive, slow.connect = 1, 2, 3
	other.port++
	if slow.timers(n) != n || other.timers(n) == n {
		t.Error("timers is wrong")
	}
}

// TestDiffer compares with a second reading, on lists by chance.
func TestDiffer(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	list := func() (paths []path, by map[netip.Prefix]string) {
		by = map[netip.Prefix]string{}
		for n := range 20 {
			if random.IntN(2) == 0 {
				continue
			}
			p := path{told{prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}), 32)}, netip.IPv4Unspecified()}
			p.localPref = random.Uint32N(2)
			if random.IntN(3) == 0 {
				p.nextHop = netip.IPv6Unspecified()
			}
			p.communities = make([]desired.Community, random.IntN(2))
			paths, by[p.prefix] = append(paths, p), fmt.Sprint(p)
		}
		return paths, by
	}
	for range 1000 {
		before, was := list()
		now, is := list()
		changed, gone := differ(before, now)
		for _, p := range gone {
			delete(was, p.prefix)
		}
		for _, p := range changed {
			if was[p.prefix] == fmt.Sprint(p) {
				t.Fatalf("%v has not changed", p)
			}
			was[p.prefix] = fmt.Sprint(p)
		}
		if !maps.Equal(was, is) {
			t.Fatalf("%v and %v: changed %v, gone %v", before, now, changed, gone)
		}
	}
}

// TestMismatch: which AS numbers are taken.
func TestMismatch(t *testing.T) {
	fixed := wanted{Peer: peer("a", netip.MustParseAddr("10.0.0.1"), 64513).Peer}
	external := wanted{Peer: peer("a", netip.MustParseAddr("10.0.0.1"), 0).Peer}
	internal := wanted{Peer: peer("a", netip.MustParseAddr("10.0.0.1"), 0, func(p *announce.Peer) { p.Internal = true }).Peer}
	for _, c := range []struct {
		w    wanted
		as   uint32
		want string
	}{
		{fixed, 64513, ""}, {fixed, 64512, "says spec.peerASN: 64513"},
		{external, 64513, ""}, {external, 64512, "says spec.dynamicASN: external"},
		{internal, 64512, ""}, {internal, 64513, "says spec.dynamicASN: internal, which is spec.myASN, 64512"},
	} {
		if got := c.w.mismatch(c.as); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%d: %q, want %q", c.as, got, c.want)
		}
	}
}
