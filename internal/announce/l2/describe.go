package l2

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// mostLines limits what Describe says of one kind.
const mostLines = 10

// choose returns the interfaces that a list of names, or none for the uplinks,
// stands for and that can be used. It notes the others.
func (p *Plane) choose(v view, list []string, addresses []netip.Addr) []link {
	names, where := list, "an L2Advertisement names it"
	if len(list) == 0 {
		names, where = p.uplinks, "it is an uplink (lb.uplinks)"
	}
	found, without := v.matching(names)
	for _, name := range without {
		p.note("there is no interface %s on this node, though %s", name, where)
	}
	var usable []link
	for _, l := range found {
		switch {
		case l.unfit != "":
			p.note("interface %s is left out: %s", l.name, l.unfit)
			continue
		case !l.running:
			p.note("interface %s is down or unplugged: what it is to announce waits until it is up", l.name)
		}
		usable = append(usable, l)
	}
	switch {
	case len(usable) > 0:
	case len(names) == 0:
		p.note("%s not announced: this node has no uplink; name its interfaces in lb.uplinks or in the L2Advertisement", some(addresses))
	default:
		p.note("%s not announced: none of the interfaces %s can be used; correct the L2Advertisement's interfaces or lb.uplinks", some(addresses), strings.Join(names, ", "))
	}
	return usable
}

func (p *Plane) note(format string, arguments ...any) {
	p.notes = append(p.notes, fmt.Sprintf(format, arguments...))
}

// describeLocal says which addresses interfaces of this node have.
func (p *Plane) describeLocal(v view) []string {
	var lines []string
	for a := range p.all {
		if name, ok := v.local[a]; ok {
			lines = append(lines, fmt.Sprintf("interface %s of this node has the address %s of a Service: the kernel answers for it whoever is to announce it; take it from there", name, a))
		}
	}
	return few(lines)
}

// Describe says in words what is announced where, and what is not and why.
func (p *Plane) Describe() []string {
	conflicts := p.Conflicts()
	p.mu.Lock()
	defer p.mu.Unlock()
	var names []string
	for _, port := range p.ports {
		names = append(names, port.name)
	}
	slices.Sort(names)
	lines := []string{fmt.Sprintf("answers ARP and neighbour discovery for %d addresses at %d interfaces", len(p.mine), len(p.ports))}
	if len(names) > 0 {
		lines[0] += ": " + strings.Join(names, ", ")
	}
	lines = append(lines, p.notes...)
	if p.problem != nil {
		lines = append(lines, strings.Split("not everything is announced: "+p.problem.Error(), "\n")...)
	}
	var told []string
	for _, c := range conflicts {
		told = append(told, c.String())
	}
	return append(lines, few(told)...)
}

// String says what is wrong and what to do.
func (c Conflict) String() string {
	return fmt.Sprintf("the machine with MAC address %s, seen at interface %s, claims address %s of a Service too, since %s: clients may reach it instead; give it another address or take this one from the pool. If it is a node of this cluster, the two do not hear each other's probes",
		c.MAC, c.Interface, c.Address, c.Since.UTC().Format(time.RFC3339))
}

// some names addresses, not all if they are many.
func some(addresses []netip.Addr) string {
	slices.SortFunc(addresses, netip.Addr.Compare)
	if len(addresses) == 1 {
		return addresses[0].String() + " is"
	}
	return fmt.Sprintf("%s and %d more are", addresses[0], len(addresses)-1)
}

// few cuts a list, which it sorts.
func few(lines []string) []string {
	slices.Sort(lines)
	if len(lines) > mostLines {
		lines = append(lines[:mostLines:mostLines], fmt.Sprintf("and %d more of this kind", len(lines)-mostLines))
	}
	return lines
}

// Counters are what has been said about one address since it appeared in an
// Election.
type Counters struct {
	// Requests are questions for the address while this node owned it, Responses
	// answers to them.
	Requests, Responses uint64
	// Gratuitous counts announcements, one per interface and time.
	Gratuitous uint64
}

// Counters returns those of every address of the Election.
func (p *Plane) Counters() map[netip.Addr]Counters {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make(map[netip.Addr]Counters, len(p.all))
	for a, c := range p.all {
		all[a] = Counters{Requests: c.requests.Load(), Responses: c.responses.Load(), Gratuitous: c.gratuitous.Load()}
	}
	return all
}

// Malformed returns how many ARP packets and neighbour discovery messages were
// ignored because they are invalid.
func (p *Plane) Malformed() uint64 { return p.shared.malformed.Load() }
