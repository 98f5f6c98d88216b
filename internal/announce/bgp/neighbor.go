package bgp

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	wire "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/fairlead-net/fairlead/internal/desired"
)

const (
	usualHold = 90 * time.Second
	// usualConnect is how often a router is tried. RFC 4271 suggests two minutes, but
	// nobody else connects here, and a router that is back should be used.
	usualConnect = 10 * time.Second
	// restartTime is how long routers keep the routes of this process while it is gone
	// (RFC 4724, section 3).
	restartTime = 120
	// deferral is how long a process that has restarted waits for the routes of all
	// routers before it announces its own (RFC 4724, section 4.1), which do not depend
	// on them. GoBGP knows no less.
	deferral = 1
	// maxPrefixes is how many routes of a family a router may send.
	maxPrefixes = 50000
)

// neighbor is all of a session but the routes. It is comparable.
type neighbor struct {
	name            desired.Name
	address, source netip.Addr // with a zone if link-local
	port            uint16
	local, remote   uint32 // AS numbers
	password        string
	// In seconds.
	hold, keepalive, connect uint64
	multiHop, graceful       bool
	v4, v6                   bool
}

// neighbor returns the session of a peer, once it is known where the router is and
// what AS it is in.
func (w *wanted) neighbor(address, source netip.Addr, remote uint32) neighbor {
	n := neighbor{
		name: w.Name, address: address, source: source, port: w.Port, local: w.ASN, remote: remote, password: w.password,
		hold: seconds(w.Hold, usualHold), connect: seconds(w.Connect, usualConnect),
		multiHop: w.MultiHop, graceful: w.GracefulRestart,
	}
	third := time.Duration(n.hold) * time.Second / 3
	if n.keepalive = seconds(w.Keepalive, third); n.keepalive >= n.hold {
		n.keepalive = seconds(third, third) // or the router would lose the session each time
	}
	n.v4, n.v6 = w.families()
	return n
}

func seconds(d, usual time.Duration) uint64 {
	if d == 0 {
		d = usual
	}
	return uint64(max(d, time.Second) / time.Second)
}

// timers returns n with the times of another, which change without a new session.
func (n neighbor) timers(other neighbor) neighbor {
	n.hold, n.keepalive, n.connect = other.hold, other.keepalive, other.connect
	return n
}

// table is the name of the table of what this router is told.
func (n neighbor) table() string { return n.name.String() }

// key is what GoBGP knows the router by.
func (n neighbor) key() string { return n.address.String() }

func (n neighbor) external() bool { return n.local != n.remote }

// peer translates for GoBGP.
func (n neighbor) peer() *api.Peer {
	p := &api.Peer{
		Conf: &api.PeerConf{
			NeighborAddress: n.key(), LocalAsn: n.local, PeerAsn: n.remote, AuthPassword: n.password,
			Vrf: n.table(), Description: n.name.String(),
		},
		Timers: &api.Timers{Config: &api.TimersConfig{
			HoldTime: n.hold, KeepaliveInterval: n.keepalive, ConnectRetry: n.connect,
		}},
		Transport: &api.Transport{RemotePort: uint32(n.port)},
	}
	if n.source.IsValid() {
		p.Transport.LocalAddress = n.source.String()
	}
	if n.multiHop && n.external() {
		p.EbgpMultihop = &api.EbgpMultihop{Enabled: true, MultihopTtl: 255}
	}
	if n.graceful {
		// Packets are forwarded by the kernel, whatever becomes of this process, so it
		// always says that it has restarted and kept the forwarding state.
		p.GracefulRestart = &api.GracefulRestart{
			Enabled: true, RestartTime: restartTime, DeferralTime: deferral, NotificationEnabled: true, LocalRestarting: true,
		}
	}
	if n.v4 {
		p.AfiSafis = append(p.AfiSafis, n.family(api.Family_AFI_IP))
	}
	if n.v6 {
		p.AfiSafis = append(p.AfiSafis, n.family(api.Family_AFI_IP6))
	}
	return p
}

func (n neighbor) family(afi api.Family_Afi) *api.AfiSafi {
	f := &api.Family{Afi: afi, Safi: api.Family_SAFI_UNICAST}
	return &api.AfiSafi{
		Config:            &api.AfiSafiConfig{Family: f, Enabled: true},
		PrefixLimits:      &api.PrefixLimit{Family: f, MaxPrefixes: maxPrefixes},
		MpGracefulRestart: &api.MpGracefulRestart{Config: &api.MpGracefulRestartConfig{Enabled: n.graceful}},
	}
}

// path is a route with its next hop. Unspecified means this end of the session.
type path struct {
	told
	nextHop netip.Addr
}

// differ compares what a router is told with what it is to be told, both sorted by
// prefix: what is new or has changed, and what is no more.
func differ(before, now []path) (changed, gone []path) {
	for len(before) > 0 || len(now) > 0 {
		switch {
		case len(before) == 0:
			return append(changed, now...), gone
		case len(now) == 0:
			return changed, append(gone, before...)
		}
		switch c := before[0].prefix.Compare(now[0].prefix); {
		case c < 0:
			gone, before = append(gone, before[0]), before[1:]
		case c > 0:
			changed, now = append(changed, now[0]), now[1:]
		default:
			if before[0].nextHop != now[0].nextHop || !before[0].equal(now[0].told) {
				changed = append(changed, now[0])
			}
			before, now = before[1:], now[1:]
		}
	}
	return changed, gone
}

// surroundings is what this node has at the interface that a router is reached by.
type surroundings struct {
	name string
	// The addresses that a router can send packets to; not valid where there is none.
	v4, v6, linkLocal netip.Addr
	// direct tells that the router is on the same link, distant that another one is
	// between; neither is known without a route.
	direct, distant bool
}

// paths returns what a router is told, sorted by prefix. Problem says what it is not
// told, and why. Extended tells whether it takes IPv6 next hops for IPv4 (RFC 8950).
func (n neighbor) paths(routes []told, s surroundings, extended bool) (paths []path, problem string) {
	paths = make([]path, 0, len(routes))
	v4, v4Problem := n.nextHop4(s, extended)
	v6, v6Problem := n.nextHop6(s)
	missing := map[string]int{}
	for _, r := range routes {
		enabled, hop, problem := n.v4, v4, v4Problem
		if r.prefix.Addr().Is6() {
			enabled, hop, problem = n.v6, v6, v6Problem
		}
		switch {
		case !enabled:
		case problem != "":
			missing[problem]++
		default:
			paths = append(paths, path{r, hop})
		}
	}
	for text, count := range missing {
		problem = fmt.Sprintf("%d routes are not announced to this router: %s", count, text)
	}
	return paths, problem
}

// nextHop4 returns the next hop of IPv4 routes: this end of an IPv4 session, an
// address of the interface, or this end of an IPv6 session if the router takes that.
// Between neighbours without addresses the last is what is meant.
func (n neighbor) nextHop4(s surroundings, extended bool) (netip.Addr, string) {
	session := netip.IPv4Unspecified()
	switch {
	case n.address.Is4(), n.unnumbered() && extended:
		return session, ""
	case s.v4.IsValid():
		return s.v4, ""
	case extended:
		return session, ""
	}
	return netip.Addr{}, fmt.Sprintf("interface %s has no IPv4 address, and the router takes no IPv6 next hops for IPv4 routes (RFC 8950); give it one, or switch the capability extended-nexthop on at the router", s.name)
}

func (n neighbor) nextHop6(s surroundings) (netip.Addr, string) {
	switch {
	case n.address.Is6():
		return netip.IPv6Unspecified(), ""
	case s.v6.IsValid():
		return s.v6, ""
	}
	return netip.Addr{}, fmt.Sprintf("interface %s has no IPv6 address that could be their next hop; give it one", s.name)
}

func (n neighbor) unnumbered() bool { return n.address.Zone() != "" }

// translate turns a path into GoBGP's.
func translate(p path) (*apiutil.Path, error) {
	nlri, err := wire.NewIPAddrPrefix(p.prefix)
	if err != nil {
		return nil, fmt.Errorf("route %s: %w", p.prefix, err)
	}
	family := wire.RF_IPv4_UC
	if p.prefix.Addr().Is6() {
		family = wire.RF_IPv6_UC
	}
	reach, err := wire.NewPathAttributeMpReachNLRI(family, []wire.PathNLRI{{NLRI: nlri}}, p.nextHop)
	if err != nil {
		return nil, fmt.Errorf("route %s: %w", p.prefix, err)
	}
	attributes := []wire.PathAttributeInterface{
		wire.NewPathAttributeOrigin(wire.BGP_ORIGIN_ATTR_TYPE_IGP), reach,
		wire.NewPathAttributeLocalPref(p.localPref), // GoBGP leaves it out for other ASes
	}
	var standard []uint32
	var large []*wire.LargeCommunity
	for _, c := range p.communities {
		if c.Large {
			large = append(large, wire.NewLargeCommunity(c.Numbers[0], c.Numbers[1], c.Numbers[2]))
		} else {
			standard = append(standard, c.Numbers[0]<<16|c.Numbers[1])
		}
	}
	if len(standard) > 0 {
		attributes = append(attributes, wire.NewPathAttributeCommunities(standard))
	}
	if len(large) > 0 {
		attributes = append(attributes, wire.NewPathAttributeLargeCommunities(large))
	}
	return &apiutil.Path{Family: family, Nlri: nlri, Attrs: attributes, Age: time.Now().Unix()}, nil
}
