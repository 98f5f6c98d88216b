package ipam

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// sharingProblem says why two Services cannot have one address, or is empty if they
// can. They need the same sharing key, each other's consent where namespaces
// differ, no port in common, and as nodes that have no endpoint of a Service with
// externalTrafficPolicy: Local drop what is sent to it, pods in common if either is
// such a Service. (MetalLB's documentation, "IP address sharing"; Cilium's,
// "Sharing Keys".)
func sharingProblem(a, b *desired.Service) string {
	switch {
	case a.Balancer.SharingKey == "" || a.Balancer.SharingKey != b.Balancer.SharingKey:
		return "they have no sharing key in common (annotation metallb.io/allow-shared-ip)"
	case !letsIn(a, b.Name.Namespace) || !letsIn(b, a.Name.Namespace):
		return "they are in different namespaces and do not both name the other's (annotation lbipam.cilium.io/sharing-cross-namespace)"
	case (a.ExternalLocal || b.ExternalLocal) && (podsOf(a) == "" || podsOf(a) != podsOf(b)):
		return "one has externalTrafficPolicy Local and they do not select the same pods"
	}
	for _, p := range a.Ports {
		for _, q := range b.Ports {
			if p.Protocol == q.Protocol && p.Port == q.Port {
				return fmt.Sprintf("both have port %d/%s", p.Port, p.Protocol)
			}
		}
	}
	return ""
}

func letsIn(s *desired.Service, namespace string) bool {
	return s.Name.Namespace == namespace || slices.Contains(s.Balancer.SharingNamespaces, namespace) ||
		slices.Contains(s.Balancer.SharingNamespaces, "*")
}

// podsOf names the pods of a Service; empty if it has no selector.
func podsOf(s *desired.Service) string {
	if s.Balancer.Pods == "" {
		return ""
	}
	return s.Name.Namespace + "/" + s.Balancer.Pods
}

// profileOf is equal for Services that can share with the same others.
func profileOf(s *desired.Service) string {
	parts := []string{s.Balancer.SharingKey, s.Name.Namespace, strconv.FormatBool(s.ExternalLocal), podsOf(s)}
	for _, p := range s.Ports {
		parts = append(parts, strconv.Itoa(int(p.Port)), p.Protocol.String())
	}
	parts = append(parts, "") // no port: namespaces follow
	return strings.Join(append(parts, s.Balancer.SharingNamespaces...), "\x00")
}

// party are Services that have one address together. It answers whether one more
// can have it too as sharingProblem does for each, but does not go through them all.
type party struct {
	key   string
	local bool // one has externalTrafficPolicy: Local
	// pods are those of all of them, unless they differ.
	pods       string
	podsDiffer bool
	ports      map[socket]bool
	// origins are one Service of each namespace and consent.
	origins map[origin]*desired.Service
}

type socket struct {
	protocol desired.Protocol
	port     uint16
}

type origin struct{ namespace, consent string }

func newParty(first *desired.Service) *party {
	p := &party{key: first.Balancer.SharingKey, pods: podsOf(first), ports: map[socket]bool{}, origins: map[origin]*desired.Service{}}
	p.join(first)
	return p
}

func (p *party) join(s *desired.Service) {
	p.local = p.local || s.ExternalLocal
	p.podsDiffer = p.podsDiffer || p.pods != podsOf(s)
	for _, port := range s.Ports {
		p.ports[socket{port.Protocol, port.Port}] = true
	}
	p.origins[origin{s.Name.Namespace, strings.Join(s.Balancer.SharingNamespaces, ",")}] = s
}

func (p *party) admits(s *desired.Service) bool {
	if p.key == "" || p.key != s.Balancer.SharingKey {
		return false
	}
	if (p.local || s.ExternalLocal) && (p.podsDiffer || p.pods == "" || p.pods != podsOf(s)) {
		return false
	}
	for _, port := range s.Ports {
		if p.ports[socket{port.Protocol, port.Port}] {
			return false
		}
	}
	for _, other := range p.origins {
		if !letsIn(s, other.Name.Namespace) || !letsIn(other, s.Name.Namespace) {
			return false
		}
	}
	return true
}
