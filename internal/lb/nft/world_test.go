package nft

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/lb"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// world is a node with pods, and what is outside, each in a network namespace:
//
//	outside  192.0.2.2, 2001:db8::2, and pods of another node at 10.244.1.0/24, fd00:244:1::/64
//	node     192.0.2.1, 2001:db8::1 on uplink; pods by links of their own
//	pod N    10.244.0.N, fd00:244::N
type world struct {
	t       testing.TB
	node    netns.NsHandle
	outside netns.NsHandle
	pods    map[int]netns.NsHandle
}

const (
	nodeIP4, outsideIP4 = "192.0.2.1", "192.0.2.2"
	nodeIP6, outsideIP6 = "2001:db8::1", "2001:db8::2"
)

func newWorld(t testing.TB, pods int) *world {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("these tests change nftables in namespaces of their own: run them as root")
	}
	w := &world{t: t, pods: map[int]netns.NsHandle{}}
	w.node, w.outside = w.namespace(), w.namespace()
	w.in(w.node, func() error {
		for _, sysctl := range []string{
			"ipv4/ip_forward=1", "ipv6/conf/all/forwarding=1", "ipv4/icmp_ratemask=0", "ipv6/icmp/ratelimit=0",
			"ipv4/conf/all/rp_filter=0", "ipv4/conf/default/rp_filter=0",
		} {
			name, value, _ := strings.Cut(sysctl, "=")
			if err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0); err != nil {
				return err
			}
		}
		return nil
	})
	w.link(w.node, "uplink", []string{nodeIP4 + "/24", nodeIP6 + "/64"}, w.outside, "eth0", []string{outsideIP4 + "/24", outsideIP6 + "/64"})
	for _, ns := range []struct {
		of     netns.NsHandle
		v4, v6 string
	}{{w.node, outsideIP4, outsideIP6}, {w.outside, nodeIP4, nodeIP6}} {
		w.route(ns.of, "0.0.0.0/0", ns.v4, "")
		w.route(ns.of, "::/0", ns.v6, "")
	}
	// The other node's pods answer from outside, whichever address is asked for.
	w.in(w.outside, func() error {
		return errors.Join(
			os.WriteFile("/proc/sys/net/ipv4/ip_nonlocal_bind", []byte("1"), 0), os.WriteFile("/proc/sys/net/ipv6/ip_nonlocal_bind", []byte("1"), 0),
			anyIP("10.244.1.0/24"), anyIP("fd00:244:1::/64"),
		)
	})
	for i := range pods {
		w.pod(i + 1)
	}
	return w
}

// anyIP makes every address of a range local.
func anyIP(prefix string) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	_, dst, err := net.ParseCIDR(prefix)
	if err != nil {
		return err
	}
	return netlink.RouteAdd(&netlink.Route{LinkIndex: lo.Attrs().Index, Dst: dst, Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL, Scope: unix.RT_SCOPE_HOST})
}

func (w *world) pod(i int) {
	w.t.Helper()
	ns := w.namespace()
	w.pods[i] = ns
	v4, v6 := podIP(i, false), podIP(i, true)
	name := fmt.Sprint("pod", i)
	w.link(w.node, name, []string{"10.244.0.254/32", "fd00:244::fffe/128"}, ns, "eth0", []string{v4 + "/32", v6 + "/128"})
	w.route(w.node, v4+"/32", "", name)
	w.route(w.node, v6+"/128", "", name)
	for _, gateway := range []string{"10.244.0.254", "fd00:244::fffe"} {
		bits := "/32"
		all := "0.0.0.0/0"
		if strings.Contains(gateway, ":") {
			bits, all = "/128", "::/0"
		}
		w.route(ns, gateway+bits, "", "eth0")
		w.route(ns, all, gateway, "eth0")
	}
}

func podIP(i int, six bool) string {
	if six {
		return fmt.Sprintf("fd00:244::%x", i)
	}
	return fmt.Sprintf("10.244.0.%d", i)
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
			// A node asks for neighbours from its link-local address: while that is looked for
			// in the network first, which takes seconds on a busy machine, packets are lost.
			for _, links := range []string{"all", "default"} {
				err = errors.Join(err, os.WriteFile("/proc/sys/net/ipv6/conf/"+links+"/accept_dad", []byte("0"), 0))
			}
		}
		failed <- err
	}()
	if err := <-failed; err != nil {
		w.t.Fatal("making a network namespace:", err)
	}
	w.t.Cleanup(func() { ns.Close() })
	return ns
}

// link joins two namespaces.
func (w *world) link(a netns.NsHandle, nameA string, addressesA []string, b netns.NsHandle, nameB string, addressesB []string) {
	w.t.Helper()
	w.in(a, func() error {
		veth := netlink.NewVeth(netlink.LinkAttrs{Name: nameA, Flags: net.FlagUp})
		veth.PeerName, veth.PeerNamespace = nameB, netlink.NsFd(int(b))
		return netlink.LinkAdd(veth)
	})
	for _, end := range []struct {
		ns        netns.NsHandle
		name      string
		addresses []string
	}{{a, nameA, addressesA}, {b, nameB, addressesB}} {
		w.in(end.ns, func() error {
			l, err := netlink.LinkByName(end.name)
			if err != nil {
				return err
			}
			for _, text := range end.addresses {
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
			return netlink.LinkSetUp(l)
		})
	}
}

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
			r.LinkIndex = l.Attrs().Index
			if via == "" {
				r.Scope = unix.RT_SCOPE_LINK
			}
		}
		if err := netlink.RouteAdd(r); err != nil {
			return fmt.Errorf("route to %s via %s%s: %w", to, via, device, err)
		}
		return nil
	})
}

// place returns the namespace that clients at a place are in; pods are pod 1.
func (w *world) place(p lb.Place) netns.NsHandle {
	switch p {
	case lb.Host:
		return w.node
	case lb.Outside:
		return w.outside
	}
	return w.pods[1]
}

func (w *world) config() Config {
	return Config{Logger: slog.New(slog.NewTextHandler(w.t.Output(), nil)), Watch: 20 * time.Millisecond}
}

func (w *world) plane() *Plane { return w.planeWith(func(*Config) {}) }

func (w *world) planeWith(set func(*Config)) *Plane {
	w.t.Helper()
	var p *Plane
	config := w.config()
	set(&config)
	w.in(w.node, func() (err error) {
		p, err = New(config)
		return err
	})
	w.t.Cleanup(func() { p.Close() })
	return p
}

func (w *world) apply(p *Plane, want lb.Table) {
	w.t.Helper()
	if err := p.Apply(w.t.Context(), want); err != nil {
		w.t.Fatal(err)
	}
}

// nft runs the program nft in the node.
func (w *world) nft(args ...string) string {
	w.t.Helper()
	var out []byte
	w.in(w.node, func() (err error) {
		out, err = exec.Command("nft", args...).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("nft %s: %w: %s", strings.Join(args, " "), err, out)
		}
		return err
	})
	return string(out)
}

// table makes a synced Table for the world's node.
func table(entries map[lb.Frontend]*lb.Entry) lb.Table {
	e := pmap.Map[lb.Frontend, *lb.Entry]{}.Edit()
	ips := pmap.Map[netip.Addr, int]{}.Edit()
	local := pmap.Map[netip.Addr, int]{}.Edit()
	for f, entry := range entries {
		e.Set(f, entry)
		if entry.Kind == lb.ClusterIP || entry.Kind == "" && !f.IsNodePort() {
			ips.Set(f.Address, 1)
		}
		for _, b := range backendsIn(entry) {
			if isLocal(b.Addr()) {
				local.Set(b.Addr(), 1)
			}
		}
	}
	return lb.Table{
		Revision: 1, Synced: true, Entries: e.Map(), ClusterIPs: ips.Map(), LocalBackends: local.Map(),
		ServiceCIDRs:  []netip.Prefix{netip.MustParsePrefix("10.96.0.0/16"), netip.MustParsePrefix("fd00:96::/112")},
		NodeAddresses: []netip.Addr{netip.MustParseAddr(nodeIP4), netip.MustParseAddr(nodeIP6)},
		Uplinks:       []string{"uplink"},
	}
}

func backendsIn(e *lb.Entry) []netip.AddrPort {
	all := e.Backends
	if e.Outside != nil {
		all = append(all[:len(all):len(all)], e.Outside.Backends...)
	}
	return all
}

func isLocal(a netip.Addr) bool {
	return netip.MustParsePrefix("10.244.0.0/24").Contains(a) || netip.MustParsePrefix("fd00:244::/64").Contains(a)
}
