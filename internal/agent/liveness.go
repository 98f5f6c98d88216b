package agent

import (
	"net/netip"
	"slices"

	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// unprivileged is the user of Fairlead's processes in pods without privileges,
// as the chart sets it.
const unprivileged = 65532

// without returns o with the dead addresses of one Service not ready, for as
// long as that leaves any endpoint: no news may take the last one away.
func without(o desired.Objects, service desired.Name, dead map[netip.Addr]bool) desired.Objects {
	if len(dead) == 0 {
		return o
	}
	changed, left := o.Slices.Edit(), false
	for name, slice := range o.Slices.All() {
		if name.Namespace != service.Namespace || slice.Labels[discoveryv1.LabelServiceName] != service.Name {
			continue
		}
		endpoints := slices.Clone(slice.Endpoints)
		for i := range endpoints {
			if isDead(endpoints[i], dead) {
				no := false
				endpoints[i].Conditions = discoveryv1.EndpointConditions{Ready: &no, Serving: &no}
			} else if ready := endpoints[i].Conditions.Ready; ready == nil || *ready {
				left = true
			}
		}
		patched := *slice
		patched.Endpoints = endpoints
		changed.Set(name, &patched)
	}
	if !left {
		return o
	}
	o.Slices = changed.Map()
	return o
}

func isDead(e discoveryv1.Endpoint, dead map[netip.Addr]bool) bool {
	return slices.ContainsFunc(e.Addresses, func(text string) bool {
		address, err := netip.ParseAddr(text)
		return err == nil && dead[address]
	})
}
