package dns

import (
	"iter"
	"net/netip"
	"slices"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// Records yields every record that the Table holds, in the order of a zone
// file: the domain's own, those of each Service sorted by namespace and name,
// and the names of addresses. The names of pods, which are made up on demand,
// are not among them.
func (t Table) Records() iter.Seq[Record] {
	return func(yield func(Record) bool) {
		for name := range t.names() {
			for _, qtype := range []Type{TypeSOA, TypeNS, TypeCNAME, TypeA, TypeAAAA, TypeTXT, TypeSRV, TypePTR} {
				for _, record := range t.Answer(Question{Name: name, Type: qtype, Class: ClassIN}).Answer {
					// Aliases, and what they lead to, are listed once.
					if record.Name == name && record.Type == qtype && !yield(record) {
						return
					}
				}
			}
		}
	}
}

// names yields every name that has records, once.
func (t Table) names() iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range t.zones {
			z := &t.zones[i]
			for _, name := range []string{z.domain + ".", "dns-version." + z.domain + ".", z.primary} {
				if !yield(name) {
					return
				}
			}
		}
		own := func(z *zone) bool { return z.kind != importedZone }
		imported := func(z *zone) bool { return z.kind == importedZone }
		if !t.serviceNames(t.services, own, yield) || !t.serviceNames(t.imports, imported, yield) {
			return
		}
		var addresses []netip.Addr
		for address := range t.reverse.All() {
			addresses = append(addresses, address)
		}
		slices.SortFunc(addresses, netip.Addr.Compare)
		for _, address := range addresses {
			if !yield(ReverseName(address)) {
				return
			}
		}
	}
}

// serviceNames yields the names of Services in the zones that are meant, and
// reports whether to go on.
func (t Table) serviceNames(of pmap.Map[desired.Name, *service], in func(*zone) bool, yield func(string) bool) bool {
	var names []desired.Name
	for name := range of.All() {
		if t.exposes(name.Namespace) {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, desired.Name.Compare)
	for _, name := range names {
		s, _ := of.Get(name)
		for _, prefix := range s.prefixes() {
			for i := range t.zones {
				if in(&t.zones[i]) && !yield(prefix+t.zones[i].serviceName(name)) {
					return false
				}
			}
		}
	}
	return true
}

// prefixes returns what can stand in front of a Service's name, each with its
// dot: nothing, named ports, and endpoints.
func (s *service) prefixes() []string {
	list := []string{""}
	add := func(prefix string) {
		if !slices.Contains(list, prefix) {
			list = append(list, prefix)
		}
	}
	for _, p := range s.source.Ports {
		if p.Name != "" {
			add("_" + p.Name + "._" + protocolLabel(p.Protocol) + ".")
		}
	}
	last := ""
	for _, at := range s.ready {
		slice, e := s.at(at)
		switch l := s.label(slice, e); {
		case s.imported:
			add(l + ".") // those of one cluster need not follow each other
		case l != last:
			list, last = append(list, l+"."), l
		}
	}
	return list
}

// ReverseName returns the absolute name of an address in the reverse zones.
func ReverseName(address netip.Addr) string {
	const digits = "0123456789abcdef"
	bytes := address.AsSlice()
	slices.Reverse(bytes)
	if address.Is4() {
		return netip.AddrFrom4([4]byte(bytes)).String() + "." + reverse4 + "."
	}
	name := make([]byte, 0, 4*len(bytes))
	for _, b := range bytes {
		name = append(name, digits[b&0xf], '.', digits[b>>4], '.')
	}
	return string(name) + reverse6 + "."
}
