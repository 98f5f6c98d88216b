package desired

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/fairlead-net/fairlead/api/metallb"
)

// Pool is a set of addresses for Services of type LoadBalancer.
type Pool struct {
	Name   Name              `json:"name"`
	Labels map[string]string `json:"labels,omitempty"`
	// Ranges are sorted and do not overlap.
	Ranges []Range `json:"ranges,omitempty"`
	// AutoAssign gives addresses to Services that name neither an address nor the
	// pool.
	AutoAssign bool `json:"autoAssign"`
	// AvoidBuggyIPs leaves out IPv4 addresses that end in .0 and .255.
	AvoidBuggyIPs bool `json:"avoidBuggyIPs,omitempty"`
	// Priority orders pools that a Service may have addresses from: the lowest
	// first, 0 last.
	Priority int `json:"priority,omitempty"`
	// Namespaces and NamespaceSelectors say, together, whose Services may have
	// addresses; both empty: those of all. ServiceSelectors restrict further.
	Namespaces         []string  `json:"namespaces,omitempty"`
	NamespaceSelectors Selectors `json:"namespaceSelectors,omitempty"`
	ServiceSelectors   Selectors `json:"serviceSelectors,omitempty"`

	reasons []Reason // against the object
}

// Range is a range of addresses of one family, both ends included.
type Range struct{ First, Last netip.Addr }

// Contains tells whether an address is in the range.
func (r Range) Contains(a netip.Addr) bool {
	return a.BitLen() == r.First.BitLen() && r.First.Compare(a) <= 0 && a.Compare(r.Last) <= 0
}

// String returns FIRST-LAST, or the address if there is just one.
func (r Range) String() string {
	if r.First == r.Last {
		return r.First.String()
	}
	return r.First.String() + "-" + r.Last.String()
}

// MarshalText writes what String returns.
func (r Range) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// Contains tells whether a pool has an address, be it one to avoid.
func (p *Pool) Contains(a netip.Addr) bool {
	return slices.ContainsFunc(p.Ranges, func(r Range) bool { return r.Contains(a) })
}

// Avoids tells whether a pool has an address that it does not give by itself.
func (p *Pool) Avoids(a netip.Addr) bool {
	if !p.AvoidBuggyIPs || !a.Is4() {
		return false
	}
	last := a.As4()[3]
	return last == 0 || last == 255
}

// For tells whether Services with these labels, in a namespace with these, may
// have addresses of the pool.
func (p *Pool) For(namespace string, namespaceLabels, serviceLabels map[string]string) bool {
	open := len(p.Namespaces) == 0 && len(p.NamespaceSelectors) == 0
	named := slices.Contains(p.Namespaces, namespace) ||
		len(p.NamespaceSelectors) > 0 && p.NamespaceSelectors.Match(namespaceLabels)
	return (open || named) && p.ServiceSelectors.Match(serviceLabels)
}

// ParsePool turns the object into a Pool, which knows what of the object cannot be
// used.
func ParsePool(o *metallb.IPAddressPool) *Pool {
	p := &Pool{
		Name: Name{o.Namespace, o.Name}, Labels: o.Labels, AvoidBuggyIPs: o.Spec.AvoidBuggyIPs,
		AutoAssign: isTrue(o.Spec.AutoAssign, true),
	}
	var r reasons
	for i, text := range o.Spec.Addresses {
		one, problem := parseRange(text)
		if problem != "" {
			r.add("RangeInvalid", "spec.addresses[%d]: %q %s; the pool is used without it", i, text, problem)
			continue
		}
		p.Ranges = append(p.Ranges, one)
	}
	p.Ranges = mergeRanges(p.Ranges)
	if to := o.Spec.AllocateTo; to != nil {
		p.Priority, p.Namespaces = to.Priority, slices.Sorted(slices.Values(to.Namespaces))
		p.NamespaceSelectors = parseSelectors(to.NamespaceSelectors, "spec.serviceAllocation.namespaceSelectors", &r)
		p.ServiceSelectors = parseSelectors(to.ServiceSelectors, "spec.serviceAllocation.serviceSelectors", &r)
	}
	p.reasons = r.of(Ref{Kind: "IPAddressPool", Namespace: o.Namespace, Name: o.Name})
	return p
}

// parseRange reads ADDRESS/BITS, FIRST-LAST or one ADDRESS, or says what is wrong.
func parseRange(text string) (Range, string) {
	text = strings.TrimSpace(text)
	first, last, isRange := strings.Cut(text, "-")
	var r Range
	switch {
	case isRange:
		from, err := netip.ParseAddr(strings.TrimSpace(first))
		to, err2 := netip.ParseAddr(strings.TrimSpace(last))
		if err != nil || err2 != nil {
			return r, "is not of the form FIRST-LAST"
		}
		r = Range{from.Unmap(), to.Unmap()}
	case strings.Contains(text, "/"):
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return r, "is not of the form ADDRESS/BITS"
		}
		r = Range{prefix.Masked().Addr().Unmap(), lastOf(prefix.Masked()).Unmap()}
	default:
		address, err := netip.ParseAddr(text)
		if err != nil {
			return r, "is neither ADDRESS/BITS nor FIRST-LAST"
		}
		r = Range{address.Unmap(), address.Unmap()}
	}
	switch {
	case r.First.BitLen() != r.Last.BitLen():
		return r, "begins with one family and ends with the other"
	case r.Last.Less(r.First):
		return r, "ends before it begins"
	case r.First.Zone() != "" || r.Last.Zone() != "":
		return r, "has a zone, which means something only on one machine"
	case r.First.IsUnspecified() || unusable(r.First) || unusable(r.Last):
		return r, "has unspecified, loopback, link-local or multicast addresses, which no Service can have"
	}
	return r, ""
}

func unusable(a netip.Addr) bool {
	return a.IsLoopback() || a.IsMulticast() || a.IsLinkLocalUnicast()
}

// lastOf returns the last address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	bytes := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(bytes)*8; bit++ {
		bytes[bit/8] |= 1 << (7 - bit%8)
	}
	last, _ := netip.AddrFromSlice(bytes)
	return last
}

// mergeRanges sorts ranges and joins those that overlap.
func mergeRanges(ranges []Range) []Range {
	slices.SortFunc(ranges, func(a, b Range) int { return a.First.Compare(b.First) })
	var merged []Range
	for _, r := range ranges {
		if n := len(merged); n > 0 && r.First.BitLen() == merged[n-1].First.BitLen() && r.First.Compare(merged[n-1].Last) <= 0 {
			if merged[n-1].Last.Less(r.Last) {
				merged[n-1].Last = r.Last
			}
			continue
		}
		merged = append(merged, r)
	}
	return merged
}
