package uplink

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// TestPasses sends to what the programs do not handle: it reaches the node's
// stack as it is, where here a server has the very address and port.
func TestPasses(t *testing.T) {
	f := bothFamilies()[0]
	w := newWorld(t)
	p := w.plane(1)
	pod := join(podIP(2, 0, false), 8080)
	with := func(change func(*lb.Entry)) *lb.Entry {
		e := service(1, lb.NodePort, pod)
		change(e)
		return e
	}
	w.apply(1, p, table(1, map[lb.Frontend]*lb.Entry{
		frontend(f.unspecified, 30001, desired.TCP): with(func(e *lb.Entry) { e.Affinity = time.Hour }),
		frontend(f.unspecified, 30002, desired.TCP): with(func(e *lb.Entry) { e.Sources = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")} }),
		frontend(f.unspecified, 30003, desired.TCP): with(func(e *lb.Entry) { e.Choice = lb.Choice{} }),
		frontend(f.unspecified, 30004, desired.TCP): with(func(e *lb.Entry) { e.Kind = lb.ClusterIP }),
		frontend(f.unspecified, 30005, desired.UDP): with(func(e *lb.Entry) {}),
		frontend(f.unspecified, 30006, desired.TCP): with(func(e *lb.Entry) {}),
	}))
	for port := 30001; port <= 30006; port++ {
		w.serve(w.nodes[1], desired.TCP, join(nodeIP(1, false), port))
		c, err := w.dial(w.client, desired.TCP, 0, join(nodeIP(1, false), port), patient)
		if served := port == 30006; served {
			if err == nil {
				t.Error("the server on the node itself was asked instead of the endpoint")
			}
			continue
		}
		if err != nil {
			t.Fatal(port, err)
		}
		if a := w.must(c); a.seen.Addr() != netip.MustParseAddr(clientIP4) {
			t.Errorf("port %d: the server saw %s", port, a.seen)
		}
	}
	lines := strings.Join(p.Describe(), "\n")
	for _, want := range []string{"session affinity", "loadBalancerSourceRanges", "no endpoints", "uplink"} {
		if !strings.Contains(lines, want) {
			t.Errorf("nothing of %q is described:\n%s", want, lines)
		}
	}
}

// TestNodesAsClients leaves connections of nodes to nftables.
func TestNodesAsClients(t *testing.T) {
	f := bothFamilies()[0]
	w := newWorld(t)
	p := w.cluster(f, f.services)[1]
	b := w.bench(p)
	w.in(w.nodes[1], func() error {
		return b.mustPass("from a node", packet{from: netip.MustParseAddrPort("192.0.2.2:40000"), to: netip.MustParseAddrPort("192.0.2.1:30080"),
			protocol: desired.TCP, flags: flagSYN}.frame(b.card))
	})
}

// TestTracked leaves connections that conntrack carries where they are.
func TestTracked(t *testing.T) {
	for _, f := range bothFamilies() {
		t.Run(f.String(), func(t *testing.T) {
			w := newWorld(t)
			w.track(1)
			at := join(nodeIP(1, f.six), 30080)
			w.serve(w.nodes[1], desired.TCP, at)
			w.serve(w.nodes[1], desired.UDP, at)
			tcp, udp := w.open(desired.TCP, at), w.open(desired.UDP, at)
			w.must(tcp)
			w.must(udp)
			p := w.cluster(f, f.services)[1]
			for _, c := range []net.Conn{tcp, udp} {
				if a := w.must(c); a.backend != at {
					t.Errorf("%s answered an open connection", a.backend)
				}
			}
			if c, err := p.Counters(); err != nil || c.Passed.Tracked == 0 {
				t.Errorf("%+v, %v", c, err)
			}
			w.serve(w.pods[1], desired.TCP, join(podIP(1, 0, f.six), 8080))
			if a := w.must(w.open(desired.TCP, at)); a.backend == at {
				t.Error("a new connection was not served")
			}
		})
	}
}

// TestOtherWays leaves frontends to nftables whose endpoints are reached by
// something else than an uplink, or by a way that takes smaller packets; and
// takes them back.
func TestOtherWays(t *testing.T) {
	f := bothFamilies()[0]
	w := newWorld(t)
	p := w.plane(1)
	want := table(1, map[lb.Frontend]*lb.Entry{
		frontend(f.vip, 80, desired.TCP): service(1, lb.LoadBalancerIP, join(podIP(2, 0, false), 8080), join(podIP(1, 0, false), 8080)),
		frontend(f.vip, 81, desired.TCP): service(1, lb.LoadBalancerIP, join(podIP(1, 0, false), 8080)),
	})
	expect := func(frontends int, why string) {
		t.Helper()
		w.in(w.nodes[1], func() error { return p.recheck(t.Context()) })
		if len(p.known) != frontends || !strings.Contains(strings.Join(p.Describe(), "\n"), why) {
			t.Fatalf("%d frontends, want %d and %q: %v", len(p.known), frontends, why, p.Describe())
		}
	}
	w.apply(1, p, want)
	expect(2, "")
	w.in(w.nodes[1], func() error {
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "overlay"}}); err != nil {
			return err
		}
		l, err := netlink.LinkByName("overlay")
		return errors.Join(err, netlink.LinkSetUp(l))
	})
	w.route(w.nodes[1], podIP(2, 0, false)+"/32", "", "overlay")
	expect(1, "reached by overlay, which is no uplink")
	w.in(w.nodes[1], func() error {
		l, err := netlink.LinkByName("overlay")
		return errors.Join(err, netlink.LinkDel(l))
	})
	expect(2, "")
	w.in(w.nodes[1], func() error {
		l, err := netlink.LinkByName("uplink")
		if err != nil {
			return err
		}
		_, dst, _ := net.ParseCIDR("10.244.2.0/24")
		return netlink.RouteReplace(&netlink.Route{Dst: dst, LinkIndex: l.Attrs().Index, Gw: net.ParseIP(nodeIP(2, false)), MTU: 1400})
	})
	expect(1, "takes packets of 1400 bytes")
}

// TestForgedOption does not believe a SYN that names a frontend which is not,
// or has not that endpoint, or comes from a node; nor an option in what a client
// sends to a frontend.
func TestForgedOption(t *testing.T) {
	direct := way{false, packetsFlowKindTO_DIRECT, 1, vip4, clientIP4, "0.0.0.0"}
	w := newWorld(t)
	p := w.cluster(direct, direct.services)[1]
	b := w.bench(p)
	option := func(address string, port byte) []byte {
		return append([]byte{253, 8, 0, port}, netip.MustParseAddr(address).AsSlice()...)
	}
	pod := podIP(1, 0, false)
	nodePort := append([]byte{253, 8, 0x75, 0x80}, netip.MustParseAddr(nodeIP(2, false)).AsSlice()...)
	for _, c := range []struct {
		name     string
		from, to string
		options  []byte
		flags    byte
		believed bool
	}{
		{"true", clientIP4 + ":1000", pod + ":8080", option(vip4, 80), flagSYN, true},
		{"another node's NodePort", clientIP4 + ":1001", pod + ":8080", nodePort, flagSYN, true},
		{"no frontend's port", clientIP4 + ":1002", pod + ":8080", option(vip4, 82), flagSYN, false},
		{"no frontend's address", clientIP4 + ":1003", pod + ":8080", option("203.0.113.11", 80), flagSYN, false},
		{"another frontend's endpoint", clientIP4 + ":1004", pod + ":8080", option(vip4, 81), flagSYN, false},
		{"a NodePort at no node", clientIP4 + ":1005", pod + ":8080", append([]byte{253, 8, 0x75, 0x80}, 192, 0, 2, 9), flagSYN, false},
		{"from a node", nodeIP(2, false) + ":1006", pod + ":8080", option(vip4, 80), flagSYN, false},
		{"no SYN", clientIP4 + ":1007", pod + ":8080", option(vip4, 80), flagACK, false},
		{"another kind", clientIP4 + ":1008", pod + ":8080", append([]byte{254}, option(vip4, 80)[1:]...), flagSYN, false},
		{"another length", clientIP4 + ":1009", pod + ":8080", append([]byte{253, 6}, option(vip4, 80)[2:]...), flagSYN, false},
	} {
		q := packet{from: netip.MustParseAddrPort(c.from), to: netip.MustParseAddrPort(c.to), protocol: desired.TCP, flags: c.flags, options: c.options}
		w.in(w.nodes[1], func() error { return b.mustPass(c.name, q.frame(b.card)) })
		key := packetsTuple{Source: addressOf(q.to.Addr()), Target: addressOf(q.from.Addr()),
			SourcePort: networkPort(q.to.Port()), TargetPort: networkPort(q.from.Port()), Protocol: 6}
		var value packetsFlow
		if err := p.maps[packetsMapReplies].Lookup(key, &value); (err == nil) != c.believed || err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			t.Errorf("%s: noted: %v (%v)", c.name, err == nil, err)
		}
	}
	// At a frontend the option is data: the answer has the frontend's address.
	q := packet{from: netip.MustParseAddrPort(clientIP4 + ":2000"), to: netip.MustParseAddrPort(vip4 + ":80"), protocol: desired.TCP,
		flags: flagSYN, options: option(vip4, 81)}
	w.in(w.nodes[1], func() error {
		_, out, err := b.run(q.frame(b.card), 1)
		if got := read(t, out); err != nil || got.to.String() != pod+":8080" || !bytes.Equal(got.options, q.options) {
			return fmt.Errorf("%+v, %w", got, err)
		}
		answer := packet{from: netip.MustParseAddrPort(pod + ":8080"), to: q.from, protocol: desired.TCP, flags: flagSYN | flagACK}
		b.program = packetsProgUplinkEgress
		_, out, err = b.run(answer.frame(b.card), 1)
		if got := read(t, out); err != nil || got.from != q.to {
			return fmt.Errorf("the answer: %+v, %w", got, err)
		}
		return nil
	})
}
