package agent

import (
	"slices"
	"strings"
	"time"

	"github.com/fairlead-net/fairlead/internal/reconcile"
)

// Planes without which a node serves its Services all the same: a port that
// kube-proxy still has concerns but a health check, what the uplinks do not
// forward nftables does, and a NodePort on loopback is for this node alone. What
// one node cannot announce another may.
const (
	healthPlane   = "lb-health"
	uplinkPlane   = "lb-uplink"
	loopbackPlane = "lb-loopback"
)

// mayFail tells whether a plane is one of those.
func mayFail(plane string) bool {
	return plane == healthPlane || plane == uplinkPlane || plane == loopbackPlane || strings.HasPrefix(plane, "announce-")
}

// healths returns what is known of all planes now. It waits for none of them: a
// process is asked for its health just when one hangs.
func (a *Agent) healths() []reconcile.Health {
	var all []reconcile.Health
	for _, p := range a.pipelines {
		all = append(all, p.health())
	}
	return all
}

// ready returns the reason why this process cannot do its work yet, or "".
func (a *Agent) ready() string { return ready(a.synced.Load(), a.healths()) }

func ready(synced bool, planes []reconcile.Health) string {
	if !synced {
		return "not everything has been read from the API server yet"
	}
	for _, h := range planes {
		if h.Applied == 0 && !mayFail(h.Plane) {
			return "plane " + h.Plane + " has applied nothing yet: " + h.Problem
		}
	}
	return ""
}

// serving tells whether planes, as far as they serve Services, do their work.
func serving(planes []reconcile.Health) bool {
	return !slices.ContainsFunc(planes, func(h reconcile.Health) bool { return isServing(h.Plane) && !h.Serves() })
}

// isServing tells whether Services are not served as they are wanted while a
// plane fails.
func isServing(plane string) bool { return strings.HasPrefix(plane, "lb-") && !mayFail(plane) }

// proxyHealth tells whether this process does kube-proxy's work, and when it last
// applied a change.
func (a *Agent) proxyHealth() (healthy bool, last time.Time) {
	planes := a.healths()
	for _, h := range planes {
		if isServing(h.Plane) && h.AppliedAt.After(last) {
			last = h.AppliedAt
		}
	}
	return ready(a.synced.Load(), planes) == "" && serving(planes), last
}
