package dns

import (
	"slices"
	"strings"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// importedVersion is what dns-version answers in zones of ServiceImports
// (KEP-1645, specification, section 1).
const importedVersion = "1.0.0"

// findImported returns the node of a name given relative to a zone of
// ServiceImports.
func (t *Table) findImported(relative string) node {
	labels, n, ok := split(relative)
	switch {
	case !ok:
		return node{why: "no name of this zone has this form"}
	case n == 0:
		return node{kind: apex, why: "the zone of Services of several clusters itself"}
	case labels[0] != "svc":
		return t.findOwn(labels, n)
	case n == 1:
		return node{kind: empty, why: "only names below it exist"}
	}
	if _, exists := t.namespaces.Get(labels[1]); !exists {
		return node{why: t.noNamespace()}
	}
	if n == 2 {
		return node{kind: empty, why: "a namespace: only names below it exist"}
	}
	s, ok := t.imports.Get(desired.Name{Namespace: labels[1], Name: labels[2]})
	if !ok {
		return node{why: "there is no such ServiceImport"}
	}
	if rest := labels[3:n]; len(rest) > 0 && !slices.ContainsFunc(rest, marked) {
		return s.findInCluster(rest)
	}
	return s.find(labels[3:n], &t.config)
}

// marked reports whether a label is a port or a protocol. Only the mark tells
// them from an endpoint and a cluster.
func marked(label string) bool { return strings.HasPrefix(label, "_") }

// findInCluster returns the node of a name given by its labels in front of a
// ServiceImport: CLUSTER, and in front of that an endpoint. Endpoints in one
// cluster have names only if the ServiceImport is headless, and the cluster
// itself never has records (KEP-1645, specification, sections 2.3.4 and 2.4.4).
func (s *service) findInCluster(labels []string) node {
	if !s.source.Headless {
		return node{why: "single clusters of a ServiceImport with an address of its own have no names"}
	}
	found := node{kind: endpoint, service: s, listed: true, why: "a ready endpoint in this cluster"}
	if len(labels) == 2 {
		found.endpoints = s.inCluster(s.endpointsNamed(labels[1]), labels[0])
	} else if found.endpoints = s.inCluster(s.endpointsNamed(labels[0]), ""); len(found.endpoints) > 0 {
		found.why = "a ready endpoint whose EndpointSlice does not say in which cluster it is"
	} else if len(s.inCluster(s.ready, labels[0])) > 0 {
		return node{kind: empty, why: "a cluster: only names of endpoints are below it"}
	}
	if len(found.endpoints) == 0 {
		return node{why: "the ServiceImport has no such ready endpoint"}
	}
	return found
}

// inCluster returns those of some ready endpoints that are in a cluster.
func (s *service) inCluster(endpoints []ready, cluster string) []ready {
	var there []ready
	for _, at := range endpoints {
		if slice, _ := s.at(at); slice.Cluster == cluster {
			there = append(there, at)
		}
	}
	return there
}
