package announce

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

const (
	// maxHandover is how long after a node has lost an address packets are passed to
	// it: as long as the packet path keeps a connection in which nobody speaks.
	maxHandover = 6 * time.Hour
	// absence is how long a node whose process has said that it leaves counts as one
	// that serves: its kernel goes on while the process is replaced. A machine that is
	// switched off leaves its connections hanging for that long.
	absence = time.Minute
	// linger is how long after a move clients may still send to a former owner.
	linger = 2 * time.Second
	// lease is how long the kernel may pass packets without hearing from a process: as
	// long as the others wait for the next one.
	lease = absence
	// maxOwners is how many nodes a packet may go through, the first one included.
	maxOwners = 4
)

// Moves is who has had each address on layer 2 lately: the owner, then those before
// it, the last one first. Each node passes packets of TCP connections that it does
// not know to the node behind it in that line, so they arrive at the one that does
// know them, and never go in circles: lines of all nodes have the same order, as far
// as they know it. The zero Moves knows nothing. It and all it points to are immutable.
type Moves struct {
	node  string
	known bool
	last  []Elected // of the last Election
	nodes map[string]presence
	lines map[netip.Addr][]tenure // of addresses that have had another owner than now
}

// presence is what is known of a node that is alive, or was.
type presence struct {
	addresses []netip.Addr
	leaving   bool
	since     time.Time
	gone      time.Time // zero while it is alive
}

// serves tells whether a node's kernel can be expected to serve connections.
func (p presence) serves(now time.Time) bool {
	return p.gone.IsZero() || p.leaving && now.Sub(p.gone) < absence
}

// tenure is a node's time with an address; until is zero for the owner, if there is
// one.
type tenure struct {
	node  string
	until time.Time
}

// Passing says that a node has to pass packets for an address, of TCP connections
// that it does not know, to another node.
type Passing struct {
	Address netip.Addr
	Node    string
	// To is that node's address of the same family.
	To netip.Addr
	// For is how long this is so without another word.
	For time.Duration
}

// Follow returns what prev becomes by an Election of this Table and Live, at a
// time. Call it with the same ones again when time has passed.
//
// A process that has just joined does not know who had its addresses meanwhile, nor
// does a node that was cut off and could not see that others took them: it was the
// node that would be elected if there were not this one.
func Follow(prev Moves, t Table, live Live, e Election, now time.Time) Moves {
	self, before := live.Nodes[t.Node], prev.nodes[t.Node]
	m := Moves{node: t.Node, known: prev.known || self != nil, nodes: presences(prev, t, live, now), lines: map[netip.Addr][]tenure{}}
	if self == nil {
		// What such a node believes of owners is not what the others do.
		for address, line := range prev.lines {
			m.put(address, line, now)
		}
		return m
	}
	m.last = e.Addresses
	joins := !before.gone.IsZero() || !before.since.Equal(self.Since)
	returned := m.returned(prev, joins)
	var without []Elected
	if len(returned) > 0 {
		without = Elect(t, live.without(t.Node)).Addresses
	}
	for i := range e.Addresses {
		address, owner := e.Addresses[i].Address, e.Addresses[i].Owner
		line, was := prev.lines[address], prev.owner(i, address)
		if line == nil && was != "" && was != owner {
			line = []tenure{{node: was}}
		}
		if without != nil && owner == m.node && returned[without[i].Owner] {
			if line == nil {
				line = []tenure{{node: owner}}
			}
			line = take(line, without[i].Owner, now)
		}
		m.put(address, take(line, owner, now), now)
	}
	return m
}

// presences returns what is known of nodes now. Of one that is gone its address and
// its last words are kept, as long as packets may be for it.
func presences(prev Moves, t Table, live Live, now time.Time) map[string]presence {
	nodes := make(map[string]presence, len(live.Nodes))
	for name, c := range live.Nodes {
		p := presence{addresses: prev.nodes[name].addresses, leaving: c.Leaving, since: c.Since}
		if i, found := slices.BinarySearchFunc(t.Nodes, name, func(n Node, name string) int { return strings.Compare(n.Name, name) }); found {
			p.addresses = addresses(p.addresses, t.Nodes[i].Addresses)
		}
		nodes[name] = p
	}
	for name, p := range prev.nodes {
		if _, alive := nodes[name]; alive {
			continue
		}
		if p.gone.IsZero() {
			p.gone = now
		}
		if now.Sub(p.gone) < maxHandover {
			nodes[name] = p
		}
	}
	return nodes
}

// addresses returns those of a node, given what they were before. Of a family that has
// gone the last one is kept: a node that leaves is taken out of the EndpointSlices of
// the families one after the other, and goes on serving.
func addresses(before, now []netip.Addr) []netip.Addr {
	for _, old := range before {
		if !slices.ContainsFunc(now, func(a netip.Addr) bool { return a.Is4() == old.Is4() }) {
			now = append(slices.Clip(now), old)
		}
	}
	return now
}

// returned returns the nodes that may have had addresses of this one without its
// knowing: all if it has just joined; else those that were gone without a word.
func (m Moves) returned(prev Moves, joins bool) map[string]bool {
	all := map[string]bool{}
	for name, p := range m.nodes {
		before := prev.nodes[name]
		if name != m.node && p.gone.IsZero() && (joins || !before.gone.IsZero() && !before.leaving) {
			all[name] = true
		}
	}
	return all
}

// owner returns who had an address by the last Election; i is where it is in the
// next one.
func (m Moves) owner(i int, address netip.Addr) string {
	if i < len(m.last) && m.last[i].Address == address {
		return m.last[i].Owner
	}
	if i, found := slices.BinarySearchFunc(m.last, address, func(e Elected, a netip.Addr) int { return e.Address.Compare(a) }); found {
		return m.last[i].Owner
	}
	return ""
}

// without returns a Live that lacks a node.
func (l Live) without(node string) Live {
	others := Live{Nodes: make(map[string]*Condition, len(l.Nodes))}
	for name, c := range l.Nodes {
		if name != node {
			others.Nodes[name] = c
		}
	}
	return others
}

// take returns a line after a node took the address over; nobody is "". A line that
// is nil says that nothing has moved.
func take(line []tenure, owner string, now time.Time) []tenure {
	if len(line) == 0 || line[0].until.IsZero() && line[0].node == owner || !line[0].until.IsZero() && owner == "" {
		return line
	}
	var next []tenure
	if owner != "" {
		next = append(next, tenure{node: owner})
	}
	for _, one := range line {
		if one.until.IsZero() {
			one.until = now
		}
		if one.node != owner {
			next = append(next, one)
		}
	}
	return next
}

// put keeps of a line those who may still have connections.
func (m Moves) put(address netip.Addr, line []tenure, now time.Time) {
	useless := func(one tenure) bool {
		return !one.until.IsZero() && (now.Sub(one.until) >= maxHandover || !m.nodes[one.node].serves(now))
	}
	if slices.ContainsFunc(line, useless) {
		line = slices.DeleteFunc(slices.Clone(line), useless)
	}
	if len(line) > 1 || len(line) == 1 && !line[0].until.IsZero() {
		m.lines[address] = line[:min(len(line), maxOwners)]
	}
}

// Known tells whether this node has ever taken part. Before, what an earlier process
// of it left in the kernel is the best there is.
func (m Moves) Known() bool { return m.known }

// Idle tells whether nothing becomes different by time alone.
func (m Moves) Idle() bool { return len(m.lines) == 0 }

// Passings returns what this node passes on, sorted by address. A node without an
// address of the family is passed nothing.
func (m Moves) Passings(now time.Time) []Passing {
	var all []Passing
	for address, line := range m.lines {
		p, ok := m.passing(line, now)
		if !ok {
			continue
		}
		p.Address = address
		for _, a := range m.nodes[p.Node].addresses {
			if a.Is4() == address.Is4() {
				p.To = a
				all = append(all, p)
				break
			}
		}
	}
	slices.SortFunc(all, func(a, b Passing) int { return a.Address.Compare(b.Address) })
	return all
}

// passing returns whom this node passes to by a line. For a moment after a move the
// line is a ring: whichever node a client still believes to be the owner, its packets
// arrive.
func (m Moves) passing(line []tenure, now time.Time) (Passing, bool) {
	i := slices.IndexFunc(line, func(one tenure) bool { return one.node == m.node })
	if i < 0 || len(line) < 2 {
		return Passing{}, false
	}
	moved := now.Sub(line[1].until)
	switch {
	case i+1 < len(line):
		return Passing{Node: line[i+1].node, For: lease}, true
	case moved < linger:
		return Passing{Node: line[0].node, For: linger - moved}, true
	}
	return Passing{}, false
}
