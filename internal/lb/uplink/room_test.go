package uplink

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
)

func (w *world) recheck(p *Plane) {
	w.t.Helper()
	w.in(w.nodes[1], func() error { return p.recheck(w.t.Context()) })
}

func mustDescribe(t *testing.T, p *Plane, want string) {
	t.Helper()
	if lines := strings.Join(p.Describe(), "\n"); !strings.Contains(lines, want) {
		t.Fatalf("nothing of %q is described:\n%s", want, lines)
	}
}

// local is a frontend's Entry with these pods of node 1.
func local(pods ...int) *lb.Entry {
	var backends []string
	for _, i := range pods {
		backends = append(backends, join(podIP(1, i, false), 8080))
	}
	return service(1, lb.LoadBalancerIP, backends...)
}

// TestNoRoom leaves what does not fit to nftables, and takes it once there is
// room. Programs over the maps of an earlier process are replaced all the same.
func TestNoRoom(t *testing.T) {
	w := newWorld(t)
	config := w.config(1)
	config.Frontends = 2
	p := w.planeOf(1, config)
	a, b, c := frontend(vip4, 80, desired.TCP), frontend(vip4, 81, desired.TCP), frontend(vip4, 82, desired.TCP)
	all := map[lb.Frontend]*lb.Entry{a: local(0), b: local(0), c: local(0)}
	served := func(p *Plane, want int) {
		t.Helper()
		n := 0
		for f := range all {
			held, err := p.Lookup(f)
			if err != nil {
				t.Fatal(err)
			}
			if len(held.Backends) > 0 {
				n++
			}
		}
		if n != want || len(p.pending) != 0 {
			t.Fatalf("%d frontends are served, want %d; %d are pending", n, want, len(p.pending))
		}
	}
	w.apply(1, p, table(1, all))
	served(p, 2)
	mustDescribe(t, p, "the BPF map frontends is full at 2 entries; raise lb.maxFrontends")
	w.recheck(p)
	served(p, 2)
	for f := range all {
		if held, err := p.Lookup(f); err == nil && held.Left == "" {
			delete(all, f)
			break
		}
	}
	w.apply(1, p, table(1, all))
	served(p, 2)
	p.Close()
	config.Frontends = 1
	p = w.planeOf(1, config)
	if !p.foreign {
		t.Fatal("maps of another size count as the same")
	}
	w.apply(1, p, table(1, all))
	served(p, 1)
	if p.foreign || p.attached["uplink"] == 0 {
		t.Error("the programs are not attached")
	}
}

// TestNoRoomForChange never goes on with old endpoints because the new ones do
// not fit.
func TestNoRoomForChange(t *testing.T) {
	w := newWorld(t)
	config := w.config(1)
	config.Backends = 2
	p := w.planeOf(1, config)
	f, wildcard := frontend(nodeIP(1, false), 30080, desired.TCP), frontend("0.0.0.0", 30080, desired.TCP)
	serve := func(e *lb.Entry, want int) {
		t.Helper()
		w.apply(1, p, table(1, map[lb.Frontend]*lb.Entry{f: e, wildcard: local()}))
		held, err := p.Lookup(f)
		if err != nil || len(held.Backends) != want || (held.Left == "") != (want > 0) {
			t.Fatalf("%+v, %v; want %d backends", held, err, want)
		}
		if n := len(p.targets.number); n != want {
			t.Errorf("%d backends are kept, want %d", n, want)
		}
	}
	serve(local(0, 1), 2)
	serve(local(0, 2), 2) // what the old list takes is given up for the new one
	serve(local(0, 1, 2), 0)
	mustDescribe(t, p, "raise lb.maxBackends")
	if k, ok := p.known[f]; !ok || k.flags != uint32(packetsFrontendFlagPASSIVE) {
		t.Errorf("the NodePort would be taken for what is left to nftables: %+v", k)
	}
	serve(local(1), 1)
}

// TestNoRoomToAccept says that connections are lost if this node cannot note which
// ones others may send to its endpoints.
func TestNoRoomToAccept(t *testing.T) {
	w := newWorld(t)
	config := w.config(1)
	config.Frontends = 1
	p := w.planeOf(1, config)
	want := table(1, map[lb.Frontend]*lb.Entry{frontend(vip4, 80, desired.TCP): local(0), frontend(vip4, 81, desired.TCP): local(0)})
	want.Options.DirectReturn = true
	w.in(w.nodes[1], func() error {
		if err := p.Apply(t.Context(), want); err == nil || !strings.Contains(err.Error(), "raise lb.maxFrontends") {
			t.Errorf("no problem is told: %v", err)
		}
		return nil
	})
	want.Options.DirectReturn = false
	w.apply(1, p, want)
}

// TestRefusedUplink leaves one uplink to nftables that takes no programs, and
// asks it again.
func TestRefusedUplink(t *testing.T) {
	f := bothFamilies()[0]
	w := newWorld(t)
	w.serve(w.pods[1], desired.TCP, join(podIP(1, 0, false), 8080))
	var taken []link.Link
	w.link(w.nodes[1], "other", ns(w.client), "other")
	w.in(w.nodes[1], func() error {
		other, err := netlink.LinkByName("other")
		if err != nil {
			return err
		}
		for { // until one hook takes no more
			program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
				Type: ebpf.SchedCLS, License: "Dual BSD/GPL",
				Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, -1), asm.Return()},
			})
			if err != nil {
				return err
			}
			l, err := link.AttachTCX(link.TCXOptions{Interface: other.Attrs().Index, Program: program, Attach: ebpf.AttachTCXIngress})
			program.Close()
			if errors.Is(err, unix.ERANGE) {
				return nil
			}
			if err != nil {
				return err
			}
			taken = append(taken, l)
		}
	})
	p := w.plane(1)
	want := table(1, f.services(1))
	want.Uplinks = []string{"other", "uplink"}
	for range 2 {
		w.apply(1, p, want)
		mustDescribe(t, p, "uplink other is left to nftables: attaching uplink_ingress")
		w.mustReach(f, true, "with an uplink that refuses")
		if len(p.sources) != 1 {
			t.Fatalf("packets are sent by %v", p.sources)
		}
	}
	w.recheck(p)
	mustDescribe(t, p, "uplink other is left to nftables")
	for _, l := range taken {
		l.Close()
	}
	w.recheck(p)
	mustDescribe(t, p, "packets that come by other, uplink are forwarded")
	if len(p.sources) != 2 {
		t.Errorf("packets are sent by %v", p.sources)
	}
}

// TestRefusedXDP asks a driver again that refused the short cut, and sends by
// XDP only where it is.
func TestRefusedXDP(t *testing.T) {
	w := newWorld(t)
	w.poll(w.nodes[1], "uplink")
	config := w.config(1)
	config.XDP = XDPForce
	p := w.planeOf(1, config)
	w.apply(1, p, table(1, nil))
	mustDescribe(t, p, "XDP is not used on uplink: attaching")
	transmits := func(want uint8) {
		t.Helper()
		p.uplinks[0].transmits = true
		if err := p.writeUplinks(); err != nil {
			t.Fatal(err)
		}
		for _, value := range p.sources {
			if value.Transmits != want {
				t.Errorf("transmits: %d, want %d", value.Transmits, want)
			}
		}
	}
	transmits(0)
	w.in(w.nodes[1], func() error {
		l, err := netlink.LinkByName("uplink")
		if err != nil {
			return err
		}
		return detachXDP(l.Attrs().Index)
	})
	w.apply(1, p, table(1, nil))
	mustDescribe(t, p, "XDP is not used on uplink: attaching")
	w.recheck(p)
	mustDescribe(t, p, "by XDP on uplink")
	transmits(1)
}

// detachXDP detaches what poll attached.
func detachXDP(index int) error {
	it := new(link.Iterator)
	defer it.Close()
	for it.Next() {
		info, err := it.Link.Info()
		if err == nil && info.XDP() != nil && int(info.XDP().Ifindex) == index {
			return it.Link.Detach()
		}
	}
	return it.Err()
}

// TestSource sends from the address that other nodes know, or the kernel
// prefers, and from none that a load balancer lends.
func TestSource(t *testing.T) {
	w := newWorld(t)
	w.address(w.nodes[1], "uplink", "10.0.0.1/32", "192.0.2.0/32", "fd00::1/128")
	p := w.plane(1)
	for name, change := range map[string]func(*lb.Table){
		"known to others":        func(*lb.Table) {},
		"preferred to a peer":    func(t *lb.Table) { t.Peers = t.Peers.Delete(netip.MustParseAddr(nodeIP(1, false))) },
		"nobody knows any":       func(t *lb.Table) { t.Peers = lb.Table{}.Peers },
		"nobody knows this node": func(t *lb.Table) { t.Node = "elsewhere" },
	} {
		want := table(1, nil)
		lent := []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("192.0.2.0")}
		want.NodeAddresses = append(lent, want.NodeAddresses...)
		change(&want)
		w.apply(1, p, want)
		if len(p.uplinks) != 1 || p.uplinks[0].v4.String() != nodeIP(1, false) || p.uplinks[0].v6.String() != nodeIP(1, true) {
			t.Errorf("%s: %+v", name, p.uplinks)
		}
	}
}

// TestDeclinedSYN forgets the flow of a client's earlier connection when nftables
// gets the next one of the same ports.
func TestDeclinedSYN(t *testing.T) {
	w := newWorld(t)
	p := w.plane(1)
	f := frontend(vip4, 80, desired.TCP)
	w.apply(1, p, table(1, map[lb.Frontend]*lb.Entry{f: local(0)}))
	b := w.bench(p)
	q := packet{from: netip.MustParseAddrPort(clientIP4 + ":40000"), to: netip.AddrPortFrom(f.Address, f.Port), protocol: desired.TCP, flags: flagSYN}
	w.in(w.nodes[1], func() error {
		_, out, err := b.run(q.frame(b.card), 1)
		if got := read(t, out); got.to.String() != join(podIP(1, 0, false), 8080) {
			t.Errorf("it went to %s", got.to)
		}
		return err
	})
	left := local(0)
	left.Affinity = time.Hour
	w.apply(1, p, table(1, map[lb.Frontend]*lb.Entry{f: left}))
	w.in(w.nodes[1], func() error {
		for _, flags := range []byte{flagSYN, flagACK} {
			q.flags = flags
			if err := b.mustPass("left to nftables", q.frame(b.card)); err != nil {
				return err
			}
		}
		return nil
	})
	for _, name := range []string{packetsMapFlows, packetsMapReplies} {
		if err := forEach(p.maps[name], func(key packetsTuple, _ packetsFlow) { t.Errorf("%s has %+v", name, key) }); err != nil {
			t.Fatal(err)
		}
	}
}
