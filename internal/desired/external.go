package desired

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// foreign says which label takes a Service from the cluster's proxy, or "".
func foreign(labels map[string]string) string {
	if proxy, ok := labels[LabelProxyName]; ok {
		return "label " + LabelProxyName + " gives it to " + proxy
	}
	if _, ok := labels[LabelHeadless]; ok {
		return "label " + LabelHeadless + " says that no proxy is to serve it"
	}
	return ""
}

// parseExternal adds what makes a Service reachable from outside the cluster.
func parseExternal(o *corev1.Service, s *Service, r *reasons) {
	s.Published = parsePublished(o)
	if s.Headless {
		return
	}
	s.ExternalIPs = parseExternalAddresses(o.Spec.ExternalIPs, "spec.externalIPs", s, r)
	if s.Type == ClusterIP {
		// What is left of an earlier type means nothing.
		for i := range s.Ports {
			s.Ports[i].NodePort = 0
		}
		return
	}
	if s.Type != LoadBalancer {
		return
	}
	s.Balancer = parseBalancer(o, r)
	var addresses []string
	for _, ingress := range o.Status.LoadBalancer.Ingress {
		if ingress.IP != "" && (ingress.IPMode == nil || *ingress.IPMode != corev1.LoadBalancerIPModeProxy) {
			addresses = append(addresses, ingress.IP)
		}
	}
	s.LoadBalancerIPs = parseExternalAddresses(addresses, "status.loadBalancer.ingress", s, r)
	s.SourceRanges = parseSourceRanges(o, r)
	if port := o.Spec.HealthCheckNodePort; s.ExternalLocal && port > 0 && port <= 65535 {
		s.HealthCheckNodePort = uint16(port)
	}
}

// parsePublished reads what there is of use; what is not is reported where it
// keeps packets from arriving.
func parsePublished(o *corev1.Service) *Published {
	texts, names := slices.Clone(o.Spec.ExternalIPs), []string{}
	if o.Spec.Type == corev1.ServiceTypeLoadBalancer {
		for _, ingress := range o.Status.LoadBalancer.Ingress {
			texts, names = append(texts, ingress.IP), append(names, ingress.Hostname)
		}
	}
	var p Published
	for _, text := range texts {
		address, err := netip.ParseAddr(text)
		if address = address.Unmap(); err == nil && address.Zone() == "" && !slices.Contains(p.Addresses, address) {
			p.Addresses = append(p.Addresses, address)
		}
	}
	for _, name := range names {
		name = strings.ToLower(strings.TrimSuffix(name, "."))
		if name != "" && len(validation.IsDNS1123Subdomain(strings.ReplaceAll(name, "_", "a"))) == 0 && !slices.Contains(p.Hostnames, name) {
			p.Hostnames = append(p.Hostnames, name)
		}
	}
	if len(p.Addresses)+len(p.Hostnames) == 0 {
		return nil
	}
	return &p
}

// parseExternalAddresses reads addresses of the Service's families: the others
// can have no endpoints.
func parseExternalAddresses(texts []string, field string, s *Service, r *reasons) []netip.Addr {
	var addresses []netip.Addr
	for _, text := range texts {
		address, err := netip.ParseAddr(text)
		address = address.Unmap()
		sameFamily := func(a netip.Addr) bool { return a.Is4() == address.Is4() }
		switch {
		case err != nil || address.Zone() != "":
			r.add("ExternalAddressInvalid", "%s: %q is not an IP address; the Service is served without it", field, text)
		case address.IsUnspecified() || address.IsLoopback() || address.IsMulticast() || address.IsLinkLocalUnicast():
			r.add("ExternalAddressInvalid", "%s: %q is unspecified, loopback, link-local or multicast; the Service is served without it", field, text)
		case !slices.ContainsFunc(s.Addresses, sameFamily):
			r.add("ExternalAddressFamily", "%s: %q is of a family that the Service does not have (spec.ipFamilies), so no endpoint could serve it; the Service is served without it", field, text)
		case !slices.Contains(addresses, address):
			addresses = append(addresses, address)
		}
	}
	return addresses
}

// parseSourceRanges returns who may connect. Nobody may if none of the ranges
// can be read: a typing mistake must not open a Service to all.
func parseSourceRanges(o *corev1.Service, r *reasons) []netip.Prefix {
	var ranges []netip.Prefix
	for _, text := range o.Spec.LoadBalancerSourceRanges {
		prefix, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil {
			r.add("SourceRangeInvalid", "spec.loadBalancerSourceRanges: %q is not of the form ADDRESS/BITS; clients in it are not let in", text)
			continue
		}
		ranges = append(ranges, prefix.Masked())
	}
	if len(ranges) == 0 && len(o.Spec.LoadBalancerSourceRanges) > 0 {
		// No client has the unspecified address.
		return []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 32)}
	}
	slices.SortFunc(ranges, netip.Prefix.Compare)
	return slices.Compact(ranges)
}

// parseServiceCIDRs reads the ranges of all ServiceCIDR objects.
func parseServiceCIDRs(o Objects) []netip.Prefix {
	var ranges []netip.Prefix
	for _, object := range o.ServiceCIDRs.All() {
		for _, text := range object.Spec.CIDRs {
			if prefix, err := netip.ParsePrefix(text); err == nil {
				ranges = append(ranges, prefix.Masked())
			}
		}
	}
	slices.SortFunc(ranges, netip.Prefix.Compare)
	return slices.Compact(ranges)
}
