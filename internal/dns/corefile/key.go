package corefile

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Key is what a server block answers for: a zone, by a transport, at a port.
type Key struct {
	// Zone in lower case, with a final dot.
	Zone string
	// Transport is dns, tls, https, grpc or quic.
	Transport string
	Port      uint16
}

func (k Key) String() string { return fmt.Sprintf("%s://%s:%d", k.Transport, k.Zone, k.Port) }

// ports are the transports and their ports where a key names none.
var ports = map[string]uint16{"dns": 53, "tls": 853, "https": 443, "https3": 443, "grpc": 443, "quic": 853}

// parseKey reads [TRANSPORT://]ZONE[:PORT]. A range of addresses that does not
// end with an octet or nibble stands for several reverse zones.
func parseKey(w Word) ([]Key, error) {
	key, rest := Key{Transport: "dns"}, w.Text
	if scheme, after, ok := strings.Cut(rest, "://"); ok {
		if ports[scheme] == 0 {
			return nil, fmt.Errorf("%q is no transport%s; use dns, tls, https, grpc or quic", scheme, suggest(scheme, []string{"dns", "tls", "https", "grpc", "quic"}))
		}
		key.Transport, rest = scheme, after
	}
	key.Port = ports[key.Transport]
	if colon := strings.LastIndexByte(rest, ':'); colon >= 0 && !strings.Contains(rest[colon:], "/") {
		port, err := strconv.ParseUint(rest[colon+1:], 10, 16)
		if err != nil || port == 0 {
			return nil, fmt.Errorf("%q in the key %q is no port; write a number from 1 to 65535", rest[colon+1:], w.Text)
		}
		key.Port, rest = uint16(port), rest[:colon]
	}
	if rest == "" {
		rest = "."
	}
	zones, err := parseZone(rest)
	var keys []Key
	for _, zone := range zones {
		key.Zone = zone
		keys = append(keys, key)
	}
	return keys, err
}

// parseZone reads a zone, or a range of addresses, which means its reverse zones.
func parseZone(text string) ([]string, error) {
	if prefix, err := netip.ParsePrefix(text); err == nil {
		return reverseZones(prefix), nil
	}
	name := strings.ToLower(strings.TrimSuffix(text, "."))
	if text != "." && !isZone(name) {
		return nil, fmt.Errorf("%q is not a zone; write a DNS name such as example.org, or a range of addresses such as 10.0.0.0/8", text)
	}
	return []string{name + "."}, nil
}

// isZone reports whether a lower-case name without final dot has labels as RFC
// 1035 section 2.3.4 wants them, of characters that Corefiles use.
func isZone(name string) bool {
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
		}) {
			return false
		}
	}
	return len(name) <= 253
}

// reverseZones returns the fewest zones below in-addr.arpa or ip6.arpa that make
// up a range (RFC 1035 section 3.5, RFC 3596 section 2.5).
func reverseZones(p netip.Prefix) []string {
	p = p.Masked()
	step, base, apex := 8, 10, "in-addr.arpa."
	if p.Addr().Is6() {
		step, base, apex = 4, 16, "ip6.arpa."
	}
	units := (p.Bits() + step - 1) / step
	var zones []string
	for offset := range 1 << (units*step - p.Bits()) {
		zone := apex
		for i := range units {
			unit := addressUnit(p.Addr(), i, step)
			if i == units-1 {
				unit += offset
			}
			zone = strconv.FormatInt(int64(unit), base) + "." + zone
		}
		zones = append(zones, zone)
	}
	return zones
}

// addressUnit returns the i-th octet (step 8) or nibble (step 4) of an address.
func addressUnit(a netip.Addr, i, step int) int {
	bytes := a.AsSlice()
	if step == 8 {
		return int(bytes[i])
	}
	return int(bytes[i/2]>>(4*(1-i%2))) & 15
}

// isReverse reports whether a zone holds names of addresses.
func isReverse(zone string) bool {
	return strings.HasSuffix("."+zone, ".in-addr.arpa.") || strings.HasSuffix("."+zone, ".ip6.arpa.")
}

// main reports whether a server answers for all names by plain DNS, which is
// what Fairlead's server does.
func (s *Server) main() bool {
	for _, k := range s.Keys {
		if k.Zone == "." && k.Transport == "dns" {
			return true
		}
	}
	return false
}

// support says which keys Fairlead does not serve.
func (s *Server) support(r *reader) {
	for _, k := range s.Keys {
		missing := ""
		switch {
		case k.Transport == "tls" || k.Transport == "https":
			missing = "server transport"
		case k.Transport != "dns":
			missing = "server transport other"
		case k.Zone != "." && !s.main() && !s.stub:
			missing = "server zone"
		}
		if why, found := lacking[missing]; found {
			r.problems = append(r.problems, Problem{s.Position, Unsupported, fmt.Sprintf("not supported: a server block for %s: %s", k, why)})
		}
	}
}

// overlaps refuses keys that two server blocks have, unless addresses to bind
// tell them apart.
func (r *reader) overlaps(c Config) {
	type place struct {
		Key
		bind string
	}
	first := map[place]Position{}
	for _, s := range c.Servers {
		bound := []string{""}
		for _, d := range s.Directives {
			if b, ok := d.Setting.(Bind); ok {
				bound = b.At
			}
		}
		for _, k := range s.Keys {
			for _, b := range bound {
				if at, taken := first[place{k, b}]; taken {
					r.problems = append(r.problems, mistake(s.Position, "%s is served already by the block at %s; join the two blocks", k, at))
				}
				first[place{k, b}] = s.Position
			}
		}
	}
}
