package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"unsafe"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// The addresses of a packet world, and its NodePort.
const (
	outsideIP   = "192.0.2.2"
	nodeIP      = "192.0.2.1"
	otherNodeIP = "198.51.100.2"
	nodePort    = 30080
	// endpoints are many, so that new flows do not run out of ports to one.
	endpoints = 32
)

// nobody is the address of no network card: a packet to it ends where it
// arrives, before any rule sees it.
var nobody = net.HardwareAddr{2, 0, 0, 0, 0, 0x99}

// gateway is a node between a network outside and one with another node, on
// which the endpoints are:
//
//	outside  192.0.2.2  -- up0  node  up1 --  198.51.100.2  other node
//
// The other node's network card is nobody's, so what arrives there costs nothing
// more, and is counted.
type gateway struct {
	name string

	outside, node, other netns.NsHandle

	sender *process
	mac    net.HardwareAddr
	to     string
	port   int
	// fresh is how many source addresses of new flows were used.
	fresh   int
	results map[string]series // nanoseconds of CPU time a packet
	// sent is how many packets there were; programs is the side whose programs at
	// the uplinks have to forward them all, nil where it has none.
	sent     uint64
	programs *side
}

func (w *world) newGateway(name string) (*gateway, error) {
	g := &gateway{name: name, to: nodeIP, port: nodePort, results: map[string]series{}}
	for _, ns := range []*netns.NsHandle{&g.node, &g.other, &g.outside} {
		var err error
		if *ns, err = w.namespace(); err != nil {
			return nil, err
		}
	}
	err := errors.Join(
		w.link(end{g.node, "up0", nodeIP + "/24"}, end{g.outside, "eth0", outsideIP + "/24"}),
		w.link(end{g.node, "up1", "198.51.100.1/24"}, end{g.other, "eth0", otherNodeIP + "/24"}),
		route(g.node, "0.0.0.0/0", outsideIP), route(g.node, "10.129.0.0/16", otherNodeIP),
		within(g.node, g.prepare),
	)
	if err != nil {
		return nil, err
	}
	g.sender, err = w.start(place{ns: g.outside, cpu: runtime.NumCPU() - 1}, "/proc/self/exe", "role", "client")
	return g, err
}

func (g *gateway) prepare() error {
	up0, err := netlink.LinkByName("up0")
	if err != nil {
		return err
	}
	g.mac = up0.Attrs().HardwareAddr
	up1, err := netlink.LinkByName("up1")
	if err != nil {
		return err
	}
	return netlink.NeighSet(&netlink.Neigh{LinkIndex: up1.Attrs().Index, IP: net.ParseIP(otherNodeIP), HardwareAddr: nobody, State: netlink.NUD_PERMANENT})
}

// received counts what came to the other node.
func (g *gateway) received() (count uint64, err error) {
	err = within(g.other, func() error {
		l, err := netlink.LinkByName("eth0")
		if err == nil {
			count = l.Attrs().Statistics.RxPackets
		}
		return err
	})
	return count, err
}

// measure sends packets and notes what each cost.
func (g *gateway) measure(kind string, f frames) error {
	f.To, f.Port, f.MAC = g.to, g.port, g.mac
	before, err := g.received()
	if err != nil {
		return err
	}
	softirq, err := softirqTime()
	if err != nil {
		return err
	}
	var a worked
	if err := g.sender.ask(work{Do: "packets", Frames: f}, &a); err != nil {
		return err
	}
	later, err := softirqTime()
	if err != nil {
		return err
	}
	after, err := g.received()
	if err != nil {
		return err
	}
	// Something else may speak up too, but a thousandth must not be missing.
	if arrived := after - before; g.mac.String() != nobody.String() && arrived*1000 < uint64(f.Count)*999 {
		return fmt.Errorf("%s, %s: only %d of %d packets arrived at the other node", g.name, kind, arrived, f.Count)
	}
	g.sent += uint64(a.Count)
	g.results[kind] = append(g.results[kind], float64((a.CPU+later-softirq).Nanoseconds())/float64(a.Count))
	return nil
}

// check tells an error where programs at the uplinks left packets to nftables.
func (g *gateway) check() error {
	if g.programs == nil {
		return nil
	}
	t, err := g.programs.give(objects{})
	if err == nil && t.Forwarded*1000 < g.sent*999 {
		err = fmt.Errorf("%s: the programs forwarded only %d of %d packets", g.name, t.Forwarded, g.sent)
	}
	return err
}

// packets measures the NodePort path to an endpoint on another node.
func packets(o options, w *world, r *report) error {
	gateways, err := w.gateways(o)
	if err != nil {
		return err
	}
	established := frames{Flows: 256, Count: o.size(400_000, 20_000)}
	for round := range o.size(9, 2) + 1 {
		for _, g := range gateways {
			fresh := frames{Flows: o.size(10_000, 200), First: g.fresh, Count: o.size(10_000, 200)}
			g.fresh += fresh.Flows
			err := errors.Join(g.measure("new", fresh), g.measure("established", established))
			if err != nil {
				return err
			}
		}
		if round == 0 { // the first one made the flows, and filled the caches
			for _, g := range gateways {
				clear(g.results)
			}
		}
	}
	byName := map[string]*gateway{}
	for _, g := range gateways {
		byName[g.name] = g
		if err := g.check(); err != nil {
			return err
		}
	}
	for _, kind := range []struct{ name, what string }{{"established", "nodeport-packets"}, {"new", "nodeport-flows"}} {
		// A packet comes by one wire and leaves by another, each of which is the
		// same work whoever serves.
		sender, first := byName["sender"].results[kind.name], byName["wire"].results[kind.name]
		wire := first.less(sender)
		peer := byName["kube-proxy"].results[kind.name].less(first).less(wire)
		for _, g := range gateways[2:] {
			cost := g.results[kind.name].less(first).less(wire)
			r.figure(kind.what+"-"+g.name+"-cost", cost, "ns", fmt.Sprintf("CPU time a packet, without the sender (%s ns) and two wires (%s ns each)", digits(sender.median()), digits(wire.median())))
			if g.name != "kube-proxy" && g.name != "routes" {
				r.ratio(kind.what+"-"+g.name, peer, cost, "ns of CPU a packet, kube-proxy / Fairlead, which is packets a CPU second, Fairlead / kube-proxy")
			}
		}
	}
	return nil
}

// gateways makes a node for each way of serving a NodePort, and three to compare:
// where nothing but the sender works, where packets end behind the first wire,
// and where the node only routes.
func (w *world) gateways(o options) ([]*gateway, error) {
	var addresses []string
	for i := range endpoints {
		addresses = append(addresses, fmt.Sprintf("10.129.0.%d", 10+i))
	}
	all := cluster(o.size(1000, 20)).and(served(nodePort, serverPort, addresses...))
	var made []*gateway
	for _, kind := range []struct {
		name  string
		serve func(g *gateway) error
	}{
		{"sender", func(g *gateway) error { g.mac = nobody; return within(g.outside, withoutWire) }},
		{"wire", func(g *gateway) error { g.mac = nobody; return nil }},
		{"routes", func(g *gateway) error { g.to, g.port = addresses[0], serverPort; return nil }},
		{"kube-proxy", func(g *gateway) error {
			s, err := w.newPeer(g.node, o.peer, "-address", nodeIP)
			if err == nil {
				_, err = s.give(all)
			}
			return errors.Join(err, within(g.node, believeChecksums))
		}},
		{"nft", func(g *gateway) error { return w.serveFairlead(g, all, "nftables") }},
		{"tc", func(g *gateway) error { return w.serveFairlead(g, all, "ebpf") }},
		{"xdp", func(g *gateway) error {
			return errors.Join(within(g.other, receiveOffload), w.serveFairlead(g, all, "xdp"))
		}},
	} {
		g, err := w.newGateway(kind.name)
		if err == nil {
			err = kind.serve(g)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", kind.name, err)
		}
		made = append(made, g)
	}
	return made, nil
}

func (w *world) serveFairlead(g *gateway, all objects, packets string) error {
	s, _, err := w.newFairlead(g.node, "-addresses", nodeIP+",198.51.100.1", "-uplinks", "up0,up1", "-packets", packets)
	if err == nil {
		_, err = s.give(all)
	}
	if packets != "nftables" {
		g.programs = &s
	}
	return errors.Join(err, within(g.node, believeChecksums))
}

// withoutWire makes an interface of the link that lets packets go at once: a
// bridge without ports.
func withoutWire() error {
	link, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	nothing := netlink.LinkAttrs{Name: "eth0", Flags: net.FlagUp}
	return errors.Join(netlink.LinkDel(link), netlink.LinkAdd(&netlink.Bridge{LinkAttrs: nothing}))
}

// receiveOffload lets the far end of a link take what XDP redirects to it.
func receiveOffload() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	on := struct{ command, value uint32 }{unix.ETHTOOL_SGRO, 1}
	raw := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}{data: unsafe.Pointer(&on)}
	copy(raw.name[:], "eth0")
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&raw))); errno != 0 {
		return fmt.Errorf("switching on receive offload: %w", errno)
	}
	return nil
}

// believeChecksums spares connection tracking what network cards do in hardware.
func believeChecksums() error {
	return os.WriteFile("/proc/sys/net/netfilter/nf_conntrack_checksum", []byte("0"), 0)
}

// less subtracts round by round.
func (s series) less(other series) series {
	var rest series
	for i := range s {
		rest = append(rest, s[i]-other[i])
	}
	return rest
}

// send puts frames on the wire and tells what that took.
func send(f frames) (worked, error) {
	all, err := f.messages()
	if err != nil {
		return worked{}, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return worked{}, err
	}
	defer func() { _ = unix.Close(fd) }()
	link, err := net.InterfaceByName("eth0")
	if err != nil {
		return worked{}, err
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: link.Index}); err != nil {
		return worked{}, err
	}
	return f.flood(fd, all)
}
