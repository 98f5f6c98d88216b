package dns

import (
	"net/netip"
	"slices"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// exposed returns the namespaces of now that have names; prev are those of
// known that have.
func exposed(prev, known, now pmap.Map[string, *desired.Namespace], c *Config, selects desired.Selector) pmap.Map[string, *desired.Namespace] {
	if !c.filters() {
		return now
	}
	e := prev.Edit()
	for change := range pmap.Diff(known, now) {
		named := len(c.Namespaces) == 0 || slices.Contains(c.Namespaces, change.Key)
		if change.HasNew && named && selects.Matches(change.New.Labels) {
			e.Set(change.Key, change.New)
		} else {
			e.Delete(change.Key)
		}
	}
	return e.Map()
}

// exposes reports whether the names of a namespace are served.
func (t *Table) exposes(namespace string) bool {
	if !t.config.filters() {
		return true
	}
	_, ok := t.namespaces.Get(namespace)
	return ok
}

// noNamespace says why a namespace has no names.
func (t *Table) noNamespace() string {
	if t.config.filters() {
		return "there is no such namespace, or its names are not served"
	}
	return "there is no such namespace"
}

// noService says why a Service has no names.
func (t *Table) noService() string {
	if t.config.Labels != "" {
		return "there is no such Service, or its labels are not those whose names are served"
	}
	return "there is no such Service"
}

// selected reports whether an object with these labels has names.
func (e *editor) selected(labels map[string]string) bool {
	return e.config.Labels == "" || e.selects.Matches(labels)
}

// visible returns the Service with the slices alone that have names.
func (e *editor) visible(s *desired.Service) *desired.Service {
	hidden := func(slice *desired.Slice) bool { return e.config.NoEndpoints || !e.selected(slice.Labels) }
	if !slices.ContainsFunc(s.Slices, hidden) {
		return s
	}
	seen := *s
	seen.Slices = slices.DeleteFunc(slices.Clone(s.Slices), hidden)
	return &seen
}

// podAddress is an address in a namespace.
type podAddress struct {
	namespace string
	address   netip.Addr
}

// indexPods returns how many pods have each address; prev is the same for known.
func indexPods(prev pmap.Map[podAddress, int], known, now pmap.Map[desired.PodID, desired.Pod]) pmap.Map[podAddress, int] {
	e := prev.Edit()
	count := func(p desired.Pod, by int) {
		for _, address := range p.Addresses {
			if !address.IsValid() {
				continue
			}
			key := podAddress{p.Namespace, address}
			n, _ := e.Get(key)
			if n += by; n == 0 {
				e.Delete(key)
			} else {
				e.Set(key, n)
			}
		}
	}
	for change := range pmap.Diff(known, now) {
		count(change.Old, -1) // the zero Pod has no addresses
		count(change.New, 1)
	}
	return e.Map()
}
