package announce

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// rules are what the pools, the advertisements, the peers and the node say, which
// counts for every Service. They are never changed.
type rules struct {
	node        string
	options     Options
	unavailable string
	pools       []*ruled // sorted by name
	offers      []desired.Name
	peers       []Peer
	routes      []Route // whatever Services there are
	reasons     []desired.Reason
}

// ruled is a pool with the advertisements that are for it; which of them cover a
// Service also depends on its labels.
type ruled struct {
	*desired.Pool
	l2  []*desired.L2Advertisement
	bgp []*way
}

// way is a BGPAdvertisement with its names resolved.
type way struct {
	*desired.BGPAdvertisement
	communities []desired.Community // sorted
	peers       []string            // sorted; nil means all
	// here tells whether this node makes it.
	here bool
}

// sameRules tells whether the rules of two States are the same.
func sameRules(a, b *desired.State) bool {
	x, y := a.Addressing, b.Addressing
	x.Claims, y.Claims = pmap.Map[netip.Addr, *desired.Claim]{}, pmap.Map[netip.Addr, *desired.Claim]{}
	return a.Node.Name == b.Node.Name && a.Node.About == b.Node.About && x == y && slices.Equal(a.ServiceCIDRs, b.ServiceCIDRs)
}

func newRules(s *desired.State, o Options) *rules {
	r := &rules{node: s.Node.Name, options: o}
	switch about := s.Node.About; {
	case about == nil:
		r.unavailable = "the Node object of " + s.Node.Name + " has not been read from the API server yet"
	case about.Unavailable != "":
		r.unavailable = "node " + s.Node.Name + " announces nothing: " + about.Unavailable
	}
	for _, p := range sorted(s.Addressing.Pools) {
		r.pools = append(r.pools, &ruled{Pool: p})
	}
	r.l2(s)
	r.bgp(s)
	r.connect(s)
	r.ranges(s)
	return r
}

// ranges adds the routes that do not depend on Services.
func (r *rules) ranges(s *desired.State) {
	if r.options.Routes.ClusterIPs && r.unavailable == "" {
		for _, p := range s.ServiceCIDRs {
			r.routes = append(r.routes, Route{Prefix: p})
		}
	}
	if r.options.Routes.PodCIDRs && s.Node.About != nil {
		for _, p := range s.Node.About.PodCIDRs {
			r.routes = append(r.routes, Route{Prefix: p})
		}
	}
}

// here tells whether this node is one of those that selectors are for.
func (r *rules) here(s *desired.State, selectors desired.Selectors) bool {
	return r.unavailable == "" && selectors.Match(s.Node.About.Labels)
}

// owner returns the first pool that has an address, or nil: pools are sorted by
// name, and where two overlap the first gives the address.
func (r *rules) owner(a netip.Addr) *ruled {
	for _, p := range r.pools {
		if p.Contains(a) {
			return p
		}
	}
	return nil
}

// sorted returns the values of a map by the names that are their keys.
func sorted[V comparable](m pmap.Map[desired.Name, V]) []V {
	names := make([]desired.Name, 0, m.Len())
	for name := range m.All() {
		names = append(names, name)
	}
	slices.SortFunc(names, desired.Name.Compare)
	values := make([]V, 0, len(names))
	for _, name := range names {
		value, _ := m.Get(name)
		values = append(values, value)
	}
	return values
}

func (r *rules) l2(s *desired.State) {
	for i, a := range sorted(s.Addressing.L2Advertisements) {
		if i >= MaxOffers {
			r.add("L2Advertisement", a.Name, "TooManyAdvertisements",
				"it is not used, because nodes tell each other of %d L2Advertisements at most, of which this is one more; join some that have the same nodeSelectors", MaxOffers)
			continue
		}
		for _, p := range r.covered("L2Advertisement", &a.Advertised) {
			p.l2 = append(p.l2, a)
		}
		if r.here(s, a.NodeSelectors) {
			r.offers = append(r.offers, a.Name)
		}
	}
}

// covered returns the pools that an advertisement is for, Services apart.
func (r *rules) covered(kind string, a *desired.Advertised) []*ruled {
	anyService := *a
	anyService.ServiceSelectors = nil
	var pools []*ruled
	for _, p := range r.pools {
		if anyService.Covers(p.Pool, nil) {
			pools = append(pools, p)
		}
	}
	for _, name := range a.Pools {
		if !slices.ContainsFunc(r.pools, func(p *ruled) bool { return p.Name.Name == name }) {
			r.add(kind, a.Name, "PoolNotFound", "spec.ipAddressPools: there is no IPAddressPool %q, so nothing is announced for it; create it or correct the name", name)
		}
	}
	return pools
}

func (r *rules) bgp(s *desired.State) {
	known := communities(s)
	for _, a := range sorted(s.Addressing.BGPAdvertisements) {
		w := &way{BGPAdvertisement: a, communities: slices.Clone(a.Communities), here: r.here(s, a.NodeSelectors)}
		for _, alias := range a.Aliases {
			if c, ok := known[alias]; ok {
				w.communities = append(w.communities, c)
				continue
			}
			// A community often tells where a route must not go.
			w.here = false
			r.add("BGPAdvertisement", a.Name, "CommunityNotFound",
				"spec.communities: %q is neither ASN:NUMBER nor large:ASN:NUMBER:NUMBER nor a name in a Community object, so nothing is announced by this BGPAdvertisement, as it would go further than it should; correct it", alias)
		}
		slices.SortFunc(w.communities, compareCommunities)
		w.communities = slices.Compact(w.communities)
		r.name(s, w)
		for _, p := range r.covered("BGPAdvertisement", &a.Advertised) {
			r.fit(w, p)
			p.bgp = append(p.bgp, w)
		}
	}
}

// communities returns what the names of all Community objects stand for. Of
// objects that explain the same name the first by name counts.
func communities(s *desired.State) map[string]desired.Community {
	known := map[string]desired.Community{}
	for _, object := range sorted(s.Addressing.Communities) {
		for name, value := range object.Values {
			if _, has := known[name]; !has {
				known[name] = value
			}
		}
	}
	return known
}

// name finds the peers that an advertisement is for. If there is none of them it
// is for nobody.
func (r *rules) name(s *desired.State, w *way) {
	for _, name := range w.BGPAdvertisement.Peers {
		if _, ok := s.Addressing.Peers.Get(desired.Name{Namespace: w.Name.Namespace, Name: name}); !ok {
			r.add("BGPAdvertisement", w.Name, "PeerNotFound", "spec.peers: there is no BGPPeer %q, so nothing is announced to it; create it or correct the name", name)
			continue
		}
		w.peers = append(w.peers, name)
	}
	slices.Sort(w.peers)
	w.peers = slices.Compact(w.peers)
	w.here = w.here && (len(w.peers) > 0 || len(w.BGPAdvertisement.Peers) == 0)
}

// fit tells where a pool does not have all of the prefixes that its addresses are
// to be announced in.
func (r *rules) fit(w *way, p *ruled) {
	for _, one := range p.Ranges {
		bits, field := w.Bits4, "spec.aggregationLength"
		if one.First.Is6() {
			bits, field = w.Bits6, "spec.aggregationLengthV6"
		}
		for _, end := range []netip.Addr{one.First, one.Last} {
			if prefix := netip.PrefixFrom(end, bits).Masked(); prefixOf(p.Pool, end, bits) != prefix {
				r.add("BGPAdvertisement", w.Name, "AggregationTooWide",
					"%s is %d, but pool %s does not have all of %s; addresses in it are announced by themselves, lest traffic for others comes here; announce longer prefixes, or add addresses to the pool", field, bits, p.Name.Name, prefix)
				return
			}
		}
	}
}

// connect finds the routers that this node connects to.
func (r *rules) connect(s *desired.State) {
	for _, p := range sorted(s.Addressing.Peers) {
		peer := Peer{Peer: p, Password: p.Password}
		if p.BFD != "" {
			profile, ok := s.Addressing.BFDProfiles.Get(desired.Name{Namespace: p.Name.Namespace, Name: p.BFD})
			if !ok {
				r.add("BGPPeer", p.Name, "BFDProfileNotFound",
					"spec.bfdProfile: there is no BFDProfile %q, so the session is made without BFD, and the loss of the router is noticed only after the hold time; create it or correct the name", p.BFD)
			}
			peer.BFD = profile
		}
		if secret := p.PasswordSecret; secret.Name != "" {
			password, _ := s.Addressing.Passwords.Get(secret)
			peer.Password = string(password)
			switch {
			case password != "":
			case s.Addressing.PasswordsUnread:
				peer.Refused = fmt.Sprintf("spec.passwordSecret: the Secrets of namespace %s have not been read yet; if this lasts, the nodes' ServiceAccount may not list them there, and fairlead upgrade makes the Role that allows it", secret.Namespace)
			default:
				peer.Refused = fmt.Sprintf("spec.passwordSecret: there is no Secret %s of type kubernetes.io/basic-auth with a password; create it or correct the name", secret)
			}
		}
		// Pods stay where they are when the node may not announce Services any more.
		here := r.here(s, p.NodeSelectors) || r.options.Routes.PodCIDRs && s.Node.About != nil && p.NodeSelectors.Match(s.Node.About.Labels)
		if p.Usable() && here {
			r.peers = append(r.peers, peer)
		}
	}
}

func (r *rules) add(kind string, name desired.Name, code, format string, args ...any) {
	r.reasons = append(r.reasons, desired.Reason{
		Object: desired.Ref{Kind: kind, Namespace: name.Namespace, Name: name.Name}, Code: code, Message: fmt.Sprintf(format, args...),
	})
}

// vias returns the L2Advertisements that cover a Service's addresses of a pool.
func (p *ruled) vias(s *desired.Service) []L2Via {
	var vias []L2Via
	for _, a := range p.l2 {
		if a.ServiceSelectors.Match(s.Balancer.Labels) {
			vias = append(vias, L2Via{a.Name, a.Interfaces})
		}
	}
	return vias
}

// ways returns the BGPAdvertisements that do.
func (p *ruled) ways(s *desired.Service) []*way {
	var ways []*way
	for _, w := range p.bgp {
		if w.ServiceSelectors.Match(s.Balancer.Labels) {
			ways = append(ways, w)
		}
	}
	return ways
}

func (w *way) route(p *desired.Pool, a netip.Addr, services []desired.Name) Route {
	bits := w.Bits4
	if a.Is6() {
		bits = w.Bits6
	}
	return Route{Prefix: prefixOf(p, a, bits), LocalPref: w.LocalPref, Communities: w.communities, Peers: w.peers, Services: services}
}

// unannounced says that nobody can reach an address, and what is missing.
func unannounced(s *desired.Service, a netip.Addr, p *ruled) desired.Reason {
	what := "create one for the pool"
	if names := p.advertisements(); len(names) > 0 {
		what = "those for the pool (" + strings.Join(names, ", ") + ") are for Services with other labels (spec.serviceSelectors); change one of them, or the Service's labels"
	}
	return desired.Reason{
		Object: desired.Ref{Kind: "Service", Namespace: s.Name.Namespace, Name: s.Name.Name}, Code: "AddressNotAnnounced",
		Message: fmt.Sprintf("the Service has address %s of pool %s, which no L2Advertisement or BGPAdvertisement announces, so clients outside the cluster cannot find it; %s", a, p.Name.Name, what),
	}
}

func (p *ruled) advertisements() []string {
	var names []string
	for _, a := range p.l2 {
		names = append(names, a.Name.Name)
	}
	for _, w := range p.bgp {
		names = append(names, w.Name.Name)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if most := 5; len(names) > most {
		names = append(names[:most], fmt.Sprintf("%d more", len(names)-most))
	}
	return names
}
