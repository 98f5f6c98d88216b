package dns

import (
	"net/netip"
	"slices"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// users returns the owners of an address whose names are served.
func (t *Table) users(address netip.Addr) (*owners, bool) {
	all, ok := t.reverse.Get(address)
	if !ok || !t.config.filters() {
		return all, ok
	}
	hidden := func(name desired.Name) bool { return !t.exposes(name.Namespace) }
	seen := &owners{
		clusterIP: slices.DeleteFunc(slices.Clone(all.clusterIP), hidden),
		endpoint:  slices.DeleteFunc(slices.Clone(all.endpoint), hidden),
	}
	return seen, len(seen.clusterIP)+len(seen.endpoint) > 0
}

// clusterIPs brings the owners of a Service's own addresses up to date. before
// and after are nil if the Service did not exist or does not any more.
func (e *editor) clusterIPs(name desired.Name, before, after *service) {
	old, now := ownAddresses(before), ownAddresses(after)
	for _, address := range old {
		if !slices.Contains(now, address) {
			e.update(address, func(o *owners) { o.clusterIP = without(o.clusterIP, name) })
		}
	}
	for _, address := range now {
		if !slices.Contains(old, address) {
			e.update(address, func(o *owners) { o.clusterIP = with(o.clusterIP, name) })
		}
	}
}

func ownAddresses(s *service) []netip.Addr {
	if s == nil || s.source.Headless || s.source.Type == desired.ExternalName {
		return nil
	}
	return s.source.Addresses
}

// endpoints brings the owners of endpoint addresses up to date, looking only
// into slices that differ.
func (e *editor) endpoints(name desired.Name, before, after *service) {
	old, now := endpointSlices(before), endpointSlices(after)
	gone := map[netip.Addr]bool{}
	for _, slice := range old {
		if !slices.Contains(now, slice) {
			eachReady(slice, func(address netip.Addr) { gone[address] = true })
		}
	}
	for _, slice := range now {
		if !slices.Contains(old, slice) {
			eachReady(slice, func(address netip.Addr) { e.addEndpoint(address, name, after.owner) })
		}
		if len(gone) > 0 {
			eachReady(slice, func(address netip.Addr) { delete(gone, address) })
		}
	}
	for address := range gone {
		e.update(address, func(o *owners) { o.endpoint = without(o.endpoint, name) })
	}
}

func endpointSlices(s *service) []*desired.Slice {
	if s == nil || s.source.Type == desired.ExternalName {
		return nil
	}
	return s.source.Slices
}

func eachReady(slice *desired.Slice, visit func(netip.Addr)) {
	for i := range slice.Endpoints {
		if slice.Endpoints[i].Ready {
			visit(slice.Endpoints[i].Address)
		}
	}
}

// addEndpoint makes the Service an owner of address; alone is the value to
// share if it is the only one.
func (e *editor) addEndpoint(address netip.Addr, name desired.Name, alone *owners) {
	known, ok := e.reverse.Get(address)
	switch {
	case !ok:
		e.reverse.Set(address, alone)
	case !slices.Contains(known.endpoint, name):
		e.update(address, func(o *owners) { o.endpoint = with(o.endpoint, name) })
	}
}

// update replaces the owners of an address by a changed copy.
func (e *editor) update(address netip.Addr, change func(*owners)) {
	var next owners
	if known, ok := e.reverse.Get(address); ok {
		next = *known
	}
	change(&next)
	if len(next.clusterIP)+len(next.endpoint) == 0 {
		e.reverse.Delete(address)
		return
	}
	e.reverse.Set(address, &next)
}

// with returns a sorted list that holds name; the given list is not written.
func with(list []desired.Name, name desired.Name) []desired.Name {
	at, found := slices.BinarySearchFunc(list, name, desired.Name.Compare)
	if found {
		return list
	}
	return slices.Insert(slices.Clone(list), at, name)
}

// without returns the list less name; the given list is not written.
func without(list []desired.Name, name desired.Name) []desired.Name {
	at, found := slices.BinarySearchFunc(list, name, desired.Name.Compare)
	if !found {
		return list
	}
	return slices.Delete(slices.Clone(list), at, at+1)
}
