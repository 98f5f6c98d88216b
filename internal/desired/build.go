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
		services: newJoin(prev.Services, prev.slicesOf, prev.objects.Services), statuses: prev.Statuses.Edit(),
		imports: newJoin(prev.Imports, prev.importsOf, prev.objects.Imports),
	}
	for c := range pmap.Diff(prev.objects.Slices, o.Slices) {
		b.slice(c)
	}
	// In the order of this map the others with the same keys are gone through from
	// one end to the other, which at a start is far kinder to the processor's caches.
	for c := range pmap.Diff(prev.objects.Services, o.Services) {
		b.service(c.Key, o)
		delete(b.services.dirty, c.Key)
	}
	for name := range b.services.dirty {
		b.service(name, o)
	}
	for c := range pmap.Diff(prev.objects.Imports, o.Imports) {
		b.imports.dirty[c.Key] = true
	}
	for name := range b.imports.dirty {
		b.imported(name, o)
	}
	b.addressing(prev.objects.Addressing, o.Addressing)
	return b.finish(o, n)
}

type builder struct {
	prev     *State
	statuses *pmap.Editor[Ref, *Status]
	changed  []Status
	// services and imports are joined with their slices.
	services, imports join
}

// finish makes the State, or returns the previous one where nothing differs
// that a feature could see.
func (b *builder) finish(o Objects, n Node) (*State, []Status) {
	next := *b.prev
	next.Node, next.Synced, next.objects = n, o.Synced, o
	next.Services, next.Namespaces, next.Statuses = b.services.of.Map(), o.Namespaces, b.statuses.Map()
	next.Addressing, next.Pods = o.Addressing, o.Pods
	next.Imports = b.imports.of.Map()
	next.Ingresses, next.IngressClasses, next.ConfigMaps = o.Ingresses, o.IngressClasses, o.ConfigMaps
	next.slicesOf, next.importsOf = b.services.slicesOf.Map(), b.imports.slicesOf.Map()
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
		next.Namespaces != p.Namespaces || next.Addressing != p.Addressing || next.Pods != p.Pods || next.Imports != p.Imports ||
		next.Ingresses != p.Ingresses || next.IngressClasses != p.IngressClasses || next.ConfigMaps != p.ConfigMaps || next.Statuses != p.Statuses || !slices.Equal(next.ServiceCIDRs, p.ServiceCIDRs) {
		next.Revision++
	}
	return &next, b.changed
}

func (o Objects) same(other Objects) bool {
	return o.Services == other.Services && o.Slices == other.Slices && o.Namespaces == other.Namespaces && o.ServiceCIDRs == other.ServiceCIDRs && o.Addressing == other.Addressing && o.Pods == other.Pods && o.Imports == other.Imports &&
		o.Ingresses == other.Ingresses && o.IngressClasses == other.IngressClasses && o.ConfigMaps == other.ConfigMaps
}

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
	b.services.slice(c, (*Slice).Service)
	b.imports.slice(c, (*Slice).Import)
}

// service joins one Service with its slices.
func (b *builder) service(name Name, o Objects) {
	ref := Ref{Kind: "Service", Namespace: name.Namespace, Name: name.Name}
	object, exists := o.Services.Get(name)
	if !exists {
		b.services.of.Delete(name)
		b.report(ref, nil)
		return
	}
	now := *object
	if list, _ := b.services.slicesOf.Get(name); list != nil && now.Type != ExternalName {
		now.Slices = list.slices
	}
	b.report(ref, slices.Concat(object.reasons, unresolvedPorts(&now).of(ref)))
	b.services.put(&now)
}

// imported joins one ServiceImport with its slices.
func (b *builder) imported(name Name, o Objects) {
	ref := Ref{Kind: "ServiceImport", Namespace: name.Namespace, Name: name.Name}
	object, exists := o.Imports.Get(name)
	if !exists {
		b.imports.of.Delete(name)
		b.report(ref, nil)
		return
	}
	now := *object
	if list, _ := b.imports.slicesOf.Get(name); list != nil {
		now.Slices = list.slices
	}
	b.report(ref, object.reasons)
	b.imports.put(&now)
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
