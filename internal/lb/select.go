package lb

import (
	"cmp"
	"slices"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// Candidate is one endpoint of a Service's port and what became of it.
type Candidate struct {
	Endpoint *desired.Endpoint
	Slice    *desired.Slice
	Port     uint16
	// Used tells whether connections go there, Why in words what decided it.
	Used bool
	Why  string
}

// Candidates returns every endpoint that a Service has for one frontend and one
// address family, and which of them serve clients at a place as seen from the
// given node:
//
//  1. with a traffic policy of Local, endpoints on the node (KEP-2086);
//  2. of these, endpoints that offer the port and are ready; if no endpoint is,
//     those that are terminating but still serving (KEP-1669);
//  3. without such a policy, of these those hinted for the node, else for its
//     zone, if every endpoint carries such hints (KEP-3015, KEP-2433).
func Candidates(s *desired.Service, role Role, ipv6 bool, from Place, node desired.Node) []Candidate {
	var all []Candidate
	port, local := role.Port, role.local(s, from)
	for _, slice := range s.Slices {
		if slice.IPv6 != ipv6 {
			continue
		}
		number, offered := slice.Port(port.Name, port.Protocol)
		for i := range slice.Endpoints {
			c := Candidate{Endpoint: &slice.Endpoints[i], Slice: slice, Port: number, Used: offered && !slice.Headless}
			switch {
			case !offered:
				c.Why = "does not offer port " + port.String()
			case slice.Headless:
				c.Why = "is for DNS alone (label " + desired.LabelHeadless + " on its EndpointSlice)"
			}
			all = append(all, c)
		}
	}
	if local {
		policy := "internalTrafficPolicy"
		if role.Kind != ClusterIP {
			policy = "externalTrafficPolicy"
		}
		keep(all, func(e *desired.Endpoint) bool { return isOn(e, node) }, "is on another node ("+policy+": Local)")
	}
	keepServing(all)
	if !local {
		keepNear(all, node)
	}
	for i := range all {
		if all[i].Used {
			all[i].Why = used(all[i].Endpoint)
		}
	}
	return all
}

func used(e *desired.Endpoint) string {
	if !e.Ready {
		return "terminating but still serving, as no endpoint is ready"
	}
	return "ready"
}

// keep drops the used candidates that do not satisfy want.
func keep(all []Candidate, want func(*desired.Endpoint) bool, why string) {
	for i := range all {
		if c := &all[i]; c.Used && !want(c.Endpoint) {
			c.Used, c.Why = false, why
		}
	}
}

func anyUsed(all []Candidate, is func(*desired.Endpoint) bool) bool {
	return slices.ContainsFunc(all, func(c Candidate) bool { return c.Used && is(c.Endpoint) })
}

func keepServing(all []Candidate) {
	// A terminating endpoint is ready only if its Service publishes addresses
	// that are not ready, which is for DNS and for this choice alike.
	ready := func(e *desired.Endpoint) bool { return e.Ready }
	if anyUsed(all, ready) {
		for i := range all {
			if c := &all[i]; c.Used && !c.Endpoint.Ready {
				c.Used, c.Why = false, notReady(c.Endpoint)
			}
		}
		return
	}
	for i := range all {
		if c := &all[i]; c.Used && !(c.Endpoint.Serving && c.Endpoint.Terminating) {
			c.Used, c.Why = false, notReady(c.Endpoint)
		}
	}
}

func notReady(e *desired.Endpoint) string {
	if e.Terminating {
		return "is terminating"
	}
	return "is not ready"
}

// keepNear follows the hints for the node and for its zone. Hints count only
// where every endpoint in question has them, and only if that leaves some.
func keepNear(all []Candidate, node desired.Node) {
	hinted := func(hints func(*desired.Endpoint) []string) bool {
		return !slices.ContainsFunc(all, func(c Candidate) bool { return c.Used && len(hints(c.Endpoint)) == 0 })
	}
	levels := []struct {
		here  string
		hints func(*desired.Endpoint) []string
		why   string
	}{
		{node.Name, func(e *desired.Endpoint) []string { return e.ForNodes }, "is meant for clients on other nodes (hints.forNodes)"},
		{node.Zone, func(e *desired.Endpoint) []string { return e.ForZones }, "is meant for clients in other zones (hints.forZones)"},
	}
	for _, l := range levels {
		forHere := func(e *desired.Endpoint) bool { return slices.Contains(l.hints(e), l.here) }
		if l.here != "" && hinted(l.hints) && anyUsed(all, forHere) {
			keep(all, forHere, l.why)
			return
		}
	}
}

func compareReasons(a, b desired.Reason) int {
	return cmp.Or(cmp.Compare(a.Object.String(), b.Object.String()), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Message, b.Message))
}
