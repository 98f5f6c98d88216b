package announce

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// part is what one Service contributes to a Table.
type part struct {
	l2      []L2Address
	routes  []Route
	reasons []desired.Reason
}

// part returns what a Service contributes, or nil if that is nothing. Its addresses
// are those in its status that a pool has, also with ipMode: Proxy, which says how
// the cluster treats an address and nothing about where clients find it.
func (r *rules) part(s *desired.Service) *part {
	p := &part{}
	services := []desired.Name{s.Name}
	var known [2]*places
	placesFor := func(address netip.Addr) *places {
		family := 0
		if address.Is6() {
			family = 1
		}
		if known[family] == nil {
			known[family] = placesOf(s, address.Is6())
		}
		return known[family]
	}
	for _, address := range r.options.external(s) {
		if r.unavailable == "" && placesFor(address).serves(s, r.node) {
			p.routes = append(p.routes, Route{Prefix: netip.PrefixFrom(address, address.BitLen()), Services: services})
		}
	}
	var ingress []netip.Addr
	if r.options.balances(s) {
		ingress = s.Balancer.Ingress
	}
	for i, address := range ingress {
		pool := r.owner(address)
		if pool == nil || slices.Contains(ingress[:i], address) {
			continue
		}
		where := placesFor(address)
		vias := pool.vias(s)
		if len(vias) > 0 {
			one := L2Address{Address: address, Services: services, By: vias}
			if s.ExternalLocal {
				one.Nodes = where.nodes
			}
			p.l2 = append(p.l2, one)
		}
		ways := pool.ways(s)
		if where.serves(s, r.node) {
			for _, w := range ways {
				if w.here {
					p.routes = append(p.routes, w.route(pool.Pool, address, services))
				}
			}
		}
		if len(vias)+len(ways) == 0 {
			p.reasons = append(p.reasons, unannounced(s, address, pool))
		}
	}
	if len(p.l2)+len(p.routes)+len(p.reasons) == 0 {
		return nil
	}
	return p
}

func (p *part) equal(other *part) bool {
	return slices.EqualFunc(p.l2, other.l2, L2Address.equal) && slices.Equal(p.reasons, other.reasons) &&
		slices.EqualFunc(p.routes, other.routes, func(a, b Route) bool { return a.compare(&b) == 0 })
}

// places are where a Service has endpoints of one family that take connections:
// those that are ready, or if none is those that are terminating but still serve
// (KEP-1669).
type places struct {
	any   bool
	nodes []string // sorted; not nil
}

func placesOf(s *desired.Service, ipv6 bool) *places {
	ready := where(s, ipv6, func(e *desired.Endpoint) bool { return e.Ready })
	if ready.any {
		return ready
	}
	return where(s, ipv6, func(e *desired.Endpoint) bool { return e.Serving && e.Terminating })
}

func where(s *desired.Service, ipv6 bool, takes func(*desired.Endpoint) bool) *places {
	p := &places{nodes: []string{}}
	for _, slice := range s.Slices {
		if slice.IPv6 != ipv6 || slice.Headless || !offersAny(slice, s.Ports) {
			continue
		}
		for i := range slice.Endpoints {
			if e := &slice.Endpoints[i]; takes(e) {
				p.any = true
				if e.Node != "" {
					p.nodes = append(p.nodes, e.Node)
				}
			}
		}
	}
	slices.Sort(p.nodes)
	p.nodes = slices.Compact(p.nodes)
	return p
}

func offersAny(slice *desired.Slice, ports []desired.Port) bool {
	return slices.ContainsFunc(ports, func(p desired.Port) bool {
		_, ok := slice.Port(p.Name, p.Protocol)
		return ok
	})
}

// serves tells whether what arrives at a node from outside finds an endpoint.
func (p *places) serves(s *desired.Service, node string) bool {
	if !s.ExternalLocal {
		return p.any
	}
	_, found := slices.BinarySearch(p.nodes, node)
	return found
}

func (a L2Address) equal(b L2Address) bool {
	return a.Address == b.Address && slices.Equal(a.Services, b.Services) && slices.EqualFunc(a.By, b.By, sameVia) &&
		(a.Nodes == nil) == (b.Nodes == nil) && slices.Equal(a.Nodes, b.Nodes)
}

// unite makes one of an address that two Services share. The node must have
// endpoints of both where externalTrafficPolicy: Local demands it of both; if none
// has, one of them is better than nothing.
func (a *L2Address) unite(b *L2Address) {
	a.Services = append(slices.Clip(a.Services), b.Services...)
	a.By = append(slices.Clip(a.By), b.By...)
	slices.SortFunc(a.By, func(x, y L2Via) int { return x.Advertisement.Compare(y.Advertisement) })
	a.By = slices.CompactFunc(a.By, func(x, y L2Via) bool { return x.Advertisement == y.Advertisement })
	switch {
	case b.Nodes == nil:
	case a.Nodes == nil:
		a.Nodes = b.Nodes
	default:
		a.Nodes = both(a.Nodes, b.Nodes)
	}
}

// both returns what is in two sorted lists, or if that is nothing what is in one
// of them.
func both(a, b []string) []string {
	common := slices.DeleteFunc(slices.Clone(a), func(name string) bool {
		_, found := slices.BinarySearch(b, name)
		return !found
	})
	if len(common) > 0 {
		return common
	}
	union := append(slices.Clone(a), b...)
	slices.Sort(union)
	return slices.Compact(union)
}

// compare orders routes by prefix, then by attributes; those that compare as
// equal are the same but for their Services.
func (r *Route) compare(other *Route) int {
	if order := r.Prefix.Compare(other.Prefix); order != 0 {
		return order
	}
	return cmp.Or(cmp.Compare(r.LocalPref, other.LocalPref), slices.CompareFunc(r.Communities, other.Communities, compareCommunities),
		slices.CompareFunc(r.Peers, other.Peers, strings.Compare))
}

func (r *Route) unite(other *Route) {
	r.Services = append(slices.Clip(r.Services), other.Services...)
	slices.SortFunc(r.Services, desired.Name.Compare)
	r.Services = slices.Compact(r.Services)
}

func compareCommunities(a, b desired.Community) int {
	if a.Large != b.Large {
		if b.Large {
			return -1
		}
		return 1
	}
	return slices.Compare(a.Numbers[:], b.Numbers[:])
}

// prefixOf returns the prefix with so many bits that an address is in, or the
// address alone if the pool does not have all of the prefix: nobody may draw
// traffic that is not for its addresses.
func prefixOf(p *desired.Pool, a netip.Addr, bits int) netip.Prefix {
	prefix := netip.PrefixFrom(a, bits).Masked()
	for _, r := range p.Ranges {
		if r.Contains(prefix.Addr()) && r.Contains(lastOf(prefix)) {
			return prefix
		}
	}
	return netip.PrefixFrom(a, a.BitLen())
}

// lastOf returns the last address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	bytes := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(bytes)*8; bit++ {
		bytes[bit/8] |= 1 << (7 - bit%8)
	}
	last, _ := netip.AddrFromSlice(bytes)
	return last
}
