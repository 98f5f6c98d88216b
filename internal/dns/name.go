package dns

import (
	"net/netip"
	"strings"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// Question is what a client asks. Name is in presentation form (RFC 1035,
// section 5.1), in any case, with or without a final dot.
type Question struct {
	Name  string `json:"name"`
	Type  Type   `json:"type"`
	Class Class  `json:"class"`
}

// fold returns a name in lower case without its final dot. Only ASCII letters
// have a case in DNS (RFC 4343).
func fold(name string) string {
	if strings.HasSuffix(name, ".") && !escaped(name, len(name)-1) {
		name = name[:len(name)-1]
	}
	for i := range len(name) {
		if name[i] >= 'A' && name[i] <= 'Z' {
			return strings.Map(func(r rune) rune {
				if r >= 'A' && r <= 'Z' {
					return r + 'a' - 'A'
				}
				return r
			}, name)
		}
	}
	return name
}

// escaped reports whether the character at position i belongs to a label even
// if it is a dot: it follows an odd number of backslashes.
func escaped(name string, i int) bool {
	odd := false
	for i--; i >= 0 && name[i] == '\\'; i-- {
		odd = !odd
	}
	return odd
}

// below returns the part of a folded name in front of domain, without the dot
// between them, and whether the name is in the domain at all.
func below(name, domain string) (string, bool) {
	if name == domain {
		return "", true
	}
	at := len(name) - len(domain) - 1
	if at < 1 || name[at] != '.' || name[at+1:] != domain || escaped(name, at) {
		return "", false
	}
	return name[:at], true
}

// maxLabel is the longest label (RFC 1035, section 2.3.4).
const maxLabel = 63

// maxLabels is how many labels the longest cluster name has in front of the
// domain: _PORT, _PROTOCOL, SERVICE, NAMESPACE, svc.
const maxLabels = 5

// split returns the labels of a relative name, the last one first, or false if
// there are more than any cluster name has, or labels that need escapes, which
// no cluster name has.
func split(relative string) (labels [maxLabels]string, n int, ok bool) {
	if strings.IndexByte(relative, '\\') >= 0 {
		return labels, 0, false
	}
	for relative != "" {
		if n == maxLabels {
			return labels, 0, false
		}
		at := strings.LastIndexByte(relative, '.')
		labels[n] = relative[at+1:]
		n++
		if at < 0 {
			break
		}
		relative = relative[:at]
	}
	return labels, n, true
}

// The zones that hold the names of addresses.
const (
	reverse4 = "in-addr.arpa"
	reverse6 = "ip6.arpa"
)

// reverseAddress returns the address that a folded name of the reverse zones
// stands for (RFC 1035, section 3.5; RFC 3596, section 2.5), and the zone.
func reverseAddress(name string) (netip.Addr, string, bool) {
	if relative, ok := below(name, reverse4); ok {
		return reverseIPv4(relative)
	}
	if relative, ok := below(name, reverse6); ok {
		return reverseIPv6(relative)
	}
	return netip.Addr{}, "", false
}

func reverseIPv4(relative string) (netip.Addr, string, bool) {
	labels, n, ok := split(relative)
	if !ok || n != 4 {
		return netip.Addr{}, "", false
	}
	var bytes [4]byte
	for i := range bytes {
		if bytes[i], ok = parseOctet(labels[i]); !ok {
			return netip.Addr{}, "", false
		}
	}
	return netip.AddrFrom4(bytes), reverse4, true
}

func reverseIPv6(relative string) (netip.Addr, string, bool) {
	var bytes [16]byte
	if len(relative) != 63 {
		return netip.Addr{}, "", false
	}
	for i := range 32 {
		digit, ok := hexDigit(relative[2*i])
		if !ok || (i < 31 && relative[2*i+1] != '.') {
			return netip.Addr{}, "", false
		}
		bytes[15-i/2] |= digit << (4 * (i % 2))
	}
	return netip.AddrFrom16(bytes), reverse6, true
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}

// dashed returns the label that stands for an address in names of endpoints
// without hostname: its text with every dot or colon as '-', and a zero at the
// end where an IPv6 address would otherwise end in one.
func dashed(address netip.Addr) string { return string(appendDashed(nil, address)) }

// undashed returns the address that a label written like dashed stands for. In
// IPv6 several labels may stand for one address.
func undashed(label string) (netip.Addr, bool) { return parseDashed(label) }

// named returns the name of an endpoint within its Service that is not made of
// its address, or nothing if it has none. The name of a pod may be longer than a
// label, and may be several labels.
func (s *service) named(endpoint *desired.Endpoint) string {
	if endpoint.Hostname != "" || !s.podNames || len(endpoint.Pod) > maxLabel || strings.Contains(endpoint.Pod, ".") {
		return endpoint.Hostname
	}
	return endpoint.Pod
}

// label returns the name of an endpoint within its Service: one label, or
// ENDPOINT.CLUSTER within a ServiceImport.
func (s *service) label(slice *desired.Slice, endpoint *desired.Endpoint) string {
	name := s.named(endpoint)
	if name == "" {
		name = dashed(endpoint.Address)
	}
	if s.imported && slice.Cluster != "" {
		name += "." + slice.Cluster
	}
	return name
}

// unscore strips the underscore that marks a port or protocol (RFC 2782).
// CoreDNS answers with or without it, so clients may rely on either.
func unscore(label string) string { return strings.TrimPrefix(label, "_") }

// protocolLabel returns a protocol as it appears in names.
func protocolLabel(p desired.Protocol) string {
	switch p {
	case desired.TCP:
		return "tcp"
	case desired.UDP:
		return "udp"
	case desired.SCTP:
		return "sctp"
	}
	return p.String()
}
