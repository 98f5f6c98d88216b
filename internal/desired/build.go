package desired

import (
	"reflect"
	"slices"

	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/fairlead-net/fairlead/internal/pmap"
)

// Build returns the State that o describes as seen from node n, and a Status
// for every object whose reasons differ from those in prev. prev is the State
// that Build returned last, or nil at first. A change that no feature can see
// (an annotation, say) yields a State of the same Revision.
func Build(o Objects, n Node, prev *State) (*State, []Status) {
	if prev == nil {
		prev = &State{}
	}
	b := builder{
		prev:     prev,
		services: prev.Services.Edit(), namespaces: prev.Namespaces.Edit(), statuses: prev.Statuses.Edit(),
		slices: prev.slices.Edit(), slicesOf: prev.slicesOf.Edit(),
		dirty: map[Name]bool{},
	}
	for c := range pmap.Diff(prev.objects.Slices, o.Slices) {
		b.slice(c)
	}
	for c := range pmap.Diff(prev.objects.Services, o.Services) {
		b.dirty[c.Key] = true
	}
	for name := range b.dirty {
		b.service(name, o)
	}
	for c := range pmap.Diff(prev.objects.Namespaces, o.Namespaces) {
		if c.HasNew {
			b.namespaces.Set(c.Key, true)
		} else {
			b.namespaces.Delete(c.Key)
		}
	}
	return b.finish(o, n)
}

type builder struct {
	prev       *State
	services   *pmap.Editor[Name, *Service]
	namespaces *pmap.Editor[string, bool]
	statuses   *pmap.Editor[Ref, *Status]
	slices     *pmap.Editor[Name, *Slice]
	slicesOf   *pmap.Editor[Name, *sliceNames]
	dirty      map[Name]bool
	changed    []Status
}

// finish makes the State, or returns the previous one where nothing differs
// that a feature could see.
func (b *builder) finish(o Objects, n Node) (*State, []Status) {
	next := *b.prev
	next.Node, next.Synced, next.objects = n, o.Synced, o
	next.Services, next.Namespaces, next.Statuses = b.services.Map(), b.namespaces.Map(), b.statuses.Map()
	next.slices, next.slicesOf = b.slices.Map(), b.slicesOf.Map()
	p := b.prev
	next.ServiceCIDRs = p.ServiceCIDRs
	if p.Revision == 0 || o.ServiceCIDRs != p.objects.ServiceCIDRs {
		if ranges := parseServiceCIDRs(o); !slices.Equal(ranges, p.ServiceCIDRs) {
			next.ServiceCIDRs = ranges
		}
	}
	if p.Revision > 0 && p.Node == n && p.Synced == o.Synced && p.objects.same(o) {
		return p, nil
	}
	if p.Revision == 0 || p.Node != n || p.Synced != o.Synced || next.Services != p.Services ||
		next.Namespaces != p.Namespaces || next.Statuses != p.Statuses || !slices.Equal(next.ServiceCIDRs, p.ServiceCIDRs) {
		next.Revision++
	}
	return &next, b.changed
}

func (o Objects) same(other Objects) bool {
	return o.Services == other.Services && o.Slices == other.Slices && o.Namespaces == other.Namespaces && o.ServiceCIDRs == other.ServiceCIDRs
}

// sliceNames is a sorted list of names of slices.
type sliceNames struct{ names []Name }

// slice takes in one added, changed or removed EndpointSlice and marks the
// Services it belongs or belonged to.
func (b *builder) slice(c pmap.Change[Name, *discoveryv1.EndpointSlice]) {
	old, had := b.slices.Get(c.Key)
	var now *Slice
	var reasons []Reason
	if c.HasNew {
		now, reasons = parseSlice(c.New)
	}
	b.report(Ref{Kind: "EndpointSlice", Namespace: c.Key.Namespace, Name: c.Key.Name}, reasons)
	if had && (now == nil || now.service != old.service) {
		b.unlink(old)
	}
	switch {
	case now == nil:
		b.slices.Delete(c.Key)
	case had && reflect.DeepEqual(old, now):
		return
	default:
		b.slices.Set(c.Key, now)
		b.link(now)
	}
}

func (b *builder) link(s *Slice) {
	list, _ := b.slicesOf.Get(s.service)
	b.dirty[s.service] = true
	var names []Name
	if list != nil {
		names = list.names
	}
	if i, found := slices.BinarySearchFunc(names, s.Name, Name.Compare); !found {
		names = slices.Insert(slices.Clone(names), i, s.Name)
		b.slicesOf.Set(s.service, &sliceNames{names})
	}
}

func (b *builder) unlink(s *Slice) {
	b.dirty[s.service] = true
	list, _ := b.slicesOf.Get(s.service)
	if list == nil {
		return
	}
	names := slices.DeleteFunc(slices.Clone(list.names), func(n Name) bool { return n == s.Name })
	if len(names) == 0 {
		b.slicesOf.Delete(s.service)
		return
	}
	b.slicesOf.Set(s.service, &sliceNames{names})
}

// service rebuilds one Service from its object and its slices.
func (b *builder) service(name Name, o Objects) {
	ref := Ref{Kind: "Service", Namespace: name.Namespace, Name: name.Name}
	object, exists := o.Services.Get(name)
	if !exists {
		b.services.Delete(name)
		b.report(ref, nil)
		return
	}
	now, reasons := parseService(object)
	if list, _ := b.slicesOf.Get(name); list != nil && now.Type != ExternalName {
		for _, sliceName := range list.names {
			slice, _ := b.slices.Get(sliceName)
			now.Slices = append(now.Slices, slice)
		}
	}
	reasons = append(reasons, unresolvedPorts(now)...)
	b.report(ref, reasons)
	if old, had := b.services.Get(name); had && old.equal(now) {
		return
	}
	b.services.Set(name, now)
}

// report notes what is to be said against an object from now on.
func (b *builder) report(ref Ref, reasons []Reason) {
	for i := range reasons {
		reasons[i].Object = ref
	}
	old, had := b.statuses.Get(ref)
	if !had && len(reasons) == 0 || had && slices.Equal(old.Reasons, reasons) {
		return
	}
	status := Status{Object: ref, Reasons: reasons}
	b.changed = append(b.changed, status)
	if len(reasons) == 0 {
		b.statuses.Delete(ref)
		return
	}
	b.statuses.Set(ref, &status)
}

// equal compares by content, but slices by pointer: an unchanged EndpointSlice
// keeps its pointer.
func (s *Service) equal(other *Service) bool {
	a, b := *s, *other
	a.Slices, b.Slices = nil, nil
	return slices.Equal(s.Slices, other.Slices) && reflect.DeepEqual(a, b)
}
