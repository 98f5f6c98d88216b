package announce

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead-net/fairlead/internal/desired"
)

func named(name string) desired.Name { return desired.Name{Namespace: "demo", Name: name} }

func electedOf(owner string, interfaces []string, address string, services ...string) Elected {
	e := Elected{Address: netip.MustParseAddr(address), Owner: owner, Interfaces: interfaces}
	for _, s := range services {
		e.Services = append(e.Services, named(s))
	}
	return e
}

// TestElectionAnnouncements expects one per Service, also where Services share an
// address or have several, and none of what others announce.
func TestElectionAnnouncements(t *testing.T) {
	e := Election{Node: "one", Addresses: []Elected{
		electedOf("one", nil, "192.0.2.1", "a", "b"), electedOf("two", nil, "192.0.2.2", "a", "c"), electedOf("", nil, "192.0.2.3", "d"),
		electedOf("one", []string{"eth9"}, "2001:db8::1", "a"),
	}}
	want := []desired.Announcement{
		{
			Announced: desired.Announced{Service: named("a")}, Through: []string{"eth0", "eth1", "eth9"},
			Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")},
		},
		{Announced: desired.Announced{Service: named("b")}, Through: []string{"eth0", "eth1"}, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}},
	}
	if diff := cmp.Diff(want, e.Announcements([]string{"eth1", "eth0"}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := (Election{Addresses: []Elected{electedOf("", nil, "192.0.2.1", "a")}}).Announcements(nil); len(got) != 0 {
		t.Errorf("of nobody: %v", got)
	}
}

// TestTableAnnouncements expects only peers that are told and have a session.
func TestTableAnnouncements(t *testing.T) {
	var table Table
	for _, name := range []string{"x", "y", "z"} {
		table.Peers = append(table.Peers, Peer{Peer: &desired.Peer{Name: named(name)}})
	}
	prefix := netip.MustParsePrefix("192.0.2.0/24")
	table.Routes = []Route{
		{Prefix: prefix, Services: []desired.Name{named("all"), named("both")}},
		{Prefix: prefix, Services: []desired.Name{named("both"), named("some")}, Peers: []string{"x", "y"}},
		{Prefix: prefix, Services: []desired.Name{named("down")}, Peers: []string{"y"}},
	}
	bgp := func(service string, peers ...string) desired.Announcement {
		return desired.Announcement{Announced: desired.Announced{Service: named(service), BGP: true}, Through: peers}
	}
	// A session that no BGPPeer of this node asks for counts for nothing.
	got := table.Announcements(map[string]bool{"z": true, "x": true, "other": true})
	if diff := cmp.Diff([]desired.Announcement{bgp("all", "x", "z"), bgp("both", "x", "z"), bgp("some", "x")}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := table.Announcements(nil); len(got) != 0 {
		t.Errorf("without sessions: %v", got)
	}
}

// TestAbandoned expects the objects of nodes that cannot take them back.
func TestAbandoned(t *testing.T) {
	before := Election{Node: "one", Addresses: []Elected{
		electedOf("dead", nil, "192.0.2.1", "a"), electedOf("leaving", nil, "192.0.2.2", "b"), electedOf("alive", nil, "192.0.2.3", "c"),
		electedOf("dead", nil, "192.0.2.4", "d"), electedOf("one", nil, "192.0.2.5", "e"), electedOf("", nil, "192.0.2.6", "f"),
	}}
	now := Election{Node: "one", Addresses: []Elected{
		electedOf("one", nil, "192.0.2.1", "a"), electedOf("one", nil, "192.0.2.2", "b"), electedOf("one", nil, "192.0.2.3", "c"),
		electedOf("alive", nil, "192.0.2.4", "d"), electedOf("one", nil, "192.0.2.5", "e"), electedOf("one", nil, "192.0.2.6", "f"),
	}}
	live := Live{Nodes: map[string]*Condition{"one": {}, "alive": {}, "leaving": {Leaving: true}}}
	if diff := cmp.Diff([]Abandoned{{named("a"), "dead"}, {named("b"), "leaving"}}, now.Abandoned(before, live)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !now.Has("alive", named("d")) || now.Has("alive", named("c")) {
		t.Error("Has is wrong")
	}
}
