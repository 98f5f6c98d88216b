package agent

import (
	"net/netip"
	"slices"

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
		if slice.Service() != service {
			continue
		}
		endpoints := slices.Clone(slice.Endpoints)
		for i := range endpoints {
			if e := &endpoints[i]; dead[e.Address] {
				e.Ready, e.Serving, e.Terminating = false, false, false
			} else if e.Ready {
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
