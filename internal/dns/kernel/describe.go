package kernel

import (
	"fmt"
	"maps"
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
		names := slices.Sorted(maps.Values(p.names))
		lines = append(lines, "the kernel answers plain queries for addresses that come by "+strings.Join(names, ", "))
	}
	if n := len(p.missing); n > 0 {
		lines = append(lines, fmt.Sprintf("the kernel has no room for %d names, so that it leaves to this process what does not exist", n))
	}
	return append(lines, slices.Sorted(maps.Values(p.refused))...)
}
