package lb

import (
	"cmp"
	"net/netip"
	"slices"
)

// Verdict is what happens to a connection.
type Verdict string

// The verdicts.
const (
	// Pass: the address and port belong to no Service; nothing is changed.
	Pass Verdict = "pass"
	// Forward: the connection goes to one of the Decision's Backends.
	Forward Verdict = "forward"
	// Refuse: connect fails at once, as no endpoint can serve it.
	Refuse Verdict = "refuse"
	// Drop: the connection gets no answer.
	Drop Verdict = "drop"
)

// Place is where a connection comes from, as the node sees it.
type Place string

// The places.
const (
	// Pod: a pod on this node, by its own network namespace.
	Pod Place = "pod"
	// Host: a program on the node, or a pod in the node's network namespace.
	Host Place = "host"
	// Outside: it arrives by an uplink, from another node or another network.
	Outside Place = "outside"
)

// Packet is the first packet of a connection.
type Packet struct {
	From Place
	// Source is the client's address; invalid where it is not known yet, as in a
	// socket that connects.
	Source netip.Addr
	// To is the address that the client asked for; the unspecified address is
	// nobody's.
	To Frontend
}

// Decision is the answer to where a connection goes.
type Decision struct {
	Verdict Verdict
	// Frontend is what was found in the Table, Entry what it says; nil if nothing.
	Frontend Frontend
	Entry    *Entry
	// Backends are those that may be chosen. A client with affinity gets the one
	// it had, for as long as it is among them.
	Backends []netip.AddrPort
	// Why says in words what decided where it was no Entry's list of backends.
	Why string
}

// Lookup decides as every plane that has applied t must. An IPv4 address mapped
// into IPv6 is the IPv4 address.
func (t Table) Lookup(p Packet) Decision {
	p.To.Address = p.To.Address.Unmap()
	f, entry := t.find(p)
	if entry == nil {
		return t.withoutEntry(p)
	}
	d := Decision{Frontend: f, Entry: entry}
	choice := entry.For(p.From)
	switch {
	case !allows(entry.Sources, p.Source):
		d.Verdict, d.Why = Drop, "the client is in none of the Service's loadBalancerSourceRanges"
	default:
		d.Verdict, d.Backends = choice.Verdict(), choice.Backends
	}
	switch d.Verdict {
	case Drop:
		d.Why = cmp.Or(d.Why, "its traffic policy is Local, and all its endpoints are on other nodes")
	case Refuse:
		d.Why = "the Service has no endpoint that could serve it"
	}
	return d
}

// Verdict returns Forward, Refuse or Drop.
func (c Choice) Verdict() Verdict {
	switch {
	case len(c.Backends) > 0:
		return Forward
	case c.Drop:
		return Drop
	}
	return Refuse
}

// find returns the Entry for a packet, and the Frontend it is found under.
func (t Table) find(p Packet) (Frontend, *Entry) {
	if p.To.IsNodePort() {
		return p.To, nil
	}
	if entry, ok := t.Entries.Get(p.To); ok {
		return p.To, entry
	}
	if !t.isNode(p.To.Address) && !(p.From == Host && p.To.Address.IsLoopback()) {
		return p.To, nil
	}
	f := p.To
	f.Address = netip.IPv4Unspecified()
	if p.To.Address.Is6() {
		f.Address = netip.IPv6Unspecified()
	}
	entry, _ := t.Entries.Get(f)
	return f, entry
}

// withoutEntry decides about what is no Service's port.
func (t Table) withoutEntry(p Packet) Decision {
	if _, ok := t.ClusterIPs.Get(p.To.Address); ok {
		return Decision{Verdict: Refuse, Why: "the address is a Service's ClusterIP, but the Service has no such port"}
	}
	for _, prefix := range t.ServiceCIDRs {
		if prefix.Contains(p.To.Address) {
			return Decision{Verdict: Drop, Why: "the address is in the ServiceCIDR " + prefix.String() + ", but no Service has it"}
		}
	}
	return Decision{Verdict: Pass, Why: "neither the address nor the port is a Service's"}
}

func (t Table) isNode(address netip.Addr) bool {
	_, found := slices.BinarySearchFunc(t.NodeAddresses, address, netip.Addr.Compare)
	return found
}

// allows tells whether a client is in one of the ranges. A plane that does not
// know the client leaves Entries with ranges to one that does.
func allows(sources []netip.Prefix, client netip.Addr) bool {
	return sources == nil || contains(sources, client)
}
