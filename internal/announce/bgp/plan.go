package bgp

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/fairlead-net/fairlead/internal/announce"
	"github.com/fairlead-net/fairlead/internal/desired"
)

const (
	// usualLocalPref is what RFC 4271 leaves to implementations, and all have.
	usualLocalPref = 100
	// maxPassword is the size of the key that Linux takes for TCP MD5 signatures.
	maxPassword = 80
)

// plan is what a Table asks of this package. It and all it points to are immutable.
type plan struct {
	// routerID is what the peers ask for; not valid means that they do not care.
	routerID netip.Addr
	peers    []wanted // sorted by name
}

// wanted is one router with what it is to be told.
type wanted struct {
	*desired.Peer
	bfd      *desired.BFDProfile
	password string
	routes   []told // sorted by prefix, each once
	// refused says why no session is made, or is empty.
	refused string
}

// told is a route that a router is told.
type told struct {
	prefix netip.Prefix
	attributes
}

func (a told) equal(b told) bool {
	return a.prefix == b.prefix && a.localPref == b.localPref && slices.Equal(a.communities, b.communities)
}

// attributes are those of a route that depend on the user.
type attributes struct {
	localPref   uint32
	communities []desired.Community // sorted, each once
}

// compile turns a Table into a plan.
func compile(t announce.Table) plan {
	var p plan
	names := map[string]bool{}
	if byPrefix := func(a, b announce.Route) int { return a.Prefix.Compare(b.Prefix) }; !slices.IsSortedFunc(t.Routes, byPrefix) {
		t.Routes = slices.SortedFunc(slices.Values(t.Routes), byPrefix)
	}
	for _, peer := range t.Peers {
		w := wanted{Peer: peer.Peer, bfd: peer.BFD, password: peer.Password, routes: routes(t.Routes, peer.Name.Name)}
		w.refused = cmp.Or(peer.Refused, unusable(w))
		if w.refused == "" && !p.routerID.IsValid() {
			p.routerID = w.RouterID
		}
		p.peers = append(p.peers, w)
	}
	for i := range p.peers {
		w := &p.peers[i]
		switch key := w.place(); {
		case w.refused != "":
		case names[key]:
			w.refused = "another BGPPeer for this node has the same " + key + ", and a node has one session with a router; delete one of them, or restrict their spec.nodeSelectors"
		case w.RouterID.IsValid() && w.RouterID != p.routerID:
			w.refused = fmt.Sprintf("spec.routerID is %s, but another BGPPeer for this node says %s, and a node has one router ID; make them the same", w.RouterID, p.routerID)
		default:
			names[key] = true
		}
	}
	return p
}

// place is where a router is, in the words of the object.
func (w *wanted) place() string {
	if w.Interface != "" {
		return "spec.interface " + w.Interface
	}
	return "spec.peerAddress " + w.Address.String()
}

// unusable says why no session can be made with a peer, whatever the others are.
func unusable(w wanted) string {
	switch a := w.Address; {
	case w.VRF != "":
		return "spec.vrf: sessions inside a VRF of the node are not supported; take it out, or use a router that is reached without it"
	case len(w.password) > maxPassword:
		return fmt.Sprintf("the password has %d bytes, and TCP MD5 signatures take %d at most; shorten it at both ends", len(w.password), maxPassword)
	case !a.IsValid():
		return ""
	case a.IsLinkLocalUnicast() && a.Is6():
		return "spec.peerAddress is link-local, which does not say on which interface; name that in spec.interface instead"
	case a.IsUnspecified(), a.IsMulticast():
		return fmt.Sprintf("spec.peerAddress %s is no address of a router", a)
	}
	return ""
}

// families tells which routes a router is told: those of the family of the session,
// or both. A session without addresses of its own is for both.
func (w *wanted) families() (v4, v6 bool) {
	if w.BothFamilies || w.Interface != "" {
		return true, true
	}
	return w.Address.Is4(), w.Address.Is6()
}

// routes returns what a peer is told, of routes that are sorted by prefix. Of several
// for one prefix the communities are united, and the highest preference counts.
func routes(all []announce.Route, peer string) []told {
	list := make([]told, 0, len(all))
	for i := range all {
		r := &all[i]
		if r.Peers != nil && !slices.Contains(r.Peers, peer) {
			continue
		}
		preference := r.LocalPref
		if preference == 0 {
			preference = usualLocalPref
		}
		if n := len(list); n > 0 && list[n-1].prefix == r.Prefix {
			last := &list[n-1]
			last.localPref = max(last.localPref, preference)
			last.communities = tidy(append(slices.Clone(last.communities), r.Communities...))
			continue
		}
		list = append(list, told{r.Prefix, attributes{preference, tidy(r.Communities)}})
	}
	return list
}

// tidy sorts communities, and leaves each once; it does not write to its argument.
func tidy(communities []desired.Community) []desired.Community {
	for i := range len(communities) - 1 {
		if order(communities[i], communities[i+1]) >= 0 {
			return slices.Clip(slices.Compact(slices.SortedFunc(slices.Values(communities), order)))
		}
	}
	return communities
}

func order(a, b desired.Community) int {
	if a.Large != b.Large {
		if a.Large {
			return 1
		}
		return -1
	}
	return slices.Compare(a.Numbers[:], b.Numbers[:])
}

// gracefulShutdown asks routers to prefer other nodes (RFC 8326).
func gracefulShutdown() desired.Community {
	return desired.Community{Numbers: [3]uint32{0xffff, 0}}
}

// leaving returns the plan by which routers are asked to use other nodes first,
// before the routes are withdrawn. The preference is for those of the same AS
// (RFC 8326, section 4.3).
func (p plan) leaving() plan {
	p.peers = slices.Clone(p.peers)
	for i := range p.peers {
		last := slices.Clone(p.peers[i].routes)
		for j, a := range last {
			last[j].attributes = attributes{0, tidy(append(slices.Clone(a.communities), gracefulShutdown()))}
		}
		p.peers[i].routes = last
	}
	return p
}

// announces tells whether anything is announced by a plan.
func (p plan) announces() bool {
	return slices.ContainsFunc(p.peers, func(w wanted) bool { return w.refused == "" && len(w.routes) > 0 })
}

// hashedRouterID makes a router ID of the name of a node that has no IPv4 address
// (RFC 6286: any number but 0 that is unique in the AS). Names differ, so that their
// hashes do too, all but certainly: among 1,000 nodes with one chance in 8,000.
func hashedRouterID(node string) netip.Addr {
	h := xxhash.Sum64String(node)
	id := [4]byte{byte(h >> 24), byte(h >> 16), byte(h >> 8), byte(h)}
	if id == [4]byte{} {
		id[3] = 1
	}
	return netip.AddrFrom4(id)
}
