package dns

import (
	"strings"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// The labels of names for a headless Service's endpoints in one topology zone, as
// CoreDNS has them: ZONE.pin._zone.SERVICE.NAMESPACE.svc, or prefer for pin. The
// name of a zone may have dots.
const (
	zonalLabel  = "_zone"
	zonalPin    = "pin"    // the endpoints there
	zonalPrefer = "prefer" // the endpoints there, or all if there are none
)

// findZonal returns the node of a name of this form, and whether it is one.
func (t *Table) findZonal(relative string) (node, bool) {
	var labels [5]string // svc, namespace, Service, _zone, pin or prefer
	rest, n, more := relative, 0, relative != ""
	for more && n < len(labels) {
		at := strings.LastIndexByte(rest, '.')
		labels[n], rest, more = rest[at+1:], rest[:max(at, 0)], at >= 0
		n++
	}
	directive := labels[4]
	if n < 4 || labels[0] != "svc" || labels[3] != zonalLabel || n == 5 && directive != zonalPin && directive != zonalPrefer ||
		strings.IndexByte(relative, '\\') >= 0 {
		return node{}, false
	}
	if !t.exposes(labels[1]) {
		return node{why: t.noNamespace()}, true
	}
	s, ok := t.services.Get(desired.Name{Namespace: labels[1], Name: labels[2]})
	switch {
	case !ok:
		return node{why: t.noService()}, true
	case s.source.Type == desired.ExternalName || !s.source.Headless:
		return node{why: "only headless Services have names for zones"}, true
	case len(s.ready) == 0:
		return node{why: "the Service is headless and has no ready endpoint"}, true
	case n < 5 || !more:
		return node{kind: empty, why: "only names of zones are below it"}, true
	}
	return s.inZone(rest, directive == zonalPrefer), true
}

// inZone returns the node of the ready endpoints in a topology zone. One where
// there are none is a name all the same, whether the zone exists or not.
func (s *service) inZone(zone string, prefer bool) node {
	found := node{kind: endpoint, service: s, listed: true, why: "the Service's ready endpoints in this zone"}
	for _, at := range s.ready {
		if _, e := s.at(at); strings.EqualFold(e.Zone, zone) {
			found.endpoints = append(found.endpoints, at)
		}
	}
	switch {
	case len(found.endpoints) > 0:
	case prefer:
		found.endpoints, found.why = s.ready, "all ready endpoints of the Service, as there is none in this zone"
	default:
		found.why = "the Service has no ready endpoint in this zone"
	}
	return found
}
