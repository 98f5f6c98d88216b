package network

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestAddresses sees addresses come and go, and which of them count.
func TestAddresses(t *testing.T) {
	network := newNamespace(t)
	w := New(nil, quiet())
	if w.Current() != nil {
		t.Error("a network before the first read")
	}
	expect(t, w, "the node's network has not been read yet")
	lo, eth0 := loopback(t), wired(t, "eth0")
	run(t, network, w)
	until(t, w, "", "")

	add(t, lo, "198.51.100.1/32")
	add(t, lo, "2001:db8:ffff::1/128")
	add(t, eth0, "192.0.2.10/24")
	add(t, eth0, "192.0.2.9/24")
	add(t, eth0, "169.254.20.10/32")
	add(t, eth0, "2001:db8::10/64")
	// The peer's address is not the node's.
	add(t, eth0, "203.0.113.1/32", func(a *netlink.Addr) {
		a.Peer = &net.IPNet{IP: net.IPv4(203, 0, 113, 2), Mask: net.CIDRMask(32, 32)}
	})
	// Deprecated by whoever set it, to live on.
	add(t, eth0, "2001:db8::11/128", func(a *netlink.Addr) { a.PreferedLft, a.ValidLft = 0, 0 })
	all := "192.0.2.9 192.0.2.10 198.51.100.1 203.0.113.1 2001:db8::10 2001:db8::11 2001:db8:ffff::1"
	before := until(t, w, all, "")

	// What a pod's start does to a node changes nothing here.
	wired(t, "pod0")
	must(t, w.update())
	if w.Current() != before {
		t.Error("another pointer for the same content")
	}
	must(t, netlink.AddrDel(eth0, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(192, 0, 2, 9), Mask: net.CIDRMask(24, 32)}}))
	must(t, netlink.LinkSetDown(lo))
	// The kernel takes the IPv6 addresses of an interface that is down.
	after := until(t, w, strings.NewReplacer("192.0.2.9 ", "", "2001:db8:ffff::1", "").Replace(all), "")
	if after == before || len(before.Addresses) != 7 {
		t.Error("the earlier network was written")
	}
}

// TestServicesAddresses expects the addresses that kube-proxy's ipvs mode gives to
// the node not to count as the node's.
func TestServicesAddresses(t *testing.T) {
	network := newNamespace(t)
	w := New(nil, quiet())
	eth0, services := wired(t, "eth0"), wired(t, "kube-ipvs0")
	run(t, network, w)
	add(t, services, "10.96.0.1/32")
	add(t, services, "2001:db8:96::1/128")
	add(t, eth0, "192.0.2.10/24")
	until(t, w, "192.0.2.10", "")
	add(t, services, "10.96.0.10/32")
	add(t, eth0, "192.0.2.11/24")
	until(t, w, "192.0.2.10 192.0.2.11", "")
	must(t, netlink.LinkDel(services))
	must(t, w.update())
	until(t, w, "192.0.2.10 192.0.2.11", "")
}

// TestReadiness makes addresses that may not be used yet, or no longer.
func TestReadiness(t *testing.T) {
	network := newNamespace(t)
	w := New(nil, quiet())
	eth0, left := wired(t, "eth0"), wired(t, "left")
	right, err := netlink.LinkByName("x-left")
	must(t, err)
	run(t, network, w)
	unchecked := func(a *netlink.Addr) { a.Flags = 0 }

	// Preferred for a second; then the kernel deprecates it.
	add(t, eth0, "2001:db8::1/64", func(a *netlink.Addr) { a.PreferedLft, a.ValidLft = 1, 3600 })
	until(t, w, "2001:db8::1", "")
	until(t, w, "", "")

	// Tentative until the link is up and the kernel has asked for a second.
	must(t, netlink.LinkSetDown(left))
	add(t, left, "2001:db8::2/64", unchecked)
	add(t, eth0, "2001:db8::3/64")
	until(t, w, "2001:db8::3", "")
	must(t, netlink.LinkSetUp(left))
	until(t, w, "2001:db8::2 2001:db8::3", "")

	// Taken by the neighbour at the other end of the cable.
	add(t, right, "2001:db8::2/64", unchecked)
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		list, err := netlink.AddrList(right, netlink.FAMILY_V6)
		must(t, err)
		if slices.ContainsFunc(list, func(a netlink.Addr) bool { return a.Flags&unix.IFA_F_DADFAILED != 0 }) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the kernel finds no duplicate: %v", list)
		}
	}
	must(t, netlink.AddrDel(left, mustAddr(t, "2001:db8::2/64")))
	until(t, w, "2001:db8::3", "")
}

func mustAddr(t *testing.T, prefix string) *netlink.Addr {
	t.Helper()
	a, err := netlink.ParseAddr(prefix)
	must(t, err)
	return a
}

// TestReady is what flags alone decide.
func TestReady(t *testing.T) {
	for flags, want := range map[int]bool{
		0: true, unix.IFA_F_PERMANENT: true, unix.IFA_F_TEMPORARY: true,
		unix.IFA_F_TENTATIVE: false, unix.IFA_F_TENTATIVE | unix.IFA_F_PERMANENT: false,
		unix.IFA_F_DADFAILED | unix.IFA_F_PERMANENT: false,
		unix.IFA_F_DEPRECATED:                       false, unix.IFA_F_DEPRECATED | unix.IFA_F_PERMANENT: true,
	} {
		if got := (address{flags: flags}).ready(); got != want {
			t.Errorf("flags %#x: %t", flags, got)
		}
	}
}

// TestUplinksFound finds uplinks by default routes of both families, with
// several hops too, and by the Node's addresses.
func TestUplinksFound(t *testing.T) {
	network := newNamespace(t)
	w := New(nil, quiet())
	lo := loopback(t)
	run(t, network, w)
	until(t, w, "", "")
	none := "no uplink found: there is no default route, and no interface has an address of the Node object; name the interfaces in lb.uplinks"
	expect(t, w, none)

	eth := map[string]netlink.Link{}
	for _, name := range []string{"eth0", "eth1", "eth2", "eth3", "pods"} {
		eth[name] = wired(t, name)
	}
	add(t, eth["eth0"], "192.0.2.1/26")
	add(t, eth["eth1"], "192.0.2.65/26")
	add(t, eth["pods"], "10.0.0.1/24")
	addresses := "192.0.2.1 192.0.2.65 10.0.0.1"
	until(t, w, addresses, "")

	// A default route of another table says nothing: whoever uses it has a rule.
	everywhere := &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
	route(t, netlink.Route{LinkIndex: eth["pods"].Attrs().Index, Scope: unix.RT_SCOPE_LINK, Dst: everywhere, Table: 100})
	both := netlink.Route{Dst: everywhere, MultiPath: []*netlink.NexthopInfo{
		{LinkIndex: eth["eth0"].Attrs().Index, Gw: net.IPv4(192, 0, 2, 2)}, {LinkIndex: eth["eth1"].Attrs().Index, Gw: net.IPv4(192, 0, 2, 66)},
	}}
	route(t, both)
	until(t, w, addresses, "eth0 eth1")
	route(t, netlink.Route{LinkIndex: eth["eth2"].Attrs().Index, Dst: &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}, Table: unix.RT_TABLE_DEFAULT})
	until(t, w, addresses, "eth0 eth1 eth2")

	// By address: also one that the interface gets only later, never one on lo.
	w.SetNodeAddresses([]netip.Addr{netip.MustParseAddr("192.0.2.130"), netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("192.0.2.1")})
	add(t, lo, "198.51.100.1/32")
	add(t, eth["eth3"], "192.0.2.130/26")
	addresses += " 192.0.2.130 198.51.100.1"
	until(t, w, addresses, "eth0 eth1 eth2 eth3")
	expect(t, w, "uplink eth0: a default route leaves by it, it has the node's address 192.0.2.1", "uplink eth1: a default route leaves by it",
		"uplink eth2: a default route leaves by it", "uplink eth3: it has the node's address 192.0.2.130")

	must(t, netlink.RouteDel(&both))
	until(t, w, addresses, "eth0 eth2 eth3")
	w.SetNodeAddresses(nil)
	until(t, w, addresses, "eth2")
	// The route goes with its interface.
	must(t, netlink.LinkDel(eth["eth2"]))
	until(t, w, addresses, "")
	expect(t, w, none)
}

// TestUplinksAbove takes what carries the route and the address, not the interfaces below.
func TestUplinksAbove(t *testing.T) {
	network := newNamespace(t)
	port := wired(t, "eth0")
	bridge := link(t, &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}})
	must(t, netlink.LinkSetMaster(port, bridge))
	above := link(t, &netlink.Macvlan{LinkAttrs: netlink.LinkAttrs{Name: "above", ParentIndex: bridge.Attrs().Index}, Mode: netlink.MACVLAN_MODE_BRIDGE})
	add(t, bridge, "192.0.2.1/24")
	add(t, above, "198.51.100.7/24")
	route(t, netlink.Route{Dst: &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}, Gw: net.IPv4(192, 0, 2, 2)})
	w := New(nil, quiet())
	w.SetNodeAddresses([]netip.Addr{netip.MustParseAddr("198.51.100.7")})
	run(t, network, w)
	until(t, w, "192.0.2.1 198.51.100.7", "above br0")
}

// TestUplinksConfigured takes the configured ones and nothing else.
func TestUplinksConfigured(t *testing.T) {
	network := newNamespace(t)
	loopback(t)
	eth0 := wired(t, "eth0")
	wired(t, "veth7")
	route(t, netlink.Route{LinkIndex: wired(t, "other").Attrs().Index, Dst: &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}, Scope: unix.RT_SCOPE_LINK})
	w := New([]string{"eth*", "eth0", "bond[0-9]", "lo", "bad["}, quiet())
	run(t, network, w)
	until(t, w, "", "eth0")
	nothing := []string{"lb.uplinks: no interface matches bad[", "lb.uplinks: no interface matches bond[0-9]", "lb.uplinks: no interface matches lo"}
	expect(t, w, append(slices.Clone(nothing), "uplink eth0: lb.uplinks has eth*", "uplink eth0: lb.uplinks has eth0")...)
	must(t, netlink.LinkSetDown(eth0))
	must(t, netlink.LinkSetName(eth0, "bond3"))
	until(t, w, "", "bond3")
	expect(t, w, "lb.uplinks: no interface matches bad[", "lb.uplinks: no interface matches eth*", "lb.uplinks: no interface matches eth0",
		"lb.uplinks: no interface matches lo", "uplink bond3: lb.uplinks has bond[0-9]")
}

// TestGoesOn loses its subscriptions: first the kernel refuses, then it ends
// one. What was read stays in force, what changed meanwhile is read.
func TestGoesOn(t *testing.T) {
	network := newNamespace(t)
	eth0 := wired(t, "eth0")
	add(t, eth0, "192.0.2.1/24")
	w := New([]string{"eth0"}, quiet())
	var attempts atomic.Int32
	lost, again := make(chan error, 1), make(chan struct{})
	w.pause = time.Millisecond
	w.subscribe = func(done <-chan struct{}, poke chan<- struct{}) (<-chan error, error) {
		switch attempts.Add(1) {
		case 1:
			return nil, errors.New("no memory")
		case 2:
			return lost, nil
		case 3:
			<-again
		}
		return subscribe(done, poke)
	}
	run(t, network, w)
	first := until(t, w, "192.0.2.1", "eth0")
	lost <- unix.ENOBUFS
	add(t, eth0, "192.0.2.2/24")
	for deadline := time.Now().Add(patience); len(w.Describe()) < 2; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the loss is told nowhere")
		}
	}
	expect(t, w, "uplink eth0: lb.uplinks has eth0", "the node's network is not followed, what was read last stays in force: no buffer space available")
	if w.Current() != first {
		t.Error("the network changed without a reading")
	}
	close(again)
	until(t, w, "192.0.2.1 192.0.2.2", "eth0")
	add(t, eth0, "192.0.2.3/24")
	until(t, w, "192.0.2.1 192.0.2.2 192.0.2.3", "eth0")
	expect(t, w, "uplink eth0: lb.uplinks has eth0")
}

// TestNews counts what makes the watcher read again, on an interface that the
// kernel has nothing to say of by itself.
func TestNews(t *testing.T) {
	newNamespace(t)
	lo := loopback(t).Attrs().Index
	done := make(chan struct{})
	defer close(done)
	poke := make(chan struct{}, 100)
	_, err := subscribe(done, poke)
	must(t, err)
	everywhere := &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
	uplink := netlink.Route{LinkIndex: lo, Dst: everywhere, Scope: unix.RT_SCOPE_LINK}
	route(t, uplink)
	route(t, netlink.Route{LinkIndex: lo, Dst: &net.IPNet{IP: net.IPv4(10, 0, 0, 5), Mask: net.CIDRMask(32, 32)}, Scope: unix.RT_SCOPE_LINK})
	route(t, netlink.Route{Dst: everywhere, Type: unix.RTN_BLACKHOLE, Priority: 9})
	route(t, netlink.Route{LinkIndex: lo, Dst: everywhere, Scope: unix.RT_SCOPE_LINK, Table: 100})
	must(t, netlink.RouteDel(&uplink))
	for range 2 {
		select {
		case <-poke:
		case <-time.After(patience):
			t.Fatal("no news of default routes that come and go")
		}
	}
	// News of routes come in order, so what lay between has been judged.
	if len(poke) > 0 {
		t.Errorf("%d news that do not matter", len(poke))
	}
}

// TestNodeAddressesPoke asks for another reading only if they changed.
func TestNodeAddressesPoke(t *testing.T) {
	w := New(nil, quiet())
	one, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("::ffff:192.0.2.2")
	for i, step := range []struct {
		addresses []netip.Addr
		pokes     int
	}{{nil, 0}, {[]netip.Addr{one, other}, 1}, {[]netip.Addr{other.Unmap(), one, one}, 0}, {nil, 1}} {
		w.SetNodeAddresses(step.addresses)
		if n := len(w.poke); n != step.pokes {
			t.Errorf("step %d: %d pokes, want %d", i, n, step.pokes)
		}
		for len(w.poke) > 0 {
			<-w.poke
		}
	}
}
