package lb

import (
	"net/netip"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// Trace is one decision, step by step.
type Trace struct {
	From   Place  `json:"from"`
	Source string `json:"source,omitempty"`
	To     string `json:"to"`
	// Frontend, Kind, Service and Port are what the target turned out to be; empty
	// if it is no Service's.
	Frontend string        `json:"frontend,omitempty"`
	Kind     Kind          `json:"kind,omitempty"`
	Service  *desired.Name `json:"service,omitempty"`
	Port     string        `json:"port,omitempty"`
	// Carrier is what decides it on a node whose sockets are served by eBPF.
	Carrier    Carrier     `json:"carrier"`
	Verdict    Verdict     `json:"verdict"`
	Why        string      `json:"why,omitempty"`
	Affinity   string      `json:"affinity,omitempty"`
	Candidates []Explained `json:"candidates,omitempty"`
}

// Carrier is what carries a decision out.
type Carrier string

// The carriers.
const (
	// Socket: in the socket, when it connects or sends.
	Socket Carrier = "socket"
	// Packets: by nftables, at the first packet.
	Packets Carrier = "packets"
)

// Trace tells how Lookup decides about p.
func (t Table) Trace(p Packet) Trace {
	d := t.Lookup(p)
	trace := Trace{From: p.From, To: p.To.String(), Carrier: carrier(p, d), Verdict: d.Verdict, Why: d.Why}
	if p.Source.IsValid() {
		trace.Source = p.Source.String()
	}
	if d.Entry == nil {
		return trace
	}
	trace.Frontend, trace.Kind, trace.Service, trace.Port = d.Frontend.String(), d.Entry.Kind, &d.Entry.Service, d.Entry.Port
	if d.Entry.Affinity > 0 {
		trace.Affinity = d.Entry.Affinity.String()
	}
	if s, ok := t.state.Services.Get(d.Entry.Service); ok {
		for f, role := range Frontends(s, t.Options) {
			if f == d.Frontend {
				trace.Candidates = t.explained(s, role, f, p.From)
			}
		}
	}
	return trace
}

// carrier tells who decides: a socket that connects has no address yet, so
// ranges of clients are checked in packets, as is all that eBPF does not do.
func carrier(p Packet, d Decision) Carrier {
	if p.From == Outside || p.To.Protocol == desired.SCTP || d.Entry == nil || d.Entry.Sources != nil {
		return Packets
	}
	return Socket
}

// explained lists the endpoints of one frontend and what became of each.
func (t Table) explained(s *desired.Service, role Role, f Frontend, from Place) []Explained {
	var all []Explained
	for _, c := range Candidates(s, role, f.Address.Is6(), from, t.state.Node) {
		all = append(all, Explained{
			Backend: netip.AddrPortFrom(c.Endpoint.Address, c.Port).String(), Pod: c.Endpoint.Pod, Node: c.Endpoint.Node,
			Used: c.Used, Why: c.Why, Slice: c.Slice.Name.Name,
		})
	}
	return all
}
