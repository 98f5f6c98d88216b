package desired

import (
	"net/netip"
	"reflect"
	"strings"
	"time"
	"unique"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// Port returns the number that the slice's endpoints use for the Service port
// with this name and protocol, and whether they offer it.
func (s *Slice) Port(name string, protocol Protocol) (uint16, bool) {
	for _, p := range s.Ports {
		if p.Name == name && p.Protocol == protocol {
			return p.Port, true
		}
	}
	return 0, false
}

// Service returns the Service that the slice belongs to; the zero Name if to none.
func (s *Slice) Service() Name {
	if s.service == "" {
		return Name{}
	}
	return Name{s.Name.Namespace, s.service}
}

// same tells whether features see no difference between two slices.
func (s *Slice) same(other *Slice) bool {
	a, b := *s, *other
	a.Trigger, a.reasons, b.Trigger, b.reasons = time.Time{}, nil, time.Time{}, nil
	return reflect.DeepEqual(a, b)
}

// ParseSlice turns the object into a Slice, which knows what of the object cannot
// be used, and which belongs to no Service where the object does not or cannot be
// used at all. It keeps nothing of the object but strings.
func ParseSlice(o *discoveryv1.EndpointSlice) *Slice {
	s := &Slice{
		Name:    Name{intern(o.Namespace), o.Name},
		IPv6:    o.AddressType == discoveryv1.AddressTypeIPv6,
		service: o.Labels[discoveryv1.LabelServiceName],
	}
	if s.parseImported(o); s.service == "" && s.imported == "" {
		return s
	}
	s.Trigger, _ = time.Parse(time.RFC3339Nano, o.Annotations[corev1.EndpointsLastChangeTriggerTime])
	_, s.Headless = o.Labels[LabelHeadless]
	r := s.parse(o)
	s.reasons = r.of(Ref{Kind: "EndpointSlice", Namespace: s.Name.Namespace, Name: s.Name.Name})
	return s
}

func (s *Slice) parse(o *discoveryv1.EndpointSlice) reasons {
	var r reasons
	if !s.IPv6 && o.AddressType != discoveryv1.AddressTypeIPv4 {
		r.add("AddressTypeUnknown", "addressType %q is neither IPv4 nor IPv6; the EndpointSlice is left out", o.AddressType)
		s.service, s.imported = "", ""
		return r
	}
	s.Ports, s.Endpoints = make([]EndpointPort, 0, len(o.Ports)), make([]Endpoint, 0, len(o.Endpoints))
	for _, p := range o.Ports {
		if port, ok := parseEndpointPort(p, &r); ok {
			s.Ports = append(s.Ports, port)
		}
	}
	for i := range o.Endpoints {
		if endpoint, ok := parseEndpoint(&o.Endpoints[i], i, s.IPv6, &r); ok {
			s.Endpoints = append(s.Endpoints, endpoint)
		}
	}
	return r
}

func parseEndpointPort(p discoveryv1.EndpointPort, r *reasons) (EndpointPort, bool) {
	var port EndpointPort
	if p.Name != nil {
		port.Name = intern(*p.Name)
	}
	port.Protocol = TCP
	if p.Protocol != nil {
		protocol, ok := ParseProtocol(string(*p.Protocol))
		if !ok {
			r.add("ProtocolUnknown", "port %q: protocol %q is none of TCP, UDP and SCTP; the port is left out", port.Name, *p.Protocol)
			return port, false
		}
		port.Protocol = protocol
	}
	if p.Port == nil || *p.Port < 1 || *p.Port > 65535 {
		// Kubernetes allows "all ports" here, which no Service can make use of.
		number := "missing"
		if p.Port != nil {
			number = "not a port number (1 to 65535)"
		}
		r.add("PortInvalid", "port %q: the number is %s; the port is left out", port.Name, number)
		return port, false
	}
	port.Port = uint16(*p.Port)
	return port, true
}

// parseEndpoint returns an endpoint, and whether it can be used. Kubernetes
// allows several addresses that are one and the same endpoint, of which only
// the first counts (KEP-752), so a broken first one makes the endpoint unusable.
func parseEndpoint(o *discoveryv1.Endpoint, position int, ipv6 bool, r *reasons) (Endpoint, bool) {
	if len(o.Addresses) == 0 {
		r.add("AddressMissing", "endpoint %d has no address; it is left out", position+1)
		return Endpoint{}, false
	}
	address, problem := parseAddress(o.Addresses[0], ipv6)
	if problem != "" {
		r.add("AddressInvalid", "endpoint %d: address %q %s; it is left out, correct endpoints[%d].addresses", position+1, o.Addresses[0], problem, position)
		return Endpoint{}, false
	}
	e := Endpoint{Address: address, Ready: isTrue(o.Conditions.Ready, true), Terminating: isTrue(o.Conditions.Terminating, false)}
	e.Serving = isTrue(o.Conditions.Serving, e.Ready)
	if o.Hostname != nil {
		e.Hostname = strings.ToLower(*o.Hostname)
	}
	if o.NodeName != nil {
		e.Node = intern(*o.NodeName)
	}
	if o.Zone != nil {
		e.Zone = intern(*o.Zone)
	}
	if o.TargetRef != nil && o.TargetRef.Kind == "Pod" {
		e.Pod = o.TargetRef.Name
	}
	if o.Hints != nil {
		for _, zone := range o.Hints.ForZones {
			e.ForZones = append(e.ForZones, intern(zone.Name))
		}
		for _, node := range o.Hints.ForNodes {
			e.ForNodes = append(e.ForNodes, intern(node.Name))
		}
	}
	return e, true
}

// parseAddress returns the address, or what is wrong with it.
func parseAddress(text string, ipv6 bool) (netip.Addr, string) {
	address, err := netip.ParseAddr(text)
	family := "IPv4"
	if ipv6 {
		family = "IPv6"
	}
	switch {
	case err != nil:
		return address, "is not an IP address"
	case address.Is6() != ipv6 || address.Is4In6():
		return address, "is not of family " + family + ", which the EndpointSlice's addressType says"
	case address.Zone() != "":
		return address, "has a zone, which means something only on one machine"
	case address.IsUnspecified() || address.IsLoopback() || address.IsMulticast() || address.IsLinkLocalUnicast():
		return address, "is unspecified, loopback, link-local or multicast, and cannot be reached from elsewhere"
	}
	return address, ""
}

func isTrue(b *bool, otherwise bool) bool {
	if b == nil {
		return otherwise
	}
	return *b
}

// intern returns the one copy of a string that many endpoints repeat.
func intern(s string) string { return unique.Make(s).Value() }
