package uplink

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// seen sends a SYN and returns the packet that it becomes.
func (b *bench) seen(from, to string, options []byte) (became packet) {
	b.w.t.Helper()
	q := packet{from: netip.MustParseAddrPort(from), to: netip.MustParseAddrPort(to), protocol: desired.TCP, flags: flagSYN, options: options}
	b.w.in(b.w.nodes[1], func() error {
		_, out, err := b.run(q.frame(b.card), 1)
		became = read(b.w.t, out)
		return err
	})
	return became
}

// TestDirectReturnOnly uses direct return only towards nodes that run Fairlead,
// and for NodePorts only at addresses by which all nodes know this one.
func TestDirectReturnOnly(t *testing.T) {
	f := way{false, packetsFlowKindTO_DIRECT, 2, vip4, clientIP4, "0.0.0.0"}
	w := newWorld(t)
	const second = "192.0.2.77"
	w.address(w.nodes[1], "uplink", second+"/24")
	p := w.plane(1)
	b := w.bench(p)
	want := table(1, f.services(1))
	want.Options.DirectReturn = true
	want.NodeAddresses = []netip.Addr{netip.MustParseAddr(nodeIP(1, false)), netip.MustParseAddr(second)}
	port := 40000
	expect := func(to, from string) {
		t.Helper()
		port++
		if got := b.seen(join(clientIP4, port), to, nil); got.to.String() != join(podIP(2, 0, false), 8080) || got.from.Addr().String() != from {
			t.Errorf("%s: %s to %s, want from %s", to, got.from, got.to, from)
		}
	}
	w.apply(1, p, want)
	expect(join(vip4, 80), clientIP4)
	expect(join(nodeIP(1, false), 30080), clientIP4)
	expect(join(second, 30080), nodeIP(1, false))
	all := want.Peers
	want.Peers = all.Delete(netip.MustParseAddr(nodeIP(2, false))).Delete(netip.MustParseAddr(nodeIP(2, true)))
	w.apply(1, p, want)
	expect(join(vip4, 80), nodeIP(1, false))
	expect(join(nodeIP(1, false), 30080), nodeIP(1, false))
	want.Peers = all
	w.apply(1, p, want)
	expect(join(vip4, 80), clientIP4)
}

// TestAccepts believes SYNs to every endpoint here of the frontend's port, chosen
// by this node or not; also after a restart.
func TestAccepts(t *testing.T) {
	w := newWorld(t)
	here := []netip.AddrPort{netip.MustParseAddrPort(join(podIP(1, 0, false), 8080)), netip.MustParseAddrPort(join(podIP(1, 1, false), 8080))}
	elsewhere := service(1, lb.LoadBalancerIP, join(podIP(2, 0, false), 8080)) // the hints of this node's zone
	none := service(1, lb.LoadBalancerIP)
	affine := service(1, lb.LoadBalancerIP, join(podIP(1, 0, false), 8080))
	affine.Affinity = time.Hour
	elsewhere.Here, none.Here, affine.Here = here, here[:1], here
	want := table(1, map[lb.Frontend]*lb.Entry{
		frontend(vip4, 80, desired.TCP): elsewhere, frontend(vip4, 81, desired.TCP): none, frontend(vip4, 82, desired.TCP): affine,
	})
	want.Options.DirectReturn = true
	client := 1000
	for range 2 {
		p := w.plane(1)
		w.apply(1, p, want)
		next := p.next
		b := w.bench(p)
		for _, c := range []struct {
			port, pod int
			believed  bool
		}{{80, 0, true}, {80, 1, true}, {80, 2, false}, {81, 0, true}, {81, 1, false}, {82, 0, false}} {
			client++
			from, to := join(clientIP4, client), join(podIP(1, c.pod, false), 8080)
			b.seen(from, to, append([]byte{253, 8, 0, byte(c.port)}, netip.MustParseAddr(vip4).AsSlice()...))
			source, target := netip.MustParseAddrPort(to), netip.MustParseAddrPort(from)
			key := packetsTuple{Source: addressOf(source.Addr()), Target: addressOf(target.Addr()),
				SourcePort: networkPort(source.Port()), TargetPort: networkPort(target.Port()), Protocol: 6}
			var value packetsFlow
			if err := p.maps[packetsMapReplies].Lookup(key, &value); (err == nil) != c.believed || err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
				t.Errorf("%+v: noted: %v (%v)", c, err == nil, err)
			}
		}
		if client > 1006 && next != p.next {
			t.Error("a restart wrote lists anew that had not changed")
		}
		p.Close()
	}
}

// TestShadow leaves packets to nftables whose exact address and port are left to
// it, though a NodePort has the same number.
func TestShadow(t *testing.T) {
	w := newWorld(t)
	const second = "192.0.2.77"
	w.address(w.nodes[1], "uplink", second+"/24")
	p := w.plane(1)
	affine := service(1, lb.LoadBalancerIP, join(podIP(1, 0, false), 8080))
	affine.Affinity = time.Hour
	want := table(1, map[lb.Frontend]*lb.Entry{
		frontend("0.0.0.0", 30080, desired.TCP):        service(1, lb.NodePort, join(podIP(1, 1, false), 8080)),
		frontend(nodeIP(1, false), 30080, desired.TCP): affine,
	})
	b := w.bench(p)
	client := 40000
	expect := func(to, became string) {
		t.Helper()
		client++
		if got := b.seen(join(clientIP4, client), to, nil).to.String(); got != became {
			t.Errorf("what is for %s becomes for %s, want %s", to, got, became)
		}
	}
	pod, at, other := join(podIP(1, 1, false), 8080), join(nodeIP(1, false), 30080), join(second, 30080)
	want.NodeAddresses = []netip.Addr{netip.MustParseAddr(second)}
	w.apply(1, p, want)
	expect(other, pod)
	want.NodeAddresses = []netip.Addr{netip.MustParseAddr(nodeIP(1, false)), netip.MustParseAddr(second)}
	w.apply(1, p, want)
	expect(at, at)
	expect(other, pod)
}
