package desired

import (
	"reflect"
	"slices"

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
		services: prev.Services.Edit(), statuses: prev.Statuses.Edit(),
		slicesOf: prev.slicesOf.Edit(), dirty: map[Name]bool{},
	}
	for c := range pmap.Diff(prev.objects.Slices, o.Slices) {
		b.slice(c)
	}
	// In the order of this map the others with the same keys are gone through from
	// one end to the other, which at a start is far kinder to the processor's caches.
	for c := range pmap.Diff(prev.objects.Services, o.Services) {
		b.service(c.Key, o)
		delete(b.dirty, c.Key)
	}
	for name := range b.dirty {
		b.service(name, o)
	}
	b.addressing(prev.objects.Addressing, o.Addressing)
	return b.finish(o, n)
}

type builder struct {
	prev     *State
	services *pmap.Editor[Name, *Service]
	statuses *pmap.Editor[Ref, *Status]
	slicesOf *pmap.Editor[Name, *sliceList]
	dirty    map[Name]bool
	changed  []Status
}

// finish makes the State, or returns the previous one where nothing differs
// that a feature could see.
func (b *builder) finish(o Objects, n Node) (*State, []Status) {
	next := *b.prev
	next.Node, next.Synced, next.objects = n, o.Synced, o
	next.Services, next.Namespaces, next.Statuses = b.services.Map(), o.Namespaces, b.statuses.Map()
	next.Addressing, next.Pods = o.Addressing, o.Pods
	next.slicesOf = b.slicesOf.Map()
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
		next.Namespaces != p.Namespaces || next.Addressing != p.Addressing || next.Pods != p.Pods || next.Statuses != p.Statuses || !slices.Equal(next.ServiceCIDRs, p.ServiceCIDRs) {
		next.Revision++
	}
	return &next, b.changed
}

func (o Objects) same(other Objects) bool {
	return o.Services == other.Services && o.Slices == other.Slices && o.Namespaces == other.Namespaces && o.ServiceCIDRs == other.ServiceCIDRs && o.Addressing == other.Addressing && o.Pods == other.Pods
}

// sliceList holds slices sorted by name; it is never changed.
type sliceList struct{ slices []*Slice }

// slice takes in one added, changed or removed EndpointSlice and marks the
// Services it belongs or belonged to.
func (b *builder) slice(c pmap.Change[Name, *Slice]) {
	var reasons []Reason
	if c.HasNew {
		reasons = c.New.reasons
	}
	b.report(Ref{Kind: "EndpointSlice", Namespace: c.Key.Namespace, Name: c.Key.Name}, reasons)
	if c.HasOld && c.HasNew && c.Old.same(c.New) {
		return
	}
	if c.HasOld && !(c.HasNew && c.Old.service == c.New.service) {
		b.relist(c.Old.Service(), c.Key, nil)
	}
	if c.HasNew {
		b.relist(c.New.Service(), c.Key, c.New)
	}
}

// relist replaces the slice of this name in the list of a Service by now, which
// may be nil.
func (b *builder) relist(service, name Name, now *Slice) {
	if service == (Name{}) {
		return
	}
	if b.prev.objects.Services.Len() > 0 { // else every Service there is will be new
		b.dirty[service] = true
	}
	var old []*Slice
	if list, _ := b.slicesOf.Get(service); list != nil {
		old = list.slices
	}
	i, found := slices.BinarySearchFunc(old, name, func(s *Slice, n Name) int { return s.Name.Compare(n) })
	rest := old[i:]
	if found {
		rest = rest[1:]
	}
	next := append(make([]*Slice, 0, len(old)+1), old[:i]...)
	if now != nil {
		next = append(next, now)
	}
	if next = append(next, rest...); len(next) == 0 {
		b.slicesOf.Delete(service)
		return
	}
	b.slicesOf.Set(service, &sliceList{next})
}

// service joins one Service with its slices.
func (b *builder) service(name Name, o Objects) {
	ref := Ref{Kind: "Service", Namespace: name.Namespace, Name: name.Name}
	object, exists := o.Services.Get(name)
	if !exists {
		b.services.Delete(name)
		b.report(ref, nil)
		return
	}
	now := *object
	if list, _ := b.slicesOf.Get(name); list != nil && now.Type != ExternalName {
		now.Slices = list.slices
	}
	b.report(ref, slices.Concat(object.reasons, unresolvedPorts(&now).of(ref)))
	if old, had := b.services.Get(name); had && old.equal(&now) {
		return
	}
	b.services.Set(name, &now)
}

// report notes what is to be said against an object from now on.
func (b *builder) report(ref Ref, reasons []Reason) {
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
