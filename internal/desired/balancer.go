package desired

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Balancer is what a Service of type LoadBalancer asks of whoever gives it its
// addresses, and what it has.
type Balancer struct {
	// Class is spec.loadBalancerClass; empty means the cluster's usual one.
	Class string `json:"class,omitempty"`
	// RequireDualStack needs an address of each family of the Service; else one is
	// enough.
	RequireDualStack bool `json:"requireDualStack,omitempty"`
	// Requested are the addresses that the user asks for; Pools are names of pools,
	// any of which will do.
	Requested []netip.Addr `json:"requested,omitempty"`
	Pools     []string     `json:"pools,omitempty"`
	// SharingKey lets Services have the same address that give the same key;
	// SharingNamespaces are other namespaces they may be in; "*" stands for all.
	SharingKey        string   `json:"sharingKey,omitempty"`
	SharingNamespaces []string `json:"sharingNamespaces,omitempty"`
	// Pods is the selector of the Service's pods.
	Pods   string            `json:"pods,omitempty"`
	Labels map[string]string `json:"labels,omitempty"`
	// Ingress is status.loadBalancer.ingress, as far as it has addresses.
	Ingress []netip.Addr `json:"ingress,omitempty"`
	// Hostnames tells that status.loadBalancer.ingress has host names, which
	// Fairlead never writes.
	Hostnames bool `json:"hostnames,omitempty"`
}

// The annotations by which users of MetalLB, Cilium and kube-vip ask for
// addresses. An empty one counts as absent.
const (
	annotationPoolMetalLB = "metallb.io/address-pool"
	annotationKeyMetalLB  = "metallb.io/allow-shared-ip"
	annotationKeyCilium   = "lbipam.cilium.io/sharing-key"
	annotationAcross      = "lbipam.cilium.io/sharing-cross-namespace"
)

func annotationsOfAddresses() []string {
	return []string{"metallb.io/loadBalancerIPs", "metallb.universe.tf/loadBalancerIPs", "lbipam.cilium.io/ips", "kube-vip.io/loadbalancerIPs"}
}

// parseBalancer reads what concerns the addresses of a Service of type
// LoadBalancer.
func parseBalancer(o *corev1.Service, r *reasons) *Balancer {
	b := &Balancer{Pods: labels.Set(o.Spec.Selector).String(), Labels: o.Labels}
	if o.Spec.LoadBalancerClass != nil {
		b.Class = *o.Spec.LoadBalancerClass
	}
	if policy := o.Spec.IPFamilyPolicy; policy != nil {
		b.RequireDualStack = *policy == corev1.IPFamilyPolicyRequireDualStack
	}
	annotated := func(names ...string) string {
		var values []string
		for _, name := range names {
			values = append(values, strings.TrimSpace(o.Annotations[name]))
		}
		return cmp.Or(values...)
	}
	if pool := annotated(annotationPoolMetalLB, "metallb.universe.tf/address-pool"); pool != "" {
		b.Pools = []string{pool}
	}
	if b.SharingKey = annotated(annotationKeyMetalLB, "metallb.universe.tf/allow-shared-ip"); b.SharingKey != "" {
		b.SharingNamespaces = []string{"*"} // MetalLB asks for no consent there
	} else {
		b.SharingKey = annotated(annotationKeyCilium)
	}
	if across := o.Annotations[annotationAcross]; across != "" {
		b.SharingNamespaces = nil
	}
	for name := range strings.SplitSeq(o.Annotations[annotationAcross], ",") {
		if name = strings.TrimSpace(name); name != "" {
			b.SharingNamespaces = append(b.SharingNamespaces, name)
		}
	}
	b.Requested = parseRequested(o, r)
	for _, ingress := range o.Status.LoadBalancer.Ingress {
		b.Hostnames = b.Hostnames || ingress.Hostname != ""
		if address, err := netip.ParseAddr(ingress.IP); err == nil {
			b.Ingress = append(b.Ingress, address.Unmap())
		}
	}
	return b
}

// parseRequested reads the addresses that are asked for: those of the first
// annotation that has any, or spec.loadBalancerIP.
func parseRequested(o *corev1.Service, r *reasons) []netip.Addr {
	field, texts := "spec.loadBalancerIP", o.Spec.LoadBalancerIP
	for _, name := range annotationsOfAddresses() {
		if value := o.Annotations[name]; strings.TrimSpace(value) != "" {
			field, texts = "annotation "+name, value
			break
		}
	}
	var addresses []netip.Addr
	for text := range strings.SplitSeq(texts, ",") {
		text = strings.TrimSpace(text)
		if text == "" || text == "0.0.0.0" || text == "::" { // kube-vip's words for DHCP
			continue
		}
		address, err := netip.ParseAddr(text)
		if err != nil || address.Zone() != "" {
			r.add("RequestedAddressInvalid", "%s: %q is not an IP address, so the Service gets none; correct it or leave it out", field, text)
			addresses = append(addresses, netip.Addr{})
			continue
		}
		if address = address.Unmap(); !slices.Contains(addresses, address) {
			addresses = append(addresses, address)
		}
	}
	return addresses
}
