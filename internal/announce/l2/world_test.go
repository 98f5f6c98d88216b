package l2

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/announce"
	"github.com/fairlead-net/fairlead/internal/desired"
)

// patience is how long the kernel and a Plane may take for anything.
const patience = 20 * time.Second

// machine is a network namespace with the interface eth0, which is plugged into
// the world's switch.
type machine struct {
	ns  netns.NsHandle
	nl  *netlink.Handle
	mac hardware
}

// world is a switch and what is plugged in.
type world struct {
	t       *testing.T
	network machine // its interface is the bridge br0
	ports   int
}

// newWorld moves the test to a namespace of its own.
func newWorld(t *testing.T) *world {
	t.Helper()
	runtime.LockOSThread() // and never unlock it: the thread ends with the test
	w := &world{t: t, network: newNamespace(t)}
	nothing := false
	w.network.add(t, &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}, MulticastSnooping: &nothing})
	return w
}

func newNamespace(t *testing.T) machine {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatalf("network namespaces need root: %v", err)
	}
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	must(t, err)
	t.Cleanup(func() {
		nl.Close()
		ns.Close()
	})
	m := machine{ns: ns, nl: nl}
	must(t, nl.LinkSetUp(m.link(t, "lo")))
	return m
}

// machine adds one with addresses at eth0.
func (w *world) machine(prefixes ...string) machine {
	w.t.Helper()
	m := newNamespace(w.t)
	m.mac = w.plug(m, "eth0")
	for _, p := range prefixes {
		m.address(w.t, "eth0", p)
	}
	return m
}

// plug gives a machine one more interface at the switch.
func (w *world) plug(m machine, name string) hardware {
	w.t.Helper()
	w.ports++
	port := fmt.Sprintf("port%d", w.ports)
	must(w.t, w.network.nl.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: port}, PeerName: name, PeerNamespace: netlink.NsFd(m.ns),
	}))
	l := w.network.link(w.t, port)
	must(w.t, w.network.nl.LinkSetMaster(l, w.network.link(w.t, "br0")))
	must(w.t, w.network.nl.LinkSetUp(l))
	must(w.t, m.nl.LinkSetUp(m.link(w.t, name)))
	return hardware(m.link(w.t, name).Attrs().HardwareAddr)
}

func (m machine) link(t *testing.T, name string) netlink.Link {
	t.Helper()
	l, err := m.nl.LinkByName(name)
	must(t, err)
	return l
}

func (m machine) add(t *testing.T, l netlink.Link) netlink.Link {
	t.Helper()
	must(t, m.nl.LinkAdd(l))
	must(t, m.nl.LinkSetUp(l))
	return m.link(t, l.Attrs().Name)
}

func (m machine) address(t *testing.T, name, prefix string) {
	t.Helper()
	a, err := netlink.ParseAddr(prefix)
	must(t, err)
	if a.IP.To4() == nil {
		a.Flags = unix.IFA_F_NODAD
	}
	must(t, m.nl.AddrAdd(m.link(t, name), a))
}

// in calls f on a thread in the machine.
func (m machine) in(t *testing.T, f func()) {
	t.Helper()
	must(t, namespace{m.ns}.do(func() error {
		f()
		return nil
	}))
}

// plane starts a Plane in the machine, with eth0 as its uplink.
func (m machine) plane(t *testing.T) *Plane {
	t.Helper()
	var p *Plane
	m.in(t, func() {
		var err error
		p, err = New(Config{Log: slog.New(slog.DiscardHandler)})
		must(t, err)
	})
	t.Cleanup(func() { must(t, p.Close()) })
	uplinks(t, p, "eth0")
	return p
}

func uplinks(t *testing.T, p *Plane, names ...string) {
	t.Helper()
	must(t, p.ApplyNetwork(t.Context(), &desired.Network{Uplinks: names}))
}

// elect returns an Election in which this node, which is called "here", owns
// addresses.
func elect(addresses ...string) announce.Election {
	e := announce.Election{Revision: 1, Synced: true, Node: "here"}
	for _, a := range addresses {
		e.Addresses = append(e.Addresses, announce.Elected{Address: netip.MustParseAddr(a), Owner: "here"})
	}
	return e
}

// gain applies it.
func gain(t *testing.T, p *Plane, addresses ...string) {
	t.Helper()
	must(t, p.Apply(t.Context(), elect(addresses...)))
}

// neighbour returns what the kernel of a machine knows of an address.
func (m machine) neighbour(t *testing.T, address string) hardware {
	t.Helper()
	list, err := m.nl.NeighList(m.link(t, "eth0").Attrs().Index, netlink.FAMILY_ALL)
	must(t, err)
	for _, n := range list {
		if n.IP.String() == address && len(n.HardwareAddr) == 6 && n.State&(netlink.NUD_FAILED|netlink.NUD_INCOMPLETE) == 0 {
			return hardware(n.HardwareAddr)
		}
	}
	return hardware{}
}

// send has the kernel of a machine send a packet, for which it needs to know
// where the address is.
func (m machine) send(t *testing.T, address string) {
	t.Helper()
	m.in(t, func() {
		conn, err := net.Dial("udp", netip.AddrPortFrom(netip.MustParseAddr(address), 9).String())
		must(t, err)
		_, _ = conn.Write([]byte("x")) // fails where an earlier one had no way
		must(t, conn.Close())
	})
}

// knows waits for the kernel of a machine to hold an address for another's.
func (m machine) knows(t *testing.T, address string, want hardware) {
	t.Helper()
	await(t, fmt.Sprintf("%s is at %s", address, want), func() bool { return m.neighbour(t, address) == want })
}

// reaches has it ask until it knows.
func (m machine) reaches(t *testing.T, address string, want hardware) {
	t.Helper()
	await(t, fmt.Sprintf("%s is found at %s", address, want), func() bool {
		if m.neighbour(t, address) == want {
			return true
		}
		m.send(t, address)
		return false
	})
}

func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// tap is a pair of packet sockets at an interface, and all that was heard there.
type tap struct {
	arp, ndp *wire
	mac      hardware
	mu       sync.Mutex
	arps     []arp
	ndps     []ndp
}

func (m machine) tap(t *testing.T, name string) *tap {
	t.Helper()
	l := m.link(t, name)
	h := &tap{mac: hardware(l.Attrs().HardwareAddr)}
	var err error
	h.arp, err = openWire(namespace{m.ns}, l.Attrs().Index, typeARP)
	must(t, err)
	h.ndp, err = openWire(namespace{m.ns}, l.Attrs().Index, typeIPv6)
	must(t, err)
	var readers sync.WaitGroup
	readers.Go(func() {
		h.arp.receive(func(frame []byte) {
			if a, ok := parseARP(frame); ok {
				h.mu.Lock()
				h.arps = append(h.arps, a)
				h.mu.Unlock()
			}
		})
	})
	readers.Go(func() {
		h.ndp.receive(func(frame []byte) {
			if n, ok := parseNDP(frame); ok {
				h.mu.Lock()
				h.ndps = append(h.ndps, n)
				h.mu.Unlock()
			}
		})
	})
	t.Cleanup(func() {
		h.arp.close()
		h.ndp.close()
		readers.Wait()
	})
	return h
}

// forget forgets what was heard.
func (h *tap) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.arps, h.ndps = nil, nil
}

// countARP counts the packets heard that a function is true of.
func (h *tap) countARP(f func(arp) bool) int { return count(&h.mu, &h.arps, f) }
func (h *tap) countNDP(f func(ndp) bool) int { return count(&h.mu, &h.ndps, f) }

func count[T any](mu *sync.Mutex, all *[]T, f func(T) bool) int {
	mu.Lock()
	defer mu.Unlock()
	n := 0
	for _, one := range *all {
		if f(one) {
			n++
		}
	}
	return n
}

// ask sends a question for an address to everybody.
func (h *tap) ask(t *testing.T, address string) {
	t.Helper()
	a := netip.MustParseAddr(address)
	if a.Is4() {
		must(t, h.arp.send(appendARP(nil, arp{to: broadcast(), operation: arpRequest, sender: h.mac, senderIP: client4, targetIP: a})))
		return
	}
	must(t, h.ndp.send(appendNDP(nil, solicit(h.mac, client6, a))))
}

// answers counts answers to ask.
func (h *tap) answers(address string) int {
	a := netip.MustParseAddr(address)
	if a.Is4() {
		return h.countARP(func(p arp) bool { return p.to == h.mac && p.operation == arpReply && p.senderIP == a })
	}
	return h.countNDP(func(p ndp) bool { return p.to == h.mac && p.kind == advertisement && p.target == a })
}

// announced counts announcements of an address by a station; ARP has two each.
func (h *tap) announced(address string, by hardware) int {
	a := netip.MustParseAddr(address)
	if a.Is4() {
		return h.countARP(func(p arp) bool { return p.to == broadcast() && p.sender == by && p.senderIP == a && p.targetIP == a })
	}
	return h.countNDP(func(p ndp) bool {
		return p.to.isGroup() && p.kind == advertisement && p.target == a && p.sender() == by
	})
}

// heardOf returns which addresses a station has answered for, and which it has
// announced.
func (h *tap) heardOf(by hardware) (answered, announced map[netip.Addr]bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	answered, announced = map[netip.Addr]bool{}, map[netip.Addr]bool{}
	for _, a := range h.arps {
		if a.sender == by && a.to == h.mac {
			answered[a.senderIP] = true
		} else if a.sender == by {
			announced[a.senderIP] = true
		}
	}
	for _, n := range h.ndps {
		if n.kind == advertisement && n.from == by && n.to == h.mac {
			answered[n.target] = true
		} else if n.kind == advertisement && n.from == by {
			announced[n.target] = true
		}
	}
	return answered, announced
}

// memberships returns how many members each IPv6 multicast group has at an
// interface, by the kernel of the machine.
func (m machine) memberships(t *testing.T, name string) map[string]string {
	t.Helper()
	users := map[string]string{}
	m.in(t, func() {
		content, err := os.ReadFile("/proc/thread-self/net/igmp6")
		must(t, err)
		for line := range strings.Lines(string(content)) {
			if f := strings.Fields(line); len(f) > 3 && f[1] == name {
				users[f[2]] = f[3]
			}
		}
	})
	return users
}

// rivals counts conflicts, also those too young to be told.
func rivals(p *Plane) int {
	h := p.shared.herald
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.rivals)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
