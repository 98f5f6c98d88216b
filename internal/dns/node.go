package dns

import (
	"net/netip"
	"slices"
	"sort"
	"strings"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// kind says what a name in the cluster domain stands for.
type kind uint8

const (
	absent   kind = iota // no such name: NXDOMAIN, or what other servers say
	missed               // no such name here or elsewhere: NXDOMAIN
	empty                // a name with nothing but names below it
	apex                 // the domain itself
	version              // dns-version
	server               // ns.dns, this server's own name
	pod                  // an address as the name of a pod
	whole                // a Service
	portion              // a port of a Service: _PORT._PROTOCOL
	endpoint             // one name of a Service's endpoints
	alias                // a Service that stands for another name
)

// node is what a name stands for, with what is needed to list its records.
type node struct {
	kind    kind
	service *service
	// port and protocol are the labels of a portion, without underscores.
	port, protocol string
	// address is that of a pod.
	address netip.Addr
	// addresses are those of a server, or of a Service as a whole, unless listed says
	// that it is its endpoints that are answered.
	addresses []netip.Addr
	listed    bool
	endpoints []ready
	// target is the name that an alias stands for, without final dot.
	target string
	// why explains the choice in words; it is a constant.
	why string
}

// find returns the node of a name given relative to the domain, in lower case.
func (t *Table) find(relative string) node {
	if t.config.Zonal {
		if n, ok := t.findZonal(relative); ok {
			return n
		}
	}
	labels, n, ok := split(relative)
	switch {
	case !ok:
		return node{why: "no cluster name has this form"}
	case n == 0:
		return node{kind: apex, why: "the cluster domain itself"}
	case labels[0] == "svc" || labels[0] == "pod":
		return t.findNamespace(labels, n)
	}
	return t.findOwn(labels, n)
}

// findOwn handles names that are about the zone itself.
func (t *Table) findOwn(labels [maxLabels]string, n int) node {
	switch {
	case labels[0] == "dns-version" && n == 1:
		return node{kind: version, why: "the version of the naming scheme"}
	case labels[0] == "dns" && n == 1:
		return node{kind: empty, why: "only names below it exist"}
	case labels[0] == "dns" && n == 2 && labels[1] == "ns":
		return node{kind: server, addresses: t.ServerAddresses(), why: "this name server"}
	}
	return node{why: "names of the cluster end in svc or pod before the domain"}
}

// findNamespace handles names that end in svc or pod.
func (t *Table) findNamespace(labels [maxLabels]string, n int) node {
	if n == 1 {
		return node{kind: empty, why: "only names below it exist"}
	}
	isPod := labels[0] == "pod"
	_, exists := t.namespaces.Get(labels[1])
	switch {
	case isPod && t.config.Pods == PodsDisabled:
		return node{why: "names of pods are disabled"}
	case n == 2 && exists:
		return node{kind: empty, why: "a namespace: only names below it exist"}
	case n == 2 || (isPod && !exists):
		return node{why: t.noNamespace()}
	case isPod && n > 3:
		return node{why: "there are no names below the name of a pod"}
	case isPod:
		return t.findPod(labels[1], labels[2])
	case !exists && t.config.filters():
		return node{why: t.noNamespace()}
	}
	s, ok := t.services.Get(desired.Name{Namespace: labels[1], Name: labels[2]})
	if !ok {
		return node{why: t.noService()}
	}
	return s.find(labels[3:n], &t.config)
}

func (t *Table) findPod(namespace, label string) node {
	address, ok := undashed(label)
	switch {
	case !ok:
		return node{why: "the name of a pod has to be its address with dashes"}
	case t.config.Pods != PodsVerified:
		return node{kind: pod, address: address, why: "the address in the name of a pod, unverified"}
	}
	if _, ok := t.pods.Get(podAddress{namespace, address}); !ok {
		return node{why: "no pod of this namespace has this address"}
	}
	return node{kind: pod, address: address, why: "the address of a pod of this namespace"}
}

// find returns the node of a name given by its labels in front of the
// Service's own name, the last label first.
func (s *service) find(labels []string, c *Config) node {
	switch {
	case s.source.Type == desired.ExternalName && s.source.ExternalName == "":
		return node{why: "the Service's externalName cannot be an alias in DNS"}
	case s.source.Type == desired.ExternalName && len(labels) > 0:
		return node{why: "there are no names below a Service of type ExternalName"}
	case s.source.Type == desired.ExternalName:
		return node{kind: alias, service: s, target: s.source.ExternalName, why: "a Service of type ExternalName"}
	case s.source.Headless && c.NoEndpoints:
		return node{why: "the Service is headless, and endpoints are not served"}
	case s.source.Headless && len(s.ready) == 0:
		return node{why: "the Service is headless and has no ready endpoint"}
	case len(s.ready) == 0 && c.IgnoreEmpty:
		return node{why: "the Service has no ready endpoint, and such ones are ignored"}
	}
	return s.below(labels)
}

// below returns the node of a Service, or of one of its ports or endpoints, each
// with what it has inside of the cluster.
func (s *service) below(labels []string) node {
	switch {
	case len(labels) == 0 && s.source.Headless:
		return node{kind: whole, service: s, listed: true, endpoints: s.ready, why: "a headless Service: its ready endpoints"}
	case len(labels) == 0:
		return node{kind: whole, service: s, addresses: s.source.Addresses, why: "a Service with an address of its own"}
	case len(labels) == 2:
		found := node{kind: portion, service: s, port: unscore(labels[1]), protocol: unscore(labels[0]), why: "a named port of the Service"}
		found.listed, found.endpoints, found.addresses = s.source.Headless, s.ready, s.source.Addresses
		if s.hasPort(found.port, found.protocol, found.listed) {
			return found
		}
		return node{why: "the Service has no port of this name and protocol"}
	}
	if endpoints := s.endpointsNamed(labels[0]); len(endpoints) > 0 {
		return node{kind: endpoint, service: s, listed: true, endpoints: endpoints, why: "a ready endpoint of the Service"}
	}
	if s.hasPort("", unscore(labels[0]), s.source.Headless) {
		return node{kind: empty, why: "a protocol: only the Service's named ports are below it"}
	}
	return node{why: "the Service has no ready endpoint of this name"}
}

// hasPort reports whether the Service has a port of this name, or any named
// port if name is empty, for this protocol; or, if listed, its ready endpoints.
func (s *service) hasPort(name, protocol string, listed bool) bool {
	if !listed {
		for _, p := range s.source.Ports {
			if matches(p.Name, p.Protocol, name, protocol) {
				return true
			}
		}
		return false
	}
	for i, r := range s.ready {
		if i > 0 && r.slice == s.ready[i-1].slice {
			continue
		}
		for _, p := range s.source.Slices[r.slice].Ports {
			if matches(p.Name, p.Protocol, name, protocol) {
				return true
			}
		}
	}
	return false
}

// matches reports whether a port has the wanted name and protocol; an empty
// wanted name is that of any named port. Ports without name have no names in
// DNS of their own.
func matches(name string, protocol desired.Protocol, wantName, wantProtocol string) bool {
	return name != "" && (wantName == "" || strings.EqualFold(name, wantName)) && protocolLabel(protocol) == wantProtocol
}

// endpointsNamed returns the ready endpoints with a name: those without a hostname
// and with the address that the name spells, and those with this hostname.
func (s *service) endpointsNamed(name string) []ready {
	named := s.search(name, netip.Addr{})
	address, ok := undashed(name)
	var canonical [48]byte
	if !ok || string(appendDashed(canonical[:0], address)) != name {
		return named
	}
	unnamed := s.search("", address)
	if len(named) == 0 {
		return unnamed
	}
	return slices.Concat(unnamed, named)
}

// search returns the part of ready with this hostname and, if the hostname is
// empty, this address.
func (s *service) search(hostname string, address netip.Addr) []ready {
	compare := func(i int) int {
		_, e := s.at(s.ready[i])
		if c := strings.Compare(s.named(e), hostname); c != 0 || hostname != "" {
			return c
		}
		return e.Address.Compare(address)
	}
	from := sort.Search(len(s.ready), func(i int) bool { return compare(i) >= 0 })
	to := from
	for to < len(s.ready) && compare(to) == 0 {
		to++
	}
	return s.ready[from:to]
}
