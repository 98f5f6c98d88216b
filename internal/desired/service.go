package desired

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Labels that take a Service from the cluster's proxy: one names another proxy
// (KEP-2447), the other says that nobody is to balance it.
const (
	LabelProxyName = "service.kubernetes.io/service-proxy-name"
	LabelHeadless  = corev1.IsHeadlessService
)

// AnnotationPrefix is what the names of Fairlead's own annotations begin with.
const AnnotationPrefix = "fairlead.dev/"

// defaultAffinity is what Kubernetes assumes for sessionAffinity: ClientIP
// without a timeout.
const defaultAffinity = time.Duration(corev1.DefaultClientIPServiceAffinitySeconds) * time.Second

// ParseService turns the object into a Service without endpoints, which knows what
// of the object cannot be used. It keeps nothing of the object but strings.
func ParseService(o *corev1.Service) *Service {
	s, r := parseService(o)
	s.reasons = r.of(Ref{Kind: "Service", Namespace: s.Name.Namespace, Name: s.Name.Name})
	return s
}

func parseService(o *corev1.Service) (*Service, reasons) {
	s := &Service{
		Name:          Name{intern(o.Namespace), o.Name},
		Type:          Type(o.Spec.Type),
		InternalLocal: o.Spec.InternalTrafficPolicy != nil && *o.Spec.InternalTrafficPolicy == corev1.ServiceInternalTrafficPolicyLocal,
		ExternalLocal: o.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal,
		Foreign:       foreign(o.Labels),
		Created:       o.CreationTimestamp.Time,
		Annotations:   ownAnnotations(o.Annotations),
	}
	var r reasons
	switch s.Type {
	case "":
		s.Type = ClusterIP
	case ClusterIP, NodePort, LoadBalancer:
	case ExternalName:
		s.ExternalName = parseExternalName(o.Spec.ExternalName, &r)
		return s, r
	default:
		r.add("TypeUnknown", "type %q is none of ClusterIP, NodePort, LoadBalancer and ExternalName; the Service is served as ClusterIP", s.Type)
		s.Type = ClusterIP
	}
	s.Headless = o.Spec.ClusterIP == corev1.ClusterIPNone
	if !s.Headless {
		s.Addresses = parseClusterIPs(o, &r)
	}
	s.Ports = parsePorts(o.Spec.Ports, &r)
	parseExternal(o, s, &r)
	if o.Spec.SessionAffinity == corev1.ServiceAffinityClientIP {
		s.Affinity = parseAffinity(o.Spec.SessionAffinityConfig, &r)
	}
	return s, r
}

// ownAnnotations are those that are for Fairlead.
func ownAnnotations(all map[string]string) map[string]string {
	var own map[string]string
	for key, value := range all {
		if strings.HasPrefix(key, AnnotationPrefix) {
			if own == nil {
				own = map[string]string{}
			}
			own[intern(key)] = value
		}
	}
	return own
}

// reasons collects what is to be said against one object.
type reasons []Reason

func (r *reasons) add(code, format string, args ...any) {
	*r = append(*r, Reason{Code: code, Message: fmt.Sprintf(format, args...)})
}

// of names the object.
func (r reasons) of(object Ref) []Reason {
	for i := range r {
		r[i].Object = object
	}
	return r
}

func parseExternalName(name string, r *reasons) string {
	target := strings.ToLower(strings.TrimSuffix(name, "."))
	if problems := validation.IsDNS1123Subdomain(strings.ReplaceAll(target, "_", "a")); len(problems) > 0 {
		r.add("ExternalNameInvalid", "externalName %q is not a DNS name (%s), so lookups of this Service find nothing; write a host name such as db.example.com", name, problems[0])
		return ""
	}
	if _, err := netip.ParseAddr(target); err == nil {
		r.add("ExternalNameIsAddress", "externalName %q is an IP address, which DNS cannot give as an alias; use a headless Service with an EndpointSlice for it", name)
		return ""
	}
	return target
}

func parseClusterIPs(o *corev1.Service, r *reasons) []netip.Addr {
	texts := o.Spec.ClusterIPs
	if len(texts) == 0 && o.Spec.ClusterIP != "" {
		texts = []string{o.Spec.ClusterIP}
	}
	return parseAddresses(texts, "clusterIP", r)
}

// parseAddresses reads the addresses of a Service's own.
func parseAddresses(texts []string, field string, r *reasons) []netip.Addr {
	var addresses []netip.Addr
	for _, text := range texts {
		address, err := netip.ParseAddr(text)
		if err != nil || address.Zone() != "" {
			r.add("ClusterIPInvalid", "%s %q is not an IP address; the Service is served without it", field, text)
			continue
		}
		addresses = append(addresses, address.Unmap())
	}
	return addresses
}

func parsePorts(ports []corev1.ServicePort, r *reasons) []Port {
	parsed := make([]Port, 0, len(ports))
	type key struct {
		protocol Protocol
		port     uint16
	}
	seen := map[key]bool{}
	for _, p := range ports {
		protocol, ok := ParseProtocol(string(p.Protocol))
		if !ok {
			r.add("ProtocolUnknown", "port %q: protocol %q is none of TCP, UDP and SCTP; the port is left out", p.Name, p.Protocol)
			continue
		}
		if p.Port < 1 || p.Port > 65535 {
			r.add("PortInvalid", "port %q: %d is not a port number (1 to 65535); the port is left out", p.Name, p.Port)
			continue
		}
		k := key{protocol, uint16(p.Port)}
		if seen[k] {
			r.add("PortDuplicate", "port %q: %d/%s is there twice; the first one counts", p.Name, p.Port, protocol)
			continue
		}
		seen[k] = true
		if number := p.TargetPort.IntValue(); p.TargetPort.Type == 0 && (number < 0 || number > 65535) {
			r.add("TargetPortInvalid", "port %q: targetPort %d is not a port number (1 to 65535), so no endpoint can serve it; correct spec.ports[].targetPort", p.Name, number)
		}
		port := Port{Name: intern(p.Name), Protocol: protocol, Port: uint16(p.Port), Target: intern(p.TargetPort.String())}
		if p.NodePort < 0 || p.NodePort > 65535 {
			r.add("NodePortInvalid", "port %q: nodePort %d is not a port number (1 to 65535); the port is served without it", p.Name, p.NodePort)
		} else {
			port.NodePort = uint16(p.NodePort)
		}
		parsed = append(parsed, port)
	}
	return parsed
}

func parseAffinity(config *corev1.SessionAffinityConfig, r *reasons) time.Duration {
	if config == nil || config.ClientIP == nil || config.ClientIP.TimeoutSeconds == nil {
		return defaultAffinity
	}
	seconds := *config.ClientIP.TimeoutSeconds
	if seconds < 1 || seconds > 86400 {
		r.add("AffinityTimeoutInvalid", "sessionAffinityConfig.clientIP.timeoutSeconds is %d, allowed are 1 to 86400; the default of %d is used", seconds, corev1.DefaultClientIPServiceAffinitySeconds)
		return defaultAffinity
	}
	return time.Duration(seconds) * time.Second
}

// unresolvedPorts names the ports of s that none of its endpoints offers,
// which almost always is a targetPort that no container has.
func unresolvedPorts(s *Service) reasons {
	var r reasons
	for _, port := range s.Ports {
		endpoints, offered := 0, false
		for _, slice := range s.Slices {
			endpoints += len(slice.Endpoints)
			_, ok := slice.Port(port.Name, port.Protocol)
			offered = offered || ok && len(slice.Endpoints) > 0
		}
		if endpoints > 0 && !offered {
			r.add("TargetPortNotFound", "port %s: none of its endpoints (%d) offers targetPort %q, so connections to it are refused; name a port that the pods' containers declare in spec.containers[].ports, or write its number", port, endpoints, port.Target)
		}
	}
	return r
}
