package l2

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/announce"
)

// elsewhere is an Election with one address at named interfaces.
func elsewhere(address string, interfaces ...string) announce.Election {
	e := elect(address)
	e.Addresses[0].Interfaces = interfaces
	return e
}

// TestInterfaces answers at named interfaces only.
func TestInterfaces(t *testing.T) {
	w := newWorld(t)
	node, client := w.machine(), w.machine("192.0.2.1/24")
	second, third := w.plug(node, "lan1"), w.plug(node, "lan2")
	p := node.plane(t)
	h := client.tap(t, "eth0")
	// All are plugged into one switch, so whoever answers is heard.
	stations := func(address string, want ...hardware) {
		t.Helper()
		h.forget()
		await(t, address+" is answered for", func() bool {
			h.ask(t, address) // again: a new port of the switch may not forward yet
			return !slices.ContainsFunc(want, func(m hardware) bool {
				return h.countARP(func(a arp) bool { return a.to == h.mac && a.sender == m }) == 0
			})
		})
		if n := h.countARP(func(a arp) bool { return a.to == h.mac && !slices.Contains(want, a.sender) }); n > 0 {
			t.Errorf("%d answers for %s come from other interfaces", n, address)
		}
	}
	must(t, p.Apply(t.Context(), elsewhere("192.0.2.50", "lan1")))
	stations("192.0.2.50", second)
	must(t, p.Apply(t.Context(), elsewhere("192.0.2.50", "lan*")))
	stations("192.0.2.50", second, third)
	gain(t, p, "192.0.2.50")
	stations("192.0.2.50", node.mac)
	uplinks(t, p, "lan2")
	stations("192.0.2.50", third)
	// The node's own announcements, heard at its other interfaces, are no conflict.
	uplinks(t, p, "eth0", "lan1", "lan2")
	stations("192.0.2.50", node.mac, second, third)
	if n := rivals(p); n != 0 {
		t.Errorf("%d conflicts with itself", n)
	}
}

// TestComeAndGo takes the interface down and up, plugs another one in under its
// name, and gives that one another MAC address: each time the Plane announces by
// itself.
func TestComeAndGo(t *testing.T) {
	w := newWorld(t)
	node, client := w.machine(), w.machine("192.0.2.1/24", "fd00::1/64")
	p := node.plane(t)
	addresses := []string{"192.0.2.50", "fd00::50"}
	gain(t, p, addresses...)
	h := client.tap(t, "eth0")
	settled := func(what string, mac hardware) {
		t.Helper()
		for _, a := range addresses {
			client.reaches(t, a, mac)
			await(t, what+": "+a+" is announced", func() bool { return h.announced(a, mac) > 0 })
		}
		await(t, what+": nothing is wrong", func() bool { return len(p.Describe()) == 1 })
	}
	settled("at first", node.mac)

	eth0 := node.link(t, "eth0")
	must(t, node.nl.LinkSetDown(eth0))
	await(t, "it is seen that the interface is down", func() bool { return strings.Contains(strings.Join(p.Describe(), "\n"), "eth0 is down") })
	addresses = append(addresses, "192.0.2.60") // gained while nothing can be said
	gain(t, p, addresses...)
	h.forget()
	must(t, node.nl.LinkSetUp(eth0))
	settled("after down and up", node.mac)

	must(t, node.nl.LinkDel(eth0))
	await(t, "it is seen that the interface is gone", func() bool {
		return strings.Contains(strings.Join(p.Describe(), "\n"), "there is no interface eth0 on this node, though it is an uplink")
	})
	settled("with a new interface", w.plug(node, "eth0"))

	changed := hardware{2, 0xaa, 0, 0, 0, 1}
	must(t, node.nl.LinkSetHardwareAddr(node.link(t, "eth0"), changed[:]))
	for _, a := range addresses {
		client.knows(t, a, changed)
	}
	settled("with another MAC address", changed)
	if got := node.memberships(t, "eth0")["ff0200000000000000000001ff000050"]; got != "1" {
		t.Errorf("the group has %q users, want 1", got)
	}
}

// TestUnfit names interfaces that cannot be used; the others are.
func TestUnfit(t *testing.T) {
	w := newWorld(t)
	node, client := w.machine(), w.machine("192.0.2.1/24")
	w.plug(node, "silent")
	must(t, node.nl.LinkSetARPOff(node.link(t, "silent")))
	bridge := node.add(t, &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br1"}})
	w.plug(node, "slave")
	must(t, node.nl.LinkSetMaster(node.link(t, "slave"), bridge))
	node.in(t, func() {
		must(t, netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "tun1"}, Mode: netlink.TUNTAP_MODE_TUN}))
	})
	p := node.plane(t)
	uplinks(t, p, "eth0", "lo", "silent", "slave", "tun1", "wg0")
	gain(t, p, "192.0.2.50")
	want := []string{
		"answers ARP and neighbour discovery for 1 addresses at 1 interfaces: eth0",
		"interface lo is left out: it is the loopback interface",
		"interface silent is left out: address resolution is switched off there (ip link set dev silent arp on)",
		"interface slave is left out: it is a port of br1, which has what comes in there: name that",
		"interface tun1 is left out: it is no Ethernet interface, so nobody asks there who has an address",
		"there is no interface wg0 on this node, though it is an uplink (lb.uplinks)",
	}
	if got := p.Describe(); !slices.Equal(got, want) {
		t.Errorf("described as %q\nwant %q", got, want)
	}
	client.reaches(t, "192.0.2.50", node.mac)

	must(t, p.Apply(t.Context(), elsewhere("192.0.2.50", "lo", "wg0")))
	if got, want := p.Describe()[1], "192.0.2.50 is not announced: none of the interfaces lo, wg0 can be used; correct the L2Advertisement's interfaces or lb.uplinks"; got != want {
		t.Errorf("described as %q, want %q", got, want)
	}
	uplinks(t, p)
	gain(t, p, "192.0.2.50", "192.0.2.51")
	if got, want := p.Describe()[1], "192.0.2.50 and 1 more are not announced: this node has no uplink; name its interfaces in lb.uplinks or in the L2Advertisement"; got != want {
		t.Errorf("described as %q, want %q", got, want)
	}
	node.address(t, "lo", "192.0.2.51/32")
	gain(t, p, "192.0.2.51")
	if got, want := strings.Join(p.Describe(), "\n"), "interface lo of this node has the address 192.0.2.51 of a Service: the kernel answers for it"; !strings.Contains(got, want) {
		t.Errorf("described as %q, want %q", got, want)
	}
}

// TestStacked answers at interfaces on top of others, with the addresses of
// those: clients send there. VLANs and bonds need a kernel that has them.
func TestStacked(t *testing.T) {
	bond := netlink.NewLinkBond(netlink.LinkAttrs{Name: "upper"})
	bond.Mode, bond.Miimon = netlink.BOND_MODE_ACTIVE_BACKUP, 10
	for kind, upper := range map[string]netlink.Link{
		"bridge":  &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "upper"}},
		"macvlan": &netlink.Macvlan{LinkAttrs: netlink.LinkAttrs{Name: "upper"}, Mode: netlink.MACVLAN_MODE_BRIDGE},
		"bond":    bond,
	} {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t)
			node, client := w.machine(), w.machine("192.0.2.1/24", "fd00::1/64")
			lower := node.link(t, "eth0")
			if kind == "macvlan" {
				upper.Attrs().ParentIndex = lower.Attrs().Index
			}
			added := node.addIfKnown(t, upper)
			if kind != "macvlan" {
				must(t, node.nl.LinkSetDown(lower))
				must(t, node.nl.LinkSetMaster(lower, added))
				must(t, node.nl.LinkSetUp(lower))
			}
			p := node.plane(t)
			uplinks(t, p, "upper")
			gain(t, p, "192.0.2.50", "fd00::50")
			await(t, "the interface runs", func() bool { return len(p.Describe()) == 1 })
			mac := hardware(node.link(t, "upper").Attrs().HardwareAddr)
			client.reaches(t, "192.0.2.50", mac)
			client.reaches(t, "fd00::50", mac)
		})
	}
}

// addIfKnown skips the test if the kernel was built without this kind of
// interface.
func (m machine) addIfKnown(t *testing.T, l netlink.Link) netlink.Link {
	t.Helper()
	if err := m.nl.LinkAdd(l); errors.Is(err, unix.EOPNOTSUPP) {
		t.Skipf("this kernel has no interfaces of kind %s", l.Type())
	} else {
		must(t, err)
	}
	must(t, m.nl.LinkSetUp(l))
	return m.link(t, l.Attrs().Name)
}

// TestTags sends questions with VLAN tags. Without a tag, or with one that only
// has a priority, they are for the interface; those of a VLAN that is not there
// are for nobody.
func TestTags(t *testing.T) {
	w := newWorld(t)
	node, client := w.machine(), w.machine("192.0.2.1/24")
	p, h := node.plane(t), client.tap(t, "eth0")
	gain(t, p, "192.0.2.50", "192.0.2.51", "192.0.2.52")
	client.reaches(t, "192.0.2.50", node.mac)
	h.tagged(t, "192.0.2.51", 6)
	h.tagged(t, "192.0.2.52", 0)
	await(t, "what is for the interface is answered", func() bool { return h.answers("192.0.2.52") == 1 })
	if n := h.answers("192.0.2.51"); n != 0 {
		t.Error("a question of another VLAN is answered")
	}
}

// tagged asks with a VLAN tag of priority 7.
func (h *tap) tagged(t *testing.T, address string, vlan byte) {
	t.Helper()
	frame := appendARP(nil, arp{to: broadcast(), operation: arpRequest, sender: h.mac, senderIP: client4, targetIP: netip.MustParseAddr(address)})
	must(t, h.arp.send(slices.Insert(frame, 12, 0x81, 0, 0xe0, vlan)))
}

// TestVLAN has an interface for VLAN 5 on top of eth0. The kernel shows eth0's
// sockets what comes in for it, which is not for eth0.
func TestVLAN(t *testing.T) {
	w := newWorld(t)
	node, client := w.machine(), w.machine("192.0.2.1/24")
	vlan := node.addIfKnown(t, &netlink.Vlan{
		LinkAttrs: netlink.LinkAttrs{Name: "vlan5", ParentIndex: node.link(t, "eth0").Attrs().Index},
		VlanId:    5, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q,
	})
	mac := hardware{2, 0xbb, 0, 0, 0, 5}
	must(t, node.nl.LinkSetHardwareAddr(vlan, mac[:]))
	p, h := node.plane(t), client.tap(t, "eth0")
	gain(t, p, "192.0.2.50", "192.0.2.51", "192.0.2.52")
	client.reaches(t, "192.0.2.50", node.mac)
	h.tagged(t, "192.0.2.51", 5)
	h.tagged(t, "192.0.2.52", 0)
	await(t, "what is for the interface is answered", func() bool { return h.answers("192.0.2.52") == 1 })
	asked := func() uint64 { return p.Counters()[netip.MustParseAddr("192.0.2.51")].Requests }
	if asked() != 0 {
		t.Error("a question of the VLAN is answered outside of it")
	}
	uplinks(t, p, "vlan5")
	client.add(t, &netlink.Vlan{
		LinkAttrs: netlink.LinkAttrs{Name: "vlan5", ParentIndex: client.link(t, "eth0").Attrs().Index},
		VlanId:    5, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q,
	})
	inside := client.tap(t, "vlan5")
	await(t, "the VLAN's question is answered there", func() bool {
		inside.ask(t, "192.0.2.51")
		return inside.countARP(func(a arp) bool { return a.to == inside.mac && a.operation == arpReply && a.sender == mac }) > 0
	})
	if asked() == 0 {
		t.Error("the question is not counted")
	}
}

// TestUnfitKinds has those that this machine's kernel may be unable to make.
func TestUnfitKinds(t *testing.T) {
	ether := func() netlink.LinkAttrs {
		return netlink.LinkAttrs{Name: "x", EncapType: "ether", HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}}
	}
	noARP, none, zero := ether(), ether(), ether()
	noARP.RawFlags = unix.IFF_NOARP
	none.EncapType, none.HardwareAddr = "none", nil
	zero.HardwareAddr = make(net.HardwareAddr, 6)
	for what, c := range map[string]struct {
		l, master netlink.Link
		want      bool
	}{
		"a card":                {&netlink.Device{LinkAttrs: ether()}, nil, true},
		"in a VRF":              {&netlink.Device{LinkAttrs: ether()}, &netlink.Vrf{}, true},
		"in a bridge":           {&netlink.Device{LinkAttrs: ether()}, &netlink.Bridge{}, false},
		"in a bond":             {&netlink.Device{LinkAttrs: ether()}, &netlink.Bond{}, false},
		"in an OVS bridge":      {&netlink.Device{LinkAttrs: ether()}, &netlink.GenericLink{LinkType: "openvswitch"}, false},
		"WireGuard":             {&netlink.Wireguard{LinkAttrs: none}, nil, false},
		"without ARP":           {&netlink.Dummy{LinkAttrs: noARP}, nil, false},
		"without a MAC address": {&netlink.Device{LinkAttrs: zero}, nil, false},
	} {
		if why := unfit(c.l, c.master); (why == "") != c.want {
			t.Errorf("%s: unfit because %q", what, why)
		}
	}
}
