package announce

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// OfferHash stands for an L2Advertisement in what nodes tell each other. It must
// never change: nodes of different versions have to agree.
func OfferHash(name desired.Name) uint32 {
	sum := xxhash.Sum64String(name.String())
	return uint32(sum>>32) ^ uint32(sum)
}

// Elect returns who announces each address on layer 2: of the nodes that are
// alive, may announce it and have endpoints where that matters, the one whose name
// gives the highest hash with the address. Nodes that see the same come to the
// same, and when a node goes only its addresses move. A node that is leaving has
// an address only if no other can.
//
// Source: Thaler and Ravishankar, "Using Name-Based Mappings to Increase Hit
// Rates", IEEE/ACM Transactions on Networking 6(1), 1998 (highest random weight).
func Elect(t Table, live Live) Election {
	e := Election{Revision: t.Revision, Synced: t.Synced, Node: t.Node, Addresses: make([]Elected, 0, len(t.L2))}
	all := candidates(t, live)
	var last *electorate
	for i := range t.L2 {
		a := &t.L2[i]
		if last == nil || !slices.EqualFunc(a.By, last.by, sameVia) {
			last = newElectorate(a.By, all, t.Node)
		}
		e.Addresses = append(e.Addresses, last.elect(a, len(t.Nodes)))
	}
	return e
}

// candidate is a node that is alive.
type candidate struct {
	name    string
	offers  []uint32 // sorted
	leaving bool
}

// candidates returns the nodes that may announce and are alive. What this node
// offers is known best from its own Table.
func candidates(t Table, live Live) []candidate {
	var all []candidate
	for _, n := range t.Nodes {
		c := live.Nodes[n.Name]
		if c == nil {
			continue
		}
		one := candidate{n.Name, c.Offers, c.Leaving}
		if n.Name == t.Node {
			one.offers = t.OfferHashes()
		}
		all = append(all, one)
	}
	return all
}

// electorate are the candidates for addresses that the same advertisements cover.
type electorate struct {
	by    []L2Via
	alive int
	able  []candidate // sorted by name
	// interfaces are those of this node's advertisements.
	interfaces []string
	key        []byte
}

func newElectorate(by []L2Via, all []candidate, node string) *electorate {
	e := &electorate{by: by, alive: len(all)}
	everywhere := false
	for _, c := range all {
		able := false
		for _, via := range by {
			if _, offers := slices.BinarySearch(c.offers, OfferHash(via.Advertisement)); !offers {
				continue
			}
			able = true
			if c.name == node {
				everywhere = everywhere || len(via.Interfaces) == 0
				e.interfaces = append(e.interfaces, via.Interfaces...)
			}
		}
		if able {
			e.able = append(e.able, c)
		}
	}
	slices.Sort(e.interfaces)
	e.interfaces = slices.Compact(e.interfaces)
	if everywhere {
		e.interfaces = nil
	}
	return e
}

// elect chooses the owner of one address; nodes is how many there are in all.
func (e *electorate) elect(a *L2Address, nodes int) Elected {
	elected := Elected{Address: a.Address, Services: a.Services, Interfaces: e.interfaces}
	var best *candidate
	var most uint64
	staying, leaving := 0, 0
	for i := range e.able {
		c := &e.able[i]
		if a.Nodes != nil {
			if _, has := slices.BinarySearch(a.Nodes, c.name); !has {
				continue
			}
		}
		if c.leaving {
			leaving++
		} else {
			staying++
		}
		weight := e.weight(a.Address, c.name)
		if best == nil || best.leaving && !c.leaving || best.leaving == c.leaving && weight > most {
			best, most = c, weight
		}
	}
	switch {
	case best == nil:
		elected.Why = e.nobody(a, nodes)
		return elected
	case best.leaving:
		elected.Why = "it is leaving, but no other node can announce the address"
	case staying == 1 && leaving > 0:
		elected.Why = "it is the only node that can announce the address and is not leaving"
	case staying == 1:
		elected.Why = "it is the only node that can announce the address"
	default:
		elected.Why = fmt.Sprintf("of %d nodes that can announce the address it has the highest hash", staying)
	}
	elected.Owner = best.name
	return elected
}

// weight is what a node's name and an address give. It must never change: nodes
// of different versions have to agree.
func (e *electorate) weight(a netip.Addr, name string) uint64 {
	bytes := a.As16()
	e.key = append(append(e.key[:0], bytes[:]...), name...)
	return xxhash.Sum64(e.key)
}

// nobody says why an address has no owner.
func (e *electorate) nobody(a *L2Address, nodes int) string {
	switch {
	case nodes == 0:
		return "no node is known that announces addresses"
	case a.Nodes != nil && len(a.Nodes) == 0:
		return "no node has a ready endpoint (externalTrafficPolicy: Local)"
	case e.alive == 0:
		return "no node is known to be alive yet"
	case len(e.able) == 0:
		return "no node that is alive makes " + e.names() + " (spec.nodeSelectors, or the nodes are not available)"
	}
	return "of the nodes with a ready endpoint (externalTrafficPolicy: Local) none is alive and makes " + e.names()
}

func (e *electorate) names() string {
	var names []string
	for _, via := range e.by {
		names = append(names, via.Advertisement.Name)
	}
	return "L2Advertisement " + strings.Join(names, " or ")
}

func sameVia(a, b L2Via) bool {
	return a.Advertisement == b.Advertisement && slices.Equal(a.Interfaces, b.Interfaces)
}
