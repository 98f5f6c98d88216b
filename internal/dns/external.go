package dns

import (
	"net/netip"
	"slices"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// findExternal returns the node of a name given relative to an external zone:
// [ENDPOINT.|_PORT._PROTOCOL.]SERVICE.NAMESPACE, or what makes it a zone.
func (t *Table) findExternal(z *zone, relative string) node {
	labels, n, ok := split(relative)
	switch {
	case !ok || n > 4:
		return node{why: "no name of this zone has this form"}
	case n == 0:
		return node{kind: apex, why: "the zone of external addresses itself"}
	case labels[0] == z.apex && n == 1:
		return node{kind: empty, why: "only names below it exist"}
	case labels[0] == z.apex && n == 2 && labels[1] == "ns1":
		return node{kind: server, addresses: t.externalServer(), why: "this name server"}
	case labels[0] == z.apex:
		return node{kind: missed, why: "the only name below is that of the name server"}
	}
	_, exists := t.namespaces.Get(labels[0])
	switch {
	case !exists:
		return node{why: t.noNamespace()}
	case n == 1:
		return node{kind: empty, why: "a namespace: only names below it exist"}
	}
	s, ok := t.services.Get(desired.Name{Namespace: labels[0], Name: labels[1]})
	if !ok {
		return node{why: t.noService()}
	}
	return s.findExternal(labels[2:n], t.config.External.Headless)
}

// findExternal returns the node of a name given by its labels in front of the
// Service's own name, the last label first. CoreDNS answers any label in front
// with the Service's external addresses, which none of them has.
func (s *service) findExternal(labels []string, headless bool) node {
	if p := s.source.Published; p != nil {
		n := node{kind: whole, service: s, addresses: p.Addresses, why: "a Service with external addresses"}
		if len(p.Addresses) == 0 {
			// One name alone can be aliased to (RFC 2181, section 10.1).
			n.target, n.kind, n.why = p.Hostnames[0], alias, "a Service whose load balancer has a name"
		}
		return s.findPort(n, labels)
	}
	switch {
	case !headless || len(s.ready) == 0:
		return node{why: "the Service has no external address"}
	case len(labels) == 0 && !s.source.Headless:
		return node{kind: empty, why: "the Service has no external address, but names of endpoints below it"}
	case !s.source.Headless && (len(labels) != 1 || len(s.endpointsNamed(labels[0])) == 0):
		return node{why: "the Service has no external address, and no ready endpoint of this name"}
	}
	return s.below(labels)
}

// findPort returns the node of a name in front of that of a Service that has
// external addresses, or n itself.
func (s *service) findPort(n node, labels []string) node {
	switch {
	case len(labels) == 0:
		return n
	case len(labels) == 1 && s.hasPort("", unscore(labels[0]), false):
		return node{kind: empty, why: "a protocol: only the Service's named ports are below it"}
	case len(labels) == 2 && s.hasPort(unscore(labels[1]), unscore(labels[0]), false):
		n.kind, n.port, n.protocol, n.why = portion, unscore(labels[1]), unscore(labels[0]), "a named port of the Service"
		return n
	}
	return node{why: "the Service has no port of this name and protocol"}
}

// externalServer returns the external addresses at which clients reach this
// server: those of the Config's Server, and of all Services with its endpoints.
func (t *Table) externalServer() []netip.Addr {
	names := []desired.Name{t.config.Server}
	if s, ok := t.services.Get(t.config.Server); ok && len(s.ready) > 0 {
		_, endpoint := s.at(s.ready[0])
		users, _ := t.reverse.Get(endpoint.Address)
		names = append(names, users.endpoint...)
	}
	var addresses []netip.Addr
	for _, name := range names {
		s, ok := t.state.Services.Get(name)
		if !ok || s.Published == nil {
			continue
		}
		for _, address := range s.Published.Addresses {
			if !slices.Contains(addresses, address) {
				addresses = append(addresses, address)
			}
		}
	}
	if addresses == nil {
		return t.config.ServerAddresses
	}
	return addresses
}
