package ebpf

import (
	"fmt"
	"slices"
	"strings"
)

// Describe says in human lines what is attached and what fell back, and why. It
// does not wait for an Apply.
func (p *Plane) Describe() []string {
	if !p.mu.TryLock() {
		lines := p.notes
		if last := p.described.Load(); last != nil {
			lines = *last
		}
		return append(slices.Clone(lines), "busy: a change is being written; what else is said here was so before")
	}
	defer p.mu.Unlock()
	lines := p.describe()
	p.described.Store(&lines)
	return lines
}

func (p *Plane) describe() []string {
	lines := slices.Clone(p.notes)
	switch {
	case p.attached:
		lines = append(lines, fmt.Sprintf("%d programs attached to cgroup %s, %d frontends", len(p.programs), p.config.Cgroup, len(p.known)))
	case p.foreign:
		lines = append(lines, "programs of another layout serve until everything has been read from the API server")
	default:
		lines = append(lines, "nothing applied yet")
	}
	if problem := p.released.Load(); problem != nil && *problem != "" {
		lines = append(lines, *problem)
	}
	if len(p.pending) > 0 {
		lines = append(lines, fmt.Sprintf("%d frontends wait to be written or removed, such as %s", len(p.pending), p.examples()))
	}
	return lines
}

// examples names up to three pending frontends.
func (p *Plane) examples() string {
	var names []string
	for f := range p.pending {
		names = append(names, f.String())
		if len(names) == 3 {
			break
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
