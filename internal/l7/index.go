package l7

import (
	"cmp"
	"slices"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// index is what Compile keeps of a State so that the next one costs what changed.
type index struct {
	classes classes
	// ingresses are those that are served.
	ingresses pmap.Map[desired.Name, *ingress]
	// hosts lists who has rules for a host; secrets, who has a certificate for it.
	hosts, secrets pmap.Map[string, *claims]
	// users are the Ingresses that name a Backend; ports the Backends of a Service.
	users pmap.Map[BackendID, pmap.Map[desired.Name, struct{}]]
	ports pmap.Map[desired.Name, *portList]
	// reasons are by what they come from, each with all that there are.
	reasons pmap.Map[origin, *reasonList]
	// settings and listed are what ConfigMaps say of ingress-nginx's settings, and of ports.
	settings *settings
	listed   *listed
	// ruled are the Ingresses that want rules of ModSecurity, pending those whose rules are
	// not compiled yet.
	ruled   pmap.Map[desired.Name, *ingress]
	pending map[desired.Name]bool
}

// claims are the Ingresses that name a host, the oldest first.
type claims struct{ by []*ingress }

// portList are Backends of one Service, sorted.
type portList struct{ ids []BackendID }

// origin is what a Reason comes from: the part that is made anew together.
type origin struct {
	part partOf
	name string
}

// partOf is a kind of origin.
type partOf uint8

// The kinds of origins.
const (
	fromClasses partOf = iota
	fromIngress
	fromHost
	fromSecrets
	fromBackend
	fromSettings
	fromListed
)

type reasonList struct{ reasons []desired.Reason }

// allReasons returns all Reasons, sorted.
func (i index) allReasons() []desired.Reason {
	var all []desired.Reason
	for _, list := range i.reasons.All() {
		all = append(all, list.reasons...)
	}
	slices.SortFunc(all, compareReasons)
	// One Ingress can name a wrong Backend more than once.
	return slices.Compact(all)
}

func compareReasons(a, b desired.Reason) int {
	return cmp.Or(cmp.Compare(a.Object.String(), b.Object.String()), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Message, b.Message))
}

// claimed collects who comes and goes for hosts, so that each list is made once.
type claimed struct {
	of *pmap.Editor[string, *claims]
	// dirty are the hosts that changed, each with who is there now.
	dirty map[string][]*ingress
}

func newClaimed(of pmap.Map[string, *claims]) claimed {
	return claimed{of: of.Edit(), dirty: map[string][]*ingress{}}
}

func (c *claimed) list(host string) []*ingress {
	list, ok := c.dirty[host]
	if ok {
		return list
	}
	if before, _ := c.of.Get(host); before != nil {
		list = slices.Clone(before.by)
	}
	return list
}

// remove takes an Ingress from a host's list.
func (c *claimed) remove(host string, i *ingress) {
	list := c.list(host)
	if at := slices.Index(list, i); at >= 0 {
		list = slices.Delete(list, at, at+1)
	}
	c.dirty[host] = list
}

// add puts an Ingress into a host's list.
func (c *claimed) add(host string, i *ingress) { c.dirty[host] = append(c.list(host), i) }

// each sorts the lists that changed, stores them and yields them, empty ones too.
func (c *claimed) each(yield func(host string, by []*ingress)) {
	for host, list := range c.dirty {
		slices.SortFunc(list, func(a, b *ingress) int { return a.source.Compare(b.source) })
		if len(list) == 0 {
			c.of.Delete(host)
		} else {
			c.of.Set(host, &claims{list})
		}
		yield(host, list)
	}
}
