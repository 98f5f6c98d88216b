package l2

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/fairlead-net/fairlead/internal/announce"
)

// TestClient has a client's kernel find addresses, one of which lies in no subnet
// of the node, and lose them.
func TestClient(t *testing.T) {
	w := newWorld(t)
	node, client := w.machine("10.9.9.9/32"), w.machine("192.0.2.1/24", "fd00::1/64")
	p := node.plane(t)
	gain(t, p, "192.0.2.50", "fd00::50")
	client.reaches(t, "192.0.2.50", node.mac)
	client.reaches(t, "fd00::50", node.mac)
	h := client.tap(t, "eth0")
	before := p.Counters()
	for a, c := range before {
		h.ask(t, a.String())
		await(t, "the question is answered and counted", func() bool {
			now := p.Counters()[a]
			return h.answers(a.String()) == 1 && now.Requests > c.Requests && now.Requests == now.Responses && now.Gratuitous > 0
		})
	}
	if n := p.Malformed(); n != 0 {
		t.Errorf("%d packets of kernels are malformed", n)
	}
	lines := p.Describe()
	if want := "answers ARP and neighbour discovery for 2 addresses at 1 interfaces: eth0"; len(lines) != 1 || lines[0] != want {
		t.Errorf("described as %q, want %q", lines, want)
	}
	// Of what is lost nothing is said, and of what is kept it is.
	gain(t, p, "192.0.2.51")
	h.forget()
	h.ask(t, "192.0.2.50")
	h.ask(t, "192.0.2.51")
	await(t, "the address that is kept is answered for", func() bool { return h.answers("192.0.2.51") == 1 })
	if h.answers("192.0.2.50") != 0 {
		t.Error("answers for an address that it has lost")
	}
	if got := p.Counters(); len(got) != 1 {
		t.Errorf("counts %v, want one address", got)
	}
}

// TestFailover moves addresses from one node to another. The client's kernel
// learns of it without asking, as the announcements change its cache.
func TestFailover(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, two := w.machine(), w.machine()
	client := w.machine("192.0.2.1/24", "fd00::1/64")
	first, second := one.plane(t), two.plane(t)
	addresses := []string{"192.0.2.50", "fd00::50"}
	gain(t, first, addresses...)
	for _, a := range addresses {
		client.reaches(t, a, one.mac)
	}
	h := client.tap(t, "eth0")
	gain(t, first)
	gain(t, second, addresses...)
	for _, a := range addresses {
		client.knows(t, a, two.mac)
	}
	await(t, "both forms of ARP announce", func() bool {
		requests := h.countARP(func(a arp) bool { return a.operation == arpRequest && a.senderIP == vip4 && a.sender == two.mac })
		replies := h.countARP(func(a arp) bool { return a.operation == arpReply && a.senderIP == vip4 && a.to == broadcast() })
		return requests == 6 && replies == 6
	})
	await(t, "six advertisements", func() bool { return h.announced("fd00::50", two.mac) == 6 })
	if n := h.countNDP(func(n ndp) bool { return n.kind == advertisement && n.flags != flagOverride }); n != 0 {
		t.Errorf("%d advertisements have other flags than Override", n)
	}
	if n := h.announced("192.0.2.50", one.mac) + h.announced("fd00::50", one.mac); n != 0 {
		t.Errorf("the former owner announces %d times", n)
	}
}

// TestGroups looks for memberships where the kernel lists them. fd00::50 and
// fd00:0:0:1::50 have the same group.
func TestGroups(t *testing.T) {
	w := newWorld(t)
	node := w.machine()
	p := node.plane(t)
	group := func(suffix string) string { return "ff0200000000000000000001ff" + suffix }
	expect := func(suffix, users string) {
		t.Helper()
		if got := node.memberships(t, "eth0")[group(suffix)]; got != users {
			t.Errorf("group %s has %q users, want %q", suffix, got, users)
		}
	}
	gain(t, p, "192.0.2.50", "fd00::50", "fd00:0:0:1::50", "fd00::51")
	expect("000050", "1")
	expect("000051", "1")
	gain(t, p, "192.0.2.50", "fd00:0:0:1::50")
	expect("000050", "1")
	expect("000051", "")
	gain(t, p)
	expect("000050", "")
	// Many groups, more than the kernel admits for one socket.
	many := elect()
	for i := range 3 * perSocket {
		many.Addresses = append(many.Addresses, announce.Elected{Address: netip.MustParseAddr(fmt.Sprintf("fd00::2:%x", i)), Owner: "here"})
	}
	must(t, p.Apply(t.Context(), many))
	all := node.memberships(t, "eth0")
	for i := range 3 * perSocket {
		if got := all[group(fmt.Sprintf("02%04x", i))]; got != "1" {
			t.Fatalf("the group of address %d has %q users", i, got)
		}
	}
	p.mu.Lock()
	for _, s := range p.ports[node.link(t, "eth0").Attrs().Index].groups.sockets {
		if s.count > perSocket {
			t.Errorf("%d groups of one socket, at most %d", s.count, perSocket)
		}
	}
	p.mu.Unlock()
	must(t, p.Close())
	if n := len(node.memberships(t, "eth0")); n > 5 {
		t.Errorf("%d memberships are left", n)
	}
}

// TestDuplicate has another machine's kernel try an address that the node has
// (RFC 4862, section 5.4): it is told that it cannot have it.
func TestDuplicate(t *testing.T) {
	w := newWorld(t)
	node, other := w.machine(), w.machine()
	gain(t, node.plane(t), "fd00::50")
	a, err := netlink.ParseAddr("fd00::50/64")
	must(t, err)
	must(t, other.nl.AddrAdd(other.link(t, "eth0"), a))
	await(t, "duplicate address detection fails", func() bool {
		list, err := other.nl.AddrList(other.link(t, "eth0"), netlink.FAMILY_V6)
		must(t, err)
		return slices.ContainsFunc(list, func(a netlink.Addr) bool { return a.IP.String() == "fd00::50" && a.Flags&8 != 0 })
	})
}

// TestForeign gives another machine addresses that the node owns. The Plane says
// which machine it is, and all else goes on; when the other gives way, clients
// come back by themselves.
func TestForeign(t *testing.T) {
	t.Run("ARP", func(t *testing.T) {
		t.Parallel()
		testForeign(t, "192.0.2.50", "192.0.2.50/24", "192.0.2.1")
	})
	t.Run("NDP", func(t *testing.T) {
		t.Parallel()
		testForeign(t, "fd00::50", "fd00::50/64", "fd00::1")
	})
}

func testForeign(t *testing.T, address, prefix, clientAddress string) {
	w := newWorld(t)
	node, client, other := w.machine(), w.machine("192.0.2.1/24", "fd00::1/64"), w.machine()
	p := node.plane(t)
	gain(t, p, address, "192.0.2.51")
	client.reaches(t, address, node.mac)
	other.address(t, "eth0", prefix)
	// Its kernel asks for the client, and says who it is.
	other.send(t, clientAddress)
	await(t, "the conflict is known", func() bool { return len(p.Conflicts()) > 0 })
	c := p.Conflicts()[0]
	if len(p.Conflicts()) != 1 || c.Address.String() != address || hardware(c.MAC) != other.mac || c.Interface != "eth0" || time.Since(c.Since) > 2*patience {
		t.Errorf("conflicts are %v", p.Conflicts())
	}
	if text := strings.Join(p.Describe(), "\n"); !strings.Contains(text, "MAC address "+other.mac.String()+", seen at interface eth0, claims address "+address) {
		t.Errorf("described as %s", text)
	}
	client.reaches(t, "192.0.2.51", node.mac)
	<-p.Changed()
	// It answers every question, so the conflict lasts; one that is silent would be
	// over after three seconds.
	time.Sleep(5 * time.Second)
	if len(p.Conflicts()) != 1 {
		t.Error("the conflict is forgotten while the other machine is there")
	}
	a, err := netlink.ParseAddr(prefix)
	must(t, err)
	must(t, other.nl.AddrDel(other.link(t, "eth0"), a))
	await(t, "the conflict is over", func() bool { return len(p.Conflicts()) == 0 })
	client.knows(t, address, node.mac)
	<-p.Changed()
}

// TestBothOwn has two nodes mean to own an address, then the new one give way:
// its clients go back to the old one though nobody there has gained anything.
func TestBothOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, two, client := w.machine(), w.machine(), w.machine("192.0.2.1/24", "fd00::1/64")
	first, second := one.plane(t), two.plane(t)
	addresses := []string{"192.0.2.50", "fd00::50"}
	gain(t, first, addresses...)
	for _, a := range addresses {
		client.reaches(t, a, one.mac)
	}
	gain(t, second, addresses...)
	await(t, "both nodes know of the conflicts", func() bool { return len(first.Conflicts()) == 2 && len(second.Conflicts()) == 2 })
	for _, a := range addresses {
		client.knows(t, a, two.mac)
	}
	gain(t, second)
	for _, a := range addresses {
		client.knows(t, a, one.mac)
	}
	await(t, "the conflicts are over", func() bool { return len(first.Conflicts())+len(second.Conflicts()) == 0 })
}

// TestMany gains 1,000 addresses of each family at once.
func TestMany(t *testing.T) {
	w := newWorld(t)
	node, client := w.machine(), w.machine("192.0.2.1/24", "fd00::1/64")
	p := node.plane(t)
	h := client.tap(t, "eth0")
	var addresses []string
	for i := range 1000 {
		addresses = append(addresses, fmt.Sprintf("10.7.%d.%d", i/250, i%250+1), fmt.Sprintf("fd00::7:%x", i))
	}
	gain(t, p, addresses...)
	await(t, "all addresses are answered for and announced", func() bool {
		answered, announced := h.heardOf(node.mac)
		missing := 0
		for _, a := range addresses {
			if at := netip.MustParseAddr(a); !announced[at] {
				missing++
			} else if !answered[at] {
				missing++
				h.ask(t, a) // again, as sockets may have been full
			}
		}
		return missing == 0
	})
	for a, c := range p.Counters() {
		if c.Requests == 0 || c.Responses == 0 {
			t.Errorf("%s is counted as %+v", a, c)
		}
	}
}

// TestElection has Elections of which this node must not own everything.
func TestElection(t *testing.T) {
	here, there, nobody := "here", "there", ""
	address := netip.MustParseAddr("192.0.2.50")
	for _, c := range []struct {
		what   string
		before bool // owned so far
		owner  *string
		synced bool
		want   bool
	}{
		{"gained", false, &here, true, true},
		{"kept", true, &here, true, true},
		{"another's", true, &there, true, false},
		{"nobody's", true, &nobody, true, false},
		{"not elected", true, nil, true, false},
		{"not synced, gained", false, &here, false, false},
		{"not synced, kept", true, &here, false, true},
		{"not synced, another's", true, &there, false, false},
		{"not synced, not elected", true, nil, false, true},
	} {
		before := map[netip.Addr][]string{}
		if c.before {
			before[address] = nil
		}
		e := announce.Election{Synced: c.synced, Node: here}
		if c.owner != nil {
			e.Addresses = []announce.Elected{{Address: address, Owner: *c.owner}}
		}
		if _, got := owned(e, before)[address]; got != c.want {
			t.Errorf("%s: owned is %t", c.what, got)
		}
		if len(before) > 0 != c.before {
			t.Errorf("%s: what was owned before has changed", c.what)
		}
	}
}

// TestBlind cannot see the interfaces. What is lost is not answered for all the
// same.
func TestBlind(t *testing.T) {
	w := newWorld(t)
	node, client := w.machine(), w.machine("192.0.2.1/24")
	p, h := node.plane(t), client.tap(t, "eth0")
	gain(t, p, "192.0.2.50", "192.0.2.51")
	client.reaches(t, "192.0.2.51", node.mac)
	p.mu.Lock()
	p.look = func(*netlink.Handle) (view, error) { return view{}, errors.New("no view") }
	p.mu.Unlock()
	if err := p.Apply(t.Context(), elect("192.0.2.51")); err == nil || err.Error() != "no view" {
		t.Errorf("Apply = %v", err)
	}
	if lines := p.Describe(); lines[len(lines)-1] != "not everything is announced: no view" {
		t.Errorf("described as %q", lines)
	}
	h.forget()
	h.ask(t, "192.0.2.50")
	h.ask(t, "192.0.2.51")
	await(t, "the address that is kept is answered for", func() bool { return h.answers("192.0.2.51") == 1 })
	if h.answers("192.0.2.50") != 0 {
		t.Error("answers for an address that it has lost")
	}
}

// TestClosed expects a closed Plane to say nothing more, and to say so.
func TestClosed(t *testing.T) {
	w := newWorld(t)
	node, other, client := w.machine(), w.machine(), w.machine("192.0.2.1/24")
	p, next := node.plane(t), other.plane(t)
	gain(t, p, "192.0.2.50")
	must(t, p.Close())
	must(t, p.Close())
	if err := p.Apply(t.Context(), elect()); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Apply = %v", err)
	}
	if err := p.ApplyNetwork(t.Context(), nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("ApplyNetwork = %v", err)
	}
	gain(t, next, "192.0.2.50")
	client.reaches(t, "192.0.2.50", other.mac)
	ended, end := context.WithCancel(t.Context())
	end()
	if err := next.Apply(ended, elect()); !errors.Is(err, context.Canceled) {
		t.Errorf("Apply = %v", err)
	}
}
