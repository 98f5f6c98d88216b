package agent

import (
	"net/netip"
	"slices"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// unprivileged is the user of Fairlead's processes in pods without privileges,
// as the chart sets it.
const unprivileged = 65532

// without returns o with the endpoints not ready whose processes are dead: those of one
// Service, and of the others that lead to the same pods. A Service which that would
// leave without any keeps them: no news may take the last one away.
func without(o desired.Objects, service desired.Name, dead map[netip.Addr]bool) desired.Objects {
	if len(dead) == 0 {
		return o
	}
	// What is dead is only what a process said of itself: it counts for what is an
	// endpoint of this Service, and not for whatever else has the address.
	pods := map[string]bool{}
	for _, slice := range o.Slices.All() {
		if slice.Service() == service {
			for _, e := range slice.Endpoints {
				pods[e.Pod] = pods[e.Pod] || dead[e.Address]
			}
		}
	}
	ended := func(e *desired.Endpoint) bool { return pods[e.Pod] && dead[e.Address] }
	changed, left := map[desired.Name][]desired.Name{}, map[desired.Name]bool{}
	for name, slice := range o.Slices.All() {
		of := slice.Service()
		if of.Namespace != service.Namespace {
			continue
		}
		for i := range slice.Endpoints {
			switch e := &slice.Endpoints[i]; {
			case !ended(e):
				left[of] = left[of] || e.Ready
			case !slices.Contains(changed[of], name):
				changed[of] = append(changed[of], name)
			}
		}
	}
	edit := o.Slices.Edit()
	for of, names := range changed {
		if !left[of] {
			continue
		}
		for _, name := range names {
			slice, _ := edit.Get(name)
			patched := *slice
			patched.Endpoints = slices.Clone(slice.Endpoints)
			for i := range patched.Endpoints {
				if e := &patched.Endpoints[i]; ended(e) {
					e.Ready, e.Serving, e.Terminating = false, false, false
				}
			}
			edit.Set(name, &patched)
		}
	}
	o.Slices = edit.Map()
	return o
}
