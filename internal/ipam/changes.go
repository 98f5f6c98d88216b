package ipam

import (
	"maps"
	"slices"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// outdated tells whether anything in the State, or in the options, counts that is
// not as it was for t.
func (t Table) outdated(s *desired.State, o Options) bool {
	was, is := t.state.Addressing, s.Addressing
	if was.Pools != is.Pools || was.Claims != is.Claims || t.state.Namespaces != s.Namespaces || !t.options.equal(o) {
		return true
	}
	for c := range pmap.Diff(t.state.Services, s.Services) {
		if (t.concerns(c.Key, c.Old) || t.concerns(c.Key, c.New)) && !(c.HasOld && c.HasNew && Same(c.Old, c.New)) {
			return true
		}
	}
	return false
}

// concerns tells whether addresses depend on a Service, which may be nil.
func (t Table) concerns(name desired.Name, s *desired.Service) bool {
	if s == nil {
		return false
	}
	_, known := t.Services.Get(name)
	return known || s.Balancer != nil || t.absent[name]
}

// Same tells whether two states of a Service are the same to this package, to which
// endpoints do not matter.
func Same(a, b *desired.Service) bool {
	if a.Type != b.Type || a.ExternalLocal != b.ExternalLocal || !a.Created.Equal(b.Created) || !slices.Equal(a.Addresses, b.Addresses) ||
		!slices.EqualFunc(a.Ports, b.Ports, func(p, q desired.Port) bool { return p.Protocol == q.Protocol && p.Port == q.Port }) {
		return false
	}
	p, q := a.Balancer, b.Balancer
	if p == q || p == nil || q == nil {
		return p == q
	}
	return p.Class == q.Class && p.RequireDualStack == q.RequireDualStack && p.Hostnames == q.Hostnames &&
		p.SharingKey == q.SharingKey && p.Pods == q.Pods && maps.Equal(p.Labels, q.Labels) &&
		slices.Equal(p.Requested, q.Requested) && slices.Equal(p.Pools, q.Pools) &&
		slices.Equal(p.SharingNamespaces, q.SharingNamespaces) && slices.Equal(p.Ingress, q.Ingress)
}
