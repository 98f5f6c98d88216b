package dns

import (
	"net/netip"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// serviceAddresses adds the addresses of a Service, of its endpoints that have
// a port, or of one endpoint name, if A or AAAA was asked for.
func (r *reply) serviceAddresses(owner string, n node) {
	if r.asked.Type != TypeA && r.asked.Type != TypeAAAA {
		return
	}
	s := n.service
	if !n.listed {
		r.addresses(owner, n.addresses)
		return
	}
	var seen map[netip.Addr]bool
	if s.repeated {
		seen = make(map[netip.Addr]bool, len(n.endpoints))
	}
	for _, at := range n.endpoints {
		slice, e := s.at(at)
		if seen[e.Address] || e.Address.Is4() != (r.asked.Type == TypeA) || (n.kind == portion && !slicePort(slice, n)) {
			continue
		}
		if seen != nil {
			seen[e.Address] = true
		}
		r.add(r.address(owner, e.Address))
	}
}

// slicePort reports whether a slice has the port of a portion.
func slicePort(slice *desired.Slice, n node) bool {
	for _, p := range slice.Ports {
		if matches(p.Name, p.Protocol, n.port, n.protocol) {
			return true
		}
	}
	return false
}

// offer is one choice that SRV records give: a port at an address of a target.
type offer struct {
	target  string
	address netip.Addr
	port    uint16
}

// services adds SRV records: one per target and port, all with priority 0 and
// an equal share of 100 as weight, and the targets' addresses.
func (r *reply) services(owner string, n node) {
	offers := r.zone.offers(n)
	if len(offers) == 0 {
		return
	}
	weight := uint16(max(1, 100/len(offers)))
	type choice struct {
		target string
		port   uint16
	}
	type glue struct {
		target  string
		address netip.Addr
	}
	choices, glues := make(map[choice]bool, len(offers)), make(map[glue]bool, len(offers))
	for _, o := range offers {
		if c := (choice{o.target, o.port}); !choices[c] {
			choices[c] = true
			r.add(Record{Name: owner, Type: TypeSRV, TTL: r.zone.ttl, Weight: weight, Port: o.port, Target: o.target})
		}
		if g := (glue{o.target, o.address}); o.address.IsValid() && !glues[g] {
			glues[g] = true
			r.Additional = append(r.Additional, r.address(o.target, o.address))
		}
	}
}

func (z *zone) offers(n node) []offer {
	s := n.service
	name := z.serviceName(s.source.Name)
	var offers []offer
	if !n.listed {
		for _, p := range s.source.Ports {
			if n.kind == portion && !matches(p.Name, p.Protocol, n.port, n.protocol) {
				continue
			}
			for _, address := range n.addresses {
				offers = append(offers, offer{name, address, p.Port})
			}
			if n.target != "" {
				// Who asks finds the target's addresses elsewhere.
				offers = append(offers, offer{target: n.target + ".", port: p.Port})
			}
		}
		return offers
	}
	for _, at := range n.endpoints {
		slice, e := s.at(at)
		target := ""
		for _, p := range slice.Ports {
			if n.kind == portion && !matches(p.Name, p.Protocol, n.port, n.protocol) {
				continue
			}
			if target == "" {
				target = s.label(slice, e) + "." + name
			}
			offers = append(offers, offer{target, e.Address, p.Port})
		}
	}
	return offers
}
