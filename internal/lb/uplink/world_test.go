package uplink

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// world is a client, a router, and two nodes with a pod each:
//
//	client  198.51.100.2, 2001:db8:2::2
//	router  198.51.100.1 towards the client, 192.0.2.254 towards the nodes, who share a bridge
//	node N  192.0.2.N, 2001:db8:1::N on uplink; N is 1 or 2
//	pod N   10.244.N.10 to 10.244.N.12, fd00:244:N::10 to fd00:244:N::12
//
// The router sends 203.0.113.0/24 and 2001:db8:3::/64 to node 1. Nodes have
// routes to each other's pods.
type world struct {
	t              testing.TB
	client, router netns.NsHandle
	nodes, pods    [3]netns.NsHandle
	bpffs          string
}

const (
	clientIP4, clientIP6 = "198.51.100.2", "2001:db8:2::2"
	vip4, vip6           = "203.0.113.10", "2001:db8:3::10"
)

func nodeIP(n int, six bool) string {
	if six {
		return fmt.Sprintf("2001:db8:1::%d", n)
	}
	return fmt.Sprintf("192.0.2.%d", n)
}

func podIP(n, i int, six bool) string {
	if six {
		return fmt.Sprintf("fd00:244:%d::1%d", n, i)
	}
	return fmt.Sprintf("10.244.%d.1%d", n, i)
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, bpffs: t.TempDir()}
	if err := unix.Mount("bpf", w.bpffs, "bpf", 0, ""); err != nil {
		t.Fatal("mounting a bpffs (these tests need root):", err)
	}
	t.Cleanup(func() { unix.Unmount(w.bpffs, unix.MNT_DETACH) })
	w.client, w.router = w.namespace(), w.namespace()
	w.forward(w.router)
	w.link(w.router, "client", ns(w.client), "eth0")
	w.address(w.router, "client", "198.51.100.1/24", "2001:db8:2::1/64")
	w.address(w.client, "eth0", clientIP4+"/24", clientIP6+"/64")
	w.route(w.client, "0.0.0.0/0", "198.51.100.1", "")
	w.route(w.client, "::/0", "2001:db8:2::1", "")
	w.in(w.router, func() error {
		return netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "lan", Flags: net.FlagUp}})
	})
	w.address(w.router, "lan", "192.0.2.254/24", "2001:db8:1::fe/64")
	for n := 1; n <= 2; n++ {
		w.node(n)
	}
	for n := 1; n <= 2; n++ {
		other := 3 - n
		w.route(w.nodes[n], fmt.Sprintf("10.244.%d.0/24", other), nodeIP(other, false), "")
		w.route(w.nodes[n], fmt.Sprintf("fd00:244:%d::/64", other), nodeIP(other, true), "")
	}
	w.vipsVia(1)
	return w
}

// vipsVia makes the router send the addresses of load balancers to a node.
func (w *world) vipsVia(n int) {
	w.t.Helper()
	w.route(w.router, "203.0.113.0/24", nodeIP(n, false), "")
	w.route(w.router, "2001:db8:3::/64", nodeIP(n, true), "")
}

func (w *world) node(n int) {
	w.t.Helper()
	w.nodes[n], w.pods[n] = w.namespace(), w.namespace()
	w.forward(w.nodes[n])
	w.connect(n)
	w.link(w.nodes[n], "pod", ns(w.pods[n]), "eth0")
	w.address(w.nodes[n], "pod", "10.244.0.254/32", "fd00:244::fe/128")
	for i := range 3 {
		w.address(w.pods[n], "eth0", podIP(n, i, false)+"/32", podIP(n, i, true)+"/128")
		w.route(w.nodes[n], podIP(n, i, false)+"/32", "", "pod")
		w.route(w.nodes[n], podIP(n, i, true)+"/128", "", "pod")
	}
	w.route(w.pods[n], "10.244.0.254/32", "", "eth0")
	w.route(w.pods[n], "fd00:244::fe/128", "", "eth0")
	w.route(w.pods[n], "0.0.0.0/0", "10.244.0.254", "")
	w.route(w.pods[n], "::/0", "fd00:244::fe", "")
}

// connect gives a node its uplink.
func (w *world) connect(n int) {
	w.t.Helper()
	port := fmt.Sprint("node", n)
	w.link(w.nodes[n], "uplink", ns(w.router), port)
	// A new card with the same address: neighbours need not notice.
	w.in(w.nodes[n], func() error {
		l, err := netlink.LinkByName("uplink")
		if err != nil {
			return err
		}
		return netlink.LinkSetHardwareAddr(l, net.HardwareAddr{2, 0, 0, 0, 1, byte(n)})
	})
	w.in(w.router, func() error {
		lan, err := netlink.LinkByName("lan")
		if err != nil {
			return err
		}
		l, err := netlink.LinkByName(port)
		if err != nil {
			return err
		}
		return netlink.LinkSetMaster(l, lan)
	})
	w.address(w.nodes[n], "uplink", nodeIP(n, false)+"/24", nodeIP(n, true)+"/64")
	w.route(w.nodes[n], "198.51.100.0/24", "192.0.2.254", "")
	w.route(w.nodes[n], "2001:db8:2::/64", "2001:db8:1::fe", "")
}

func (w *world) forward(ns netns.NsHandle) {
	w.t.Helper()
	w.sysctl(ns, "ipv4/ip_forward=1", "ipv6/conf/all/forwarding=1", "ipv4/icmp_ratemask=0", "ipv6/icmp/ratelimit=0",
		"ipv4/conf/all/rp_filter=0", "ipv4/conf/default/rp_filter=0", "ipv4/conf/all/send_redirects=0", "ipv4/conf/default/send_redirects=0")
}

func (w *world) sysctl(ns netns.NsHandle, settings ...string) {
	w.t.Helper()
	w.in(ns, func() error {
		var failed []error
		for _, setting := range settings {
			name, value, _ := strings.Cut(setting, "=")
			failed = append(failed, os.WriteFile("/proc/sys/net/"+name, []byte(value), 0))
		}
		return errors.Join(failed...)
	})
}

func ns(handle netns.NsHandle) netlink.NsFd { return netlink.NsFd(int(handle)) }

// link joins two namespaces.
func (w *world) link(a netns.NsHandle, name string, peer netlink.NsFd, peerName string) {
	w.t.Helper()
	w.in(a, func() error {
		veth := netlink.NewVeth(netlink.LinkAttrs{Name: name, Flags: net.FlagUp})
		veth.PeerName, veth.PeerNamespace = peerName, peer
		return netlink.LinkAdd(veth)
	})
	w.in(netns.NsHandle(peer), func() error {
		l, err := netlink.LinkByName(peerName)
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(l)
	})
}

func (w *world) address(ns netns.NsHandle, device string, addresses ...string) {
	w.t.Helper()
	w.in(ns, func() error {
		l, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		for _, text := range addresses {
			address, err := netlink.ParseAddr(text)
			if err != nil {
				return err
			}
			if address.IP.To4() == nil {
				address.Flags = unix.IFA_F_NODAD
			}
			if err := netlink.AddrAdd(l, address); err != nil {
				return err
			}
		}
		return nil
	})
}

// route adds a route or replaces it.
func (w *world) route(ns netns.NsHandle, to, via, device string) {
	w.t.Helper()
	w.in(ns, func() error {
		_, dst, err := net.ParseCIDR(to)
		if err != nil {
			return err
		}
		r := &netlink.Route{Dst: dst, Gw: net.ParseIP(via)}
		if device != "" {
			l, err := netlink.LinkByName(device)
			if err != nil {
				return err
			}
			r.LinkIndex, r.Scope = l.Attrs().Index, unix.RT_SCOPE_LINK
		}
		if err := netlink.RouteReplace(r); err != nil {
			return fmt.Errorf("route to %s via %s%s: %w", to, via, device, err)
		}
		return nil
	})
}

// in runs do on a thread that is in a namespace.
func (w *world) in(ns netns.NsHandle, do func() error) {
	w.t.Helper()
	if err := within(ns, do); err != nil {
		w.t.Fatal(err)
	}
}

func within(ns netns.NsHandle, do func() error) error {
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := netns.Set(ns)
		if err == nil {
			err = do()
		}
		failed <- err
	}()
	return <-failed
}

func (w *world) namespace() netns.NsHandle {
	w.t.Helper()
	var ns netns.NsHandle
	failed := make(chan error)
	go func() {
		runtime.LockOSThread()
		var err error
		if ns, err = netns.New(); err == nil {
			var lo netlink.Link
			if lo, err = netlink.LinkByName("lo"); err == nil {
				err = netlink.LinkSetUp(lo)
			}
		}
		failed <- err
	}()
	if err := <-failed; err != nil {
		w.t.Fatal("making a network namespace:", err)
	}
	w.t.Cleanup(func() { ns.Close() })
	// Addresses are used at once.
	w.sysctl(ns, "ipv6/conf/all/accept_dad=0", "ipv6/conf/default/accept_dad=0")
	return ns
}

func (w *world) config(n int) Config {
	return Config{Directory: fmt.Sprintf("%s/node%d", w.bpffs, n), Logger: slog.New(slog.NewTextHandler(w.t.Output(), nil)), FlowsSize: 4096}
}

// plane starts a Plane on a node.
func (w *world) plane(n int) *Plane {
	w.t.Helper()
	return w.planeOf(n, w.config(n))
}

func (w *world) planeOf(n int, config Config) *Plane {
	w.t.Helper()
	var p *Plane
	w.in(w.nodes[n], func() (err error) {
		p, err = New(config)
		return err
	})
	w.t.Cleanup(func() { p.Close() })
	return p
}

// apply gives a Plane of a node a Table.
func (w *world) apply(n int, p *Plane, want lb.Table) {
	w.t.Helper()
	w.in(w.nodes[n], func() error { return p.Apply(w.t.Context(), want) })
}

// service is an Entry of these backends, as a node sees it.
func service(n int, kind lb.Kind, backends ...string) *lb.Entry {
	e := &lb.Entry{Kind: kind}
	for _, text := range backends {
		e.Backends = append(e.Backends, netip.MustParseAddrPort(text))
	}
	slices.SortFunc(e.Backends, netip.AddrPort.Compare)
	for _, backend := range e.Backends {
		node := ""
		for m := 1; m <= 2; m++ {
			for _, six := range []bool{false, true} {
				if netip.MustParsePrefix(podIP(m, 0, six) + map[bool]string{false: "/24", true: "/64"}[six]).Masked().Contains(backend.Addr()) {
					node = fmt.Sprint("node", m)
				}
			}
		}
		e.Nodes = append(e.Nodes, node)
		if node != fmt.Sprint("node", n) {
			continue
		}
		e.Here = append(e.Here, backend)
		if !slices.Contains(e.Local, backend.Addr()) {
			e.Local = append(e.Local, backend.Addr())
		}
	}
	return e
}

// table makes a synced Table for a node.
func table(n int, entries map[lb.Frontend]*lb.Entry) lb.Table {
	e := pmap.Map[lb.Frontend, *lb.Entry]{}.Edit()
	for f, entry := range entries {
		e.Set(f, entry)
	}
	peers := pmap.Map[netip.Addr, string]{}.Edit()
	for m := 1; m <= 2; m++ {
		for _, six := range []bool{false, true} {
			peers.Set(netip.MustParseAddr(nodeIP(m, six)), fmt.Sprint("node", m))
		}
	}
	return lb.Table{
		Revision: 1, Synced: true, Entries: e.Map(), Node: fmt.Sprint("node", n), Peers: peers.Map(),
		NodeAddresses: []netip.Addr{netip.MustParseAddr(nodeIP(n, false)), netip.MustParseAddr(nodeIP(n, true))},
		Uplinks:       []string{"uplink"},
	}
}

func frontend(address string, port uint16, protocol desired.Protocol) lb.Frontend {
	return lb.Frontend{Address: netip.MustParseAddr(address), Port: port, Protocol: protocol}
}

// track makes a node's kernel track connections.
func (w *world) track(n int) {
	w.t.Helper()
	w.in(w.nodes[n], func() error {
		out, err := exec.Command("nft", "table inet t { chain c { type filter hook prerouting priority 0; ct state new accept; }; }").CombinedOutput()
		if err != nil {
			return fmt.Errorf("nft: %w: %s", err, out)
		}
		return nil
	})
}
