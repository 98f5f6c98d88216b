package agent

import (
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/fairlead-net/fairlead/internal/announce"
)

const (
	// mourned is how long a node must be gone until others take back what it has said
	// in the API. One that only restarts corrects that itself.
	mourned = 10 * time.Second
	// forgotten is when nothing is known any more of a node that is gone.
	forgotten = time.Hour
)

// departed remembers which nodes have gone that were alive once.
type departed struct {
	live announce.Live
	gone map[string]departure
}

type departure struct {
	at time.Time
	// told: it had said that it would go. buried: its objects have been deleted.
	told, buried bool
}

// note takes in which nodes are alive now. It tells whether one is back that did not
// say that it would go: such a node may have held this one for dead, too.
func (d *departed) note(live announce.Live, now time.Time) (returned bool) {
	if d.gone == nil {
		d.gone = map[string]departure{}
	}
	for name, was := range d.live.Nodes {
		if live.Nodes[name] == nil {
			d.gone[name] = departure{at: now, told: was.Leaving}
		}
	}
	for name, one := range d.gone {
		switch {
		case live.Nodes[name] != nil:
			returned = returned || !one.told
			delete(d.gone, name)
		case now.Sub(one.at) > forgotten:
			delete(d.gone, name)
		}
	}
	d.live = live
	return returned
}

// due returns the nodes whose objects this one is to delete now, and when to ask
// again; zero means that only another change can tell. Of the nodes that are alive one
// does so, and none where most are gone: then it may be this one that is cut off.
func (d *departed) due(self string, nodes int, now time.Time) (names []string, next time.Time) {
	if d.live.Nodes[self] == nil || 2*len(d.live.Nodes) < nodes {
		return nil, time.Time{}
	}
	for name, one := range d.gone {
		if one.buried || d.survivor(name) != self {
			continue
		}
		if at := one.at.Add(mourned); now.Before(at) {
			next = sooner(next, at)
			continue
		}
		names = append(names, name)
	}
	return names, next
}

// survivor returns the node that takes care of what another leaves: as for addresses
// the one with the highest hash (see announce.Elect).
func (d *departed) survivor(of string) string {
	var best string
	var most uint64
	for name := range d.live.Nodes {
		if weight := xxhash.Sum64String(of + "/" + name); best == "" || weight > most {
			best, most = name, weight
		}
	}
	return best
}

func (d *departed) bury(name string) {
	if one, ok := d.gone[name]; ok {
		one.buried = true
		d.gone[name] = one
	}
}
