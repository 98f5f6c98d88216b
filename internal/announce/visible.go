package announce

import (
	"net/netip"
	"slices"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// Announcements returns what this node announces on layer 2, one for each Service,
// sorted. Where an advertisement names no interfaces those are the uplinks.
func (e Election) Announcements(uplinks []string) []desired.Announcement {
	var all gathered
	for i := range e.Addresses {
		a := &e.Addresses[i]
		if a.Owner == "" || a.Owner != e.Node {
			continue
		}
		through := a.Interfaces
		if len(through) == 0 {
			through = uplinks
		}
		for _, service := range a.Services {
			all.add(desired.Announced{Service: service}, through, a.Address)
		}
	}
	return all.sorted()
}

// Announcements returns what this node announces by BGP to routers that it has a
// session with, one for each Service, sorted. There is none for a Service that no
// such router is told of. In go the names of the BGPPeers with a session.
func (t Table) Announcements(sessions map[string]bool) []desired.Announcement {
	var peers []string
	for i := range t.Peers {
		if name := t.Peers[i].Name.Name; sessions[name] {
			peers = append(peers, name)
		}
	}
	var all gathered
	for i := range t.Routes {
		r := &t.Routes[i]
		told := peers
		if r.Peers != nil {
			told = slices.DeleteFunc(slices.Clone(peers), func(name string) bool { return !slices.Contains(r.Peers, name) })
		}
		if len(told) == 0 {
			continue
		}
		for _, service := range r.Services {
			all.add(desired.Announced{Service: service, BGP: true}, told)
		}
	}
	return all.sorted()
}

// gathered joins what is announced of one Service.
type gathered map[desired.Announced]*desired.Announcement

func (g *gathered) add(what desired.Announced, through []string, addresses ...netip.Addr) {
	if *g == nil {
		*g = gathered{}
	}
	one := (*g)[what]
	if one == nil {
		one = &desired.Announcement{Announced: what}
		(*g)[what] = one
	}
	one.Through = append(one.Through, through...)
	one.Addresses = append(one.Addresses, addresses...)
}

func (g gathered) sorted() []desired.Announcement {
	all := make([]desired.Announcement, 0, len(g))
	for _, one := range g {
		slices.Sort(one.Through)
		one.Through = slices.Compact(one.Through)
		slices.SortFunc(one.Addresses, netip.Addr.Compare)
		all = append(all, *one)
	}
	slices.SortFunc(all, func(a, b desired.Announcement) int { return a.Compare(b.Announced) })
	return all
}

// Abandoned is an Announcement on layer 2 of a node that cannot take it back
// itself.
type Abandoned struct {
	Service desired.Name
	Node    string
}

// Abandoned returns whose Announcements this node has come to stand for since an
// earlier Election: of addresses that are its own now and were another's, which is
// gone or about to go.
func (e Election) Abandoned(before Election, live Live) []Abandoned {
	owners := make(map[netip.Addr]string, len(before.Addresses))
	for i := range before.Addresses {
		owners[before.Addresses[i].Address] = before.Addresses[i].Owner
	}
	var all []Abandoned
	for i := range e.Addresses {
		a := &e.Addresses[i]
		owner := owners[a.Address]
		if a.Owner == "" || a.Owner != e.Node || owner == "" || owner == e.Node {
			continue
		}
		if c := live.Nodes[owner]; c != nil && !c.Leaving {
			continue // it does so itself
		}
		for _, service := range a.Services {
			all = append(all, Abandoned{service, owner})
		}
	}
	return all
}

// Has tells whether a node announces some address of a Service.
func (e Election) Has(node string, service desired.Name) bool {
	return slices.ContainsFunc(e.Addresses, func(a Elected) bool {
		return a.Owner == node && slices.Contains(a.Services, service)
	})
}
