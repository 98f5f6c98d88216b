package uplink

import (
	"net/netip"
	"slices"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// content is what the programs know of a frontend; the zero content is nothing.
type content struct {
	flags    uint32
	backends []target         // sorted; none if nftables serves it
	accepts  []netip.AddrPort // sorted: endpoints here that other nodes may choose for direct return
}

func (c content) none() bool { return c.flags == 0 && len(c.backends) == 0 }

func (c content) equal(other content) bool {
	return c.flags == other.flags && slices.Equal(c.backends, other.backends) && slices.Equal(c.accepts, other.accepts)
}

// known is what the kernel holds for a frontend. It has no backends if its slots
// turned out not to be whole.
type known struct {
	content
	list uint64
	span span
}

// handles says why a frontend is left to nftables, whatever the node is like;
// empty if it is not.
func handles(f lb.Frontend, e *lb.Entry) string {
	switch {
	case e.Kind != lb.NodePort && e.Kind != lb.LoadBalancerIP && e.Kind != lb.ExternalIP:
		return "it is not for clients outside the cluster"
	case f.Protocol != desired.TCP && f.Protocol != desired.UDP:
		return "its protocol is neither TCP nor UDP"
	case e.Affinity > 0:
		return "it has session affinity"
	case e.Sources != nil:
		return "it has loadBalancerSourceRanges"
	case len(e.For(lb.Outside).Backends) == 0:
		return "it has no endpoints"
	case len(e.For(lb.Outside).Backends) > 1<<16:
		return "it has more than 65,536 endpoints"
	}
	return ""
}

// wanted returns what the programs should know of a frontend, and why nftables
// serves it; empty if they do.
func (p *Plane) wanted(f lb.Frontend, e *lb.Entry) (content, string) {
	var c content
	if p.applied.Options.DirectReturn && f.Protocol == desired.TCP && e.Kind != lb.ClusterIP && e.Affinity == 0 && e.Sources == nil {
		c.flags, c.accepts = uint32(packetsFrontendFlagDIRECT), e.Here
	}
	why := handles(f, e)
	if why == "" {
		c.backends, why = p.backendsOf(f, e, c.flags != 0)
	}
	if why != "" {
		return p.leftOver(f, c.accepts), why
	}
	return c, ""
}

// leftOver returns what the programs must know of a frontend that nftables
// serves: where an endpoint's node answers itself, its endpoints here, which
// other nodes may choose; and that it exists, where its address is this node's:
// else a NodePort of the same number would be taken for it.
func (p *Plane) leftOver(f lb.Frontend, accepts []netip.AddrPort) content {
	_, own := slices.BinarySearchFunc(p.applied.NodeAddresses, f.Address, netip.Addr.Compare)
	switch {
	case len(accepts) > 0:
		return content{flags: uint32(packetsFrontendFlagDIRECT | packetsFrontendFlagPASSIVE), accepts: accepts}
	case own:
		return content{flags: uint32(packetsFrontendFlagPASSIVE)}
	}
	return content{}
}

// backendsOf returns the backends of a frontend, and why the programs cannot
// serve all of them.
func (p *Plane) backendsOf(f lb.Frontend, e *lb.Entry, direct bool) (backends []target, why string) {
	for i, at := range e.For(lb.Outside).Backends {
		node := nodeOf(e, i)
		t := target{at: at, protocol: f.Protocol, local: isLocal(e, at)}
		t.answers = direct && !t.local && p.peers.nodes[node]
		backends = append(backends, t)
		if t.local {
			continue
		}
		if p.noPorts != nil {
			return nil, p.noPorts.Error()
		}
		if why := p.wayTo(at.Addr(), node); why != "" {
			return nil, why
		}
	}
	return backends, ""
}

func isLocal(e *lb.Entry, backend netip.AddrPort) bool {
	_, found := slices.BinarySearchFunc(e.Local, backend.Addr(), netip.Addr.Compare)
	return found
}

func nodeOf(e *lb.Entry, i int) string {
	if i < len(e.Nodes) {
		return e.Nodes[i]
	}
	return ""
}

// peers are the nodes that run Fairlead.
type peers struct {
	nodes map[string]bool
	own   []netip.Addr // sorted: the addresses by which others know this node
	// others are the first IPv4 and IPv6 address of another node; invalid if none.
	others [2]netip.Addr
}

func peersOf(t lb.Table) peers {
	p := peers{nodes: map[string]bool{}}
	for address, node := range t.Peers.All() {
		if node == "" {
			continue
		}
		p.nodes[node] = true
		if node == t.Node {
			p.own = append(p.own, address)
			continue
		}
		first := &p.others[0]
		if address.Is6() {
			first = &p.others[1]
		}
		if !first.IsValid() || address.Less(*first) {
			*first = address
		}
	}
	slices.SortFunc(p.own, netip.Addr.Compare)
	return p
}
