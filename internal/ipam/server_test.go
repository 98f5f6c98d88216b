package ipam

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead-net/fairlead/api/metallb"
	"github.com/fairlead-net/fairlead/internal/desired"
)

// server is an API server as far as this package's Effects need one: each object is
// replaced atomically, and what the Effects ask of whoever applies them is checked in
// the same moment.
type server struct {
	objects desired.Objects
	raw     map[desired.Name]*corev1.Service
	born    int64
}

func newServer() *server {
	return &server{objects: desired.Objects{Synced: true}, raw: map[desired.Name]*corev1.Service{}}
}

// put creates or replaces a Service as its user would: the status stays, and
// defaults are filled in.
func (s *server) put(o *corev1.Service) {
	if o.Namespace == "" {
		o.Namespace = "demo"
	}
	name := desired.Name{Namespace: o.Namespace, Name: o.Name}
	if o.Spec.Type == "" {
		o.Spec.Type = corev1.ServiceTypeLoadBalancer
	}
	if len(o.Spec.Ports) == 0 {
		o.Spec.Ports = []corev1.ServicePort{{Port: 80}}
	}
	if len(o.Spec.ClusterIPs) == 0 {
		o.Spec.ClusterIPs = []string{"10.96.0.1"}
		if len(o.Spec.IPFamilies) > 0 {
			o.Spec.ClusterIPs = nil
		}
		for _, f := range o.Spec.IPFamilies {
			o.Spec.ClusterIPs = append(o.Spec.ClusterIPs, map[corev1.IPFamily]string{corev1.IPv4Protocol: "10.96.0.1", corev1.IPv6Protocol: "fd00::1"}[f])
		}
	}
	if old := s.raw[name]; old != nil {
		o.CreationTimestamp = old.CreationTimestamp
		if len(o.Status.LoadBalancer.Ingress) == 0 {
			o.Status = old.Status
		}
	} else if o.CreationTimestamp.IsZero() {
		s.born++
		o.CreationTimestamp = metav1.NewTime(time.Unix(s.born, 0))
	}
	if o.Spec.Type != corev1.ServiceTypeLoadBalancer {
		o.Status = corev1.ServiceStatus{}
	}
	s.store(o)
}

func (s *server) store(o *corev1.Service) {
	name := desired.Name{Namespace: o.Namespace, Name: o.Name}
	s.raw[name] = o
	s.objects.Services = s.objects.Services.Set(name, desired.ParseService(o))
}

func (s *server) remove(name desired.Name) {
	delete(s.raw, name)
	s.objects.Services = s.objects.Services.Delete(name)
}

func (s *server) putPool(o *metallb.IPAddressPool) {
	if o.Namespace == "" {
		o.Namespace = "metallb-system"
	}
	a := &s.objects.Addressing
	a.Pools = a.Pools.Set(desired.Name{Namespace: o.Namespace, Name: o.Name}, desired.ParsePool(o))
}

func (s *server) putNamespace(name string, labels map[string]string) {
	s.objects.Namespaces = s.objects.Namespaces.Set(name, &desired.Namespace{Labels: labels})
}

// ingress returns what the status of a Service has at the server.
func (s *server) ingress(name desired.Name) []netip.Addr {
	if o, ok := s.objects.Services.Get(name); ok && o.Balancer != nil {
		return o.Balancer.Ingress
	}
	return nil
}

func (s *server) claimed(address netip.Addr, name desired.Name) bool {
	claim, ok := s.objects.Addressing.Claims.Get(address)
	return ok && claim.Foreign == "" && slices.Contains(claim.Services, name)
}

// change does what Effects ask of whoever applies them for a claim, and tells
// whether it came to that.
func (s *server) change(c ClaimChange) bool {
	is, exists := s.objects.Addressing.Claims.Get(c.Address)
	if exists != (c.Old != nil) || exists && !sameClaim(is, c.Old) {
		return false
	}
	for _, name := range c.Leaving() {
		if slices.Contains(s.ingress(name), c.Address) {
			return false
		}
	}
	a := &s.objects.Addressing
	if c.New == nil {
		a.Claims = a.Claims.Delete(c.Address)
		return true
	}
	now := *c.New
	a.Claims = a.Claims.Set(c.Address, &now)
	return true
}

// write does so for a status.
func (s *server) write(c StatusChange) bool {
	name := c.Service.Name
	if is, exists := s.objects.Services.Get(name); !exists || !Same(is, c.Service) {
		return false
	}
	for _, address := range c.Addresses {
		if !s.claimed(address, name) {
			return false
		}
	}
	o := s.raw[name].DeepCopy()
	var ingress []corev1.LoadBalancerIngress
	for _, address := range c.Addresses {
		ingress = append(ingress, corev1.LoadBalancerIngress{IP: address.String()})
	}
	if len(c.Without) > 0 {
		ingress = slices.DeleteFunc(o.Status.LoadBalancer.Ingress, func(i corev1.LoadBalancerIngress) bool {
			return slices.ContainsFunc(c.Without, func(a netip.Addr) bool { return a.String() == i.IP })
		})
	}
	o.Status.LoadBalancer.Ingress = ingress
	s.store(o)
	return true
}

// apply applies all effects in their order, and tells how many were refused.
func (s *server) apply(e Effects) int {
	refused := 0
	count := func(done bool) {
		if !done {
			refused++
		}
	}
	for _, c := range e.Claims {
		count(s.change(c))
	}
	for _, c := range e.Statuses {
		count(s.write(c))
	}
	for _, c := range e.Releases {
		count(s.change(c))
	}
	return refused
}

// describe writes effects one a line.
func describe(e Effects) string {
	var b strings.Builder
	describeClaims(&b, e.Claims)
	for _, c := range e.Statuses {
		switch {
		case len(c.Without) > 0:
			fmt.Fprintf(&b, "  take %s out of the status of %s\n", text(c.Without), c.Service.Name)
		case len(c.Addresses) == 0:
			fmt.Fprintf(&b, "  clear the status of %s\n", c.Service.Name)
		default:
			fmt.Fprintf(&b, "  set the status of %s to %s\n", c.Service.Name, text(c.Addresses))
		}
	}
	describeClaims(&b, e.Releases)
	return b.String()
}

func describeClaims(b *strings.Builder, changes []ClaimChange) {
	names := func(c *desired.Claim) string {
		var all []string
		for _, n := range c.Services {
			all = append(all, n.String())
		}
		return cmp.Or(strings.Join(all, ", "), "nobody")
	}
	for _, c := range changes {
		switch {
		case c.Old == nil:
			fmt.Fprintf(b, "  create claim %s for %s\n", c.Address, names(c.New))
		case c.New == nil:
			fmt.Fprintf(b, "  delete claim %s of %s\n", c.Address, names(c.Old))
		default:
			fmt.Fprintf(b, "  change claim %s from %s to %s\n", c.Address, names(c.Old), names(c.New))
		}
	}
}
