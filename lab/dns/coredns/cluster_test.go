package coredns

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The words that names are made of: few, so that names meet, and some that look
// like other parts of a name.
var (
	namespaceNames = []string{"default", "team-a", "svc", "pod", "1st"}
	serviceNames   = []string{"web", "db", "svc", "dns", "tcp", "x", "0day", "ns", strings.Repeat("l", 63)}
	portNames      = []string{"http", "https", "dns", "dns-tcp", "web", "x-1"}
	hostnames      = []string{"web-0", "web-1", "db", "tcp", "http", "10-244-0-1", "fd00-244--1"}
	externalNames  = []string{
		"www.example.com", "WWW.Example.COM", "none.example.com", "alias.example.com", "www.example.com.", "under_score.example.com", "192.0.2.1", "2001:db8::1",
		"web.default.svc.DOMAIN", "db.team-a.svc.DOMAIN", "x.default.svc.DOMAIN", "x.team-a.svc.DOMAIN", "nothing.default.svc.DOMAIN",
		"default.svc.DOMAIN", "10-244-0-1.default.pod.DOMAIN", "web-0.db.default.svc.DOMAIN", "DOMAIN", "else.DOMAIN",
	}
	protocols = []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}
	families  = []discoveryv1.AddressType{discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6}
)

// generator makes clusters and questions at random, the same for the same seed.
type generator struct{ *rand.Rand }

func (g generator) chance(percent int) bool { return g.IntN(100) < percent }

func pick[T any](g generator, from []T) T { return from[g.IntN(len(from))] }

// cluster is a generated cluster.
type cluster struct {
	Objects
	domain string
	ttl    uint32
	pods   string // insecure or disabled, as in a Corefile
	// served tells whether the Service kube-dns is there.
	served bool
}

// podAddress returns one of few addresses, text that the API server takes.
func (g generator) podAddress(family discoveryv1.AddressType) string {
	if family == discoveryv1.AddressTypeIPv4 {
		return fmt.Sprintf("10.244.0.%d", 1+g.IntN(12))
	}
	return pick(g, []string{"fd00:244::1", "fd00:244::2", "fd00:244::a", "fd00:244::", "fd00:244::1:0:0:1", "fd00:244:1:2:3:4:5:6"})
}

// cluster makes a cluster; local are the addresses at which CoreDNS believes to
// be reached, of which kube-dns has the first as its endpoint.
func (g generator) cluster(local []netip.Addr) *cluster {
	c := &cluster{
		domain: pick(g, []string{"cluster.local", "cluster.local", "k8s.example.internal"}),
		ttl:    pick(g, []uint32{30, 5, 3600}),
		pods:   pick(g, []string{"insecure", "insecure", "disabled"}),
	}
	if c.ttl > 300 {
		c.ttl = 300 // the largest that CoreDNS gives to SOA records, too
	}
	namespaces := append([]string{"kube-system"}, namespaceNames[:1+g.IntN(len(namespaceNames))]...)
	for _, name := range namespaces {
		c.Namespaces = append(c.Namespaces, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, ResourceVersion: revision}})
		for _, service := range serviceNames {
			if g.chance(60) {
				g.service(c, metav1.ObjectMeta{Namespace: name, Name: service, ResourceVersion: revision})
			}
		}
		if g.chance(30) {
			// The API server knows no relation between slices and Services. One without
			// the label makes CoreDNS write a reply with an empty label, which it cannot
			// send: it does not reply to questions for the addresses in there at all.
			g.slice(c, name, "gone", nil)
		}
	}
	if c.served = len(local) > 0 && g.chance(80); c.served {
		g.kubeDNS(c, local[0])
	}
	return c
}

func (g generator) service(c *cluster, meta metav1.ObjectMeta) {
	s := &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP}}
	s.Spec.PublishNotReadyAddresses = g.chance(20)
	c.Services = append(c.Services, s)
	if g.chance(20) {
		s.Spec.Type = corev1.ServiceTypeExternalName
		s.Spec.ExternalName = strings.ReplaceAll(pick(g, externalNames), "DOMAIN", c.domain)
		if g.chance(20) {
			g.slice(c, meta.Namespace, meta.Name, nil)
		}
		return
	}
	s.Spec.Ports = g.ports()
	if g.chance(40) {
		s.Spec.ClusterIP, s.Spec.ClusterIPs = corev1.ClusterIPNone, []string{corev1.ClusterIPNone}
		if g.chance(20) {
			s.Spec.Ports = nil
		}
	} else {
		n := len(c.Services)
		both := []string{fmt.Sprintf("10.96.1.%d", n), fmt.Sprintf("fd00:96::1:%x", n)}
		s.Spec.ClusterIPs = pick(g, [][]string{both[:1], both[:1], both[1:], both, {both[1], both[0]}})
		s.Spec.ClusterIP = s.Spec.ClusterIPs[0]
	}
	for range g.IntN(4) {
		g.slice(c, meta.Namespace, meta.Name, s.Spec.Ports)
	}
}

// ports returns one port, with or without a name, or several with names.
func (g generator) ports() []corev1.ServicePort {
	if g.chance(30) {
		return []corev1.ServicePort{{Port: 80, Protocol: pick(g, protocols)}}
	}
	var ports []corev1.ServicePort
	for i := range 1 + g.IntN(3) {
		ports = append(ports, corev1.ServicePort{Name: portNames[(g.IntN(2)+2*i)%len(portNames)], Port: int32(80 + i), Protocol: pick(g, protocols)})
	}
	return ports
}

// slice adds an EndpointSlice, mostly as the controller makes it.
func (g generator) slice(c *cluster, namespace, service string, ports []corev1.ServicePort) {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("slice-%d", len(c.Slices)), ResourceVersion: revision, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: pick(g, families),
	}
	for i := range ports {
		if g.chance(10) {
			continue // a targetPort by name that these pods lack
		}
		number := 8000 + int32(g.IntN(2)) + 10*int32(i)
		port := discoveryv1.EndpointPort{Name: &ports[i].Name, Port: &number, Protocol: &ports[i].Protocol}
		if g.chance(3) {
			port.Port = nil
		}
		s.Ports = append(s.Ports, port)
	}
	var used []string
	for range g.IntN(4) {
		e := discoveryv1.Endpoint{Addresses: []string{g.podAddress(s.AddressType)}}
		if slices.Contains(used, e.Addresses[0]) {
			continue
		}
		used = append(used, e.Addresses[0])
		if ready := g.chance(60); g.chance(80) {
			e.Conditions.Ready = &ready
		}
		if name := pick(g, hostnames); g.chance(40) {
			e.Hostname = &name
		}
		if g.chance(50) {
			e.TargetRef = &corev1.ObjectReference{Kind: "Pod", Namespace: namespace, Name: "pod-" + fmt.Sprint(g.IntN(9))}
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	c.Slices = append(c.Slices, s)
}

// kubeDNS adds the Service of the DNS server itself.
func (g generator) kubeDNS(c *cluster, local netip.Addr) {
	meta := metav1.ObjectMeta{Namespace: "kube-system", Name: "kube-dns", ResourceVersion: revision}
	s := &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeClusterIP, ClusterIP: "10.96.0.10", ClusterIPs: []string{"10.96.0.10"},
		Ports: []corev1.ServicePort{{Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP}, {Name: "dns-tcp", Port: 53, Protocol: corev1.ProtocolTCP}},
	}}
	if g.chance(50) {
		s.Spec.ClusterIPs = append(s.Spec.ClusterIPs, "fd00:96::a")
	}
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: meta.Namespace, Name: "kube-dns-1", ResourceVersion: revision, Labels: map[string]string{discoveryv1.LabelServiceName: meta.Name}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{local.String()}}},
	}
	if local.Is6() {
		slice.AddressType = discoveryv1.AddressTypeIPv6
	}
	port := int32(53)
	for i := range s.Spec.Ports {
		slice.Ports = append(slice.Ports, discoveryv1.EndpointPort{Name: &s.Spec.Ports[i].Name, Port: &port, Protocol: &s.Spec.Ports[i].Protocol})
	}
	c.Services, c.Slices = append(c.Services, s), append(c.Slices, slice)
}
