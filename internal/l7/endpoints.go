package l7

import (
	"net/netip"
	"slices"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// candidate is an endpoint, with what its EndpointSlice says of it.
type candidate struct {
	Endpoint
	source *desired.Endpoint
}

// endpointsOf returns the endpoints of a port, sorted: those that are ready, and
// those that end but still answer, which are drained (KEP-1669). A pod with addresses
// of two families is one endpoint, at its Service's first family.
func endpointsOf(s *desired.Service, port desired.Port, by nearness) []Endpoint {
	var of [2][]candidate
	for _, slice := range s.Slices {
		number, offered := slice.Port(port.Name, port.Protocol)
		if !offered || slice.Headless {
			continue
		}
		for i := range slice.Endpoints {
			if e := &slice.Endpoints[i]; e.Ready || e.Serving && e.Terminating {
				family := boolean(slice.IPv6)
				made := Endpoint{Address: netip.AddrPortFrom(e.Address, number), Draining: e.Terminating, Zone: e.Zone}
				of[family] = append(of[family], candidate{made, e})
			}
		}
	}
	family := 0
	if len(s.Addresses) > 0 && s.Addresses[0].Is6() {
		family = 1
	}
	all := of[family]
	if len(all) == 0 {
		all = of[1-family]
	}
	slices.SortFunc(all, func(a, b candidate) int { return a.Address.Compare(b.Address) })
	// An endpoint can be in two slices for a while.
	all = slices.CompactFunc(all, func(a, b candidate) bool { return a.Address == b.Address })
	by.mark(all)
	var made []Endpoint
	for i := range all {
		made = append(made, all[i].Endpoint)
	}
	return made
}

// nearness says which endpoints are near a gateway.
type nearness struct {
	node  desired.Node
	zones Zones
}

func (b *Balance) zones() Zones {
	if b == nil {
		return ByHints
	}
	return b.Zones
}

// mark finds out which endpoints are far. By hints it is as for Services: they count
// only where every endpoint has them, those for nodes before those for zones, and only
// if there is one for this gateway.
func (n nearness) mark(all []candidate) {
	switch n.zones {
	case OwnZone:
		n.keep(all, n.node.Zone, func(e *desired.Endpoint) []string { return []string{e.Zone} })
	case ByHints:
		_ = n.keep(all, n.node.Name, func(e *desired.Endpoint) []string { return e.ForNodes }) ||
			n.keep(all, n.node.Zone, func(e *desired.Endpoint) []string { return e.ForZones })
	}
}

// keep marks all as far that are not for here, and reports whether there are such that
// are. If for one it is not known, nothing is done; those that drain play no part.
func (n nearness) keep(all []candidate, here string, places func(*desired.Endpoint) []string) bool {
	near := false
	for i := range all {
		if c := &all[i]; !c.Draining {
			of := places(c.source)
			if here == "" || len(of) == 0 {
				return false
			}
			near = near || slices.Contains(of, here)
		}
	}
	for i := range all {
		all[i].Far = near && !slices.Contains(places(all[i].source), here)
	}
	return near
}
