package coredns

import (
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// names are those that exist in a cluster by the specification, read from the
// objects by code that neither server shares: absolute, in lower case.
type names struct {
	// data holds names with records, empty those that exist without any.
	data, empty map[string]bool
	// addresses are those with a name: ClusterIPs and ready endpoints.
	addresses map[string]bool
}

func (c *cluster) names() names {
	d := "." + c.domain + "."
	n := names{data: map[string]bool{d[1:]: true, "dns-version" + d: true, "ns.dns" + d: true}, empty: map[string]bool{}, addresses: map[string]bool{}}
	n.empty["svc"+d], n.empty["pod"+d] = true, true
	for _, namespace := range c.Namespaces {
		n.empty[namespace.Name+".svc"+d] = true
		if c.pods != "disabled" {
			n.empty[namespace.Name+".pod"+d] = true
		}
	}
	for _, s := range c.Services {
		name := s.Name + "." + s.Namespace + ".svc" + d
		switch {
		case s.Spec.Type == corev1.ServiceTypeExternalName:
			if _, err := netip.ParseAddr(s.Spec.ExternalName); err != nil {
				n.data[name] = true
			}
			continue
		case s.Spec.ClusterIP != corev1.ClusterIPNone:
			n.data[name] = true
			for _, address := range s.Spec.ClusterIPs {
				n.addresses[address] = true
			}
			for _, p := range s.Spec.Ports {
				n.port(name, p.Name, p.Protocol)
			}
		}
		for _, slice := range c.Slices {
			if slice.Namespace == s.Namespace && slice.Labels[discoveryv1.LabelServiceName] == s.Name {
				n.slice(name, slice, s.Spec.ClusterIP == corev1.ClusterIPNone)
			}
		}
	}
	for name := range n.data {
		for parent := above(name); strings.HasSuffix(parent, d); parent = above(parent) {
			if !n.data[parent] {
				n.empty[parent] = true
			}
		}
	}
	return n
}

func (n *names) slice(service string, slice *discoveryv1.EndpointSlice, headless bool) {
	for _, e := range slice.Endpoints {
		if e.Conditions.Ready != nil && !*e.Conditions.Ready {
			continue
		}
		address := e.Addresses[0]
		n.addresses[address] = true
		label := strings.NewReplacer(".", "-", ":", "-").Replace(address)
		if strings.HasSuffix(label, "-") {
			label += "0"
		}
		if e.Hostname != nil {
			label = *e.Hostname
		}
		n.data[label+"."+service] = true
		if !headless {
			continue
		}
		n.data[service] = true
		for _, p := range slice.Ports {
			if p.Port != nil {
				n.port(service, *p.Name, *p.Protocol)
			}
		}
	}
}

func (n *names) port(service, port string, protocol corev1.Protocol) {
	if port != "" {
		n.data["_"+port+"._"+strings.ToLower(string(protocol))+"."+service] = true
	}
}

// above returns the name without its first label; "" for the root's child.
func above(name string) string {
	_, rest, _ := strings.Cut(name, ".")
	return rest
}
