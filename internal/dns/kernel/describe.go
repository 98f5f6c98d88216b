package kernel

import (
	"fmt"
	"slices"
	"strings"
)

// Describe says in words what the kernel answers, and why not more.
func (p *Plane) Describe() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var lines []string
	switch {
	case p.off != nil:
		lines = append(lines, "the kernel answers no queries: "+p.off.Error())
	case len(p.links) == 0:
		lines = append(lines, "the kernel answers no queries: its program is on no interface")
	default:
		var names []string
		for _, l := range p.links {
			names = append(names, l.name)
		}
		slices.Sort(names)
		lines = append(lines, "the kernel answers plain queries for addresses that come by "+strings.Join(names, ", "))
	}
	if n := len(p.missing); n > 0 {
		lines = append(lines, fmt.Sprintf("the kernel has no room for %d names, so that it leaves to this process what does not exist", n))
	}
	var refused []string
	for _, r := range p.refused {
		refused = append(refused, r.String())
	}
	slices.Sort(refused)
	return append(lines, refused...)
}
