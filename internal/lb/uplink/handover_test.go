package uplink

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// passTo is what a node is told whose addresses came from node n.
func (f way) passTo(n int, long time.Duration) []lb.Passing {
	return []lb.Passing{{Address: netip.MustParseAddr(f.vip), To: netip.MustParseAddr(nodeIP(n, f.six)), For: long}}
}

func (w *world) pass(p *Plane, want []lb.Passing) {
	w.t.Helper()
	if err := p.Pass(want); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) counters(p *Plane) Counters {
	w.t.Helper()
	c, err := p.Counters()
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// TestHandover moves an address with connections to another node, and back: data
// flows on in those of both nodes, and new ones are served where they arrive.
func TestHandover(t *testing.T) {
	for _, f := range ways() {
		t.Run(f.String(), func(t *testing.T) {
			w := newWorld(t)
			w.track(2)
			planes := w.cluster(f, f.services)
			pod := join(podIP(f.pod, 0, f.six), 8080)
			w.serve(w.pods[f.pod], desired.TCP, pod)
			first := w.open(desired.TCP, join(f.vip, 80))
			seen := w.must(first).seen

			w.pass(planes[2], f.passTo(1, time.Minute))
			w.vipsVia(2)
			second := w.open(desired.TCP, join(f.vip, 80))
			goOn := func(when string) {
				t.Helper()
				for range 5 {
					if a := w.must(first); a.backend != pod || a.seen != seen {
						t.Fatalf("%s: the answer came from %s, which saw %s, and before %s", when, a.backend, a.seen, seen)
					}
					w.must(second)
				}
			}
			goOn("moved")
			c := w.counters(planes[2])
			if started := c.Started.Local + c.Started.Remote + c.Started.Direct; started != 1 || c.PassedOn < 5 {
				t.Errorf("the new owner has begun %d connections and passed on %d packets: %+v", started, c.PassedOn, c)
			}

			// For a moment both pass to each other: a late ACK may still go to node 2.
			w.pass(planes[1], f.passTo(2, time.Minute))
			w.vipsVia(1)
			goOn("moved back")
			if c := w.counters(planes[1]); c.PassedOn < 5 {
				t.Errorf("the former owner has passed on %d packets: %+v", c.PassedOn, c)
			}
			// The end of a connection is passed on too.
			first.Close()
			second.Close()
			w.must(w.open(desired.TCP, join(f.vip, 80)))
		})
	}
}

// TestHandoverOfMegabytes moves an address back and forth while data flows both ways.
func TestHandoverOfMegabytes(t *testing.T) {
	for _, f := range bothFamilies() {
		t.Run(f.String(), func(t *testing.T) {
			w := newWorld(t)
			planes := w.cluster(f, f.services)
			w.pass(planes[2], f.passTo(1, time.Minute))
			pod := join(podIP(f.pod, 0, f.six), 8080)
			w.serve(w.pods[f.pod], desired.TCP, pod)
			c := w.open(desired.TCP, join(f.vip, 80))
			for i := range 50 {
				moved := make(chan struct{})
				go func() {
					defer close(moved)
					w.vipsVia(1 + i%2)
				}()
				if _, err := talk(c, 100_000, patient); err != nil {
					t.Fatalf("move %d: %v", i, err)
				}
				<-moved
			}
			if c := w.counters(planes[2]); c.PassedOn < 50 {
				t.Errorf("%+v", c)
			}
		})
	}
}

// passing is a bench for packets to an address that has moved.
type passing struct {
	*bench
	f        way
	from, to netip.AddrPort
}

func (w *world) passing(f way) *passing {
	p := w.plane(1)
	w.apply(1, p, table(1, nil))
	return &passing{w.bench(p), f, netip.AddrPortFrom(netip.MustParseAddr(f.client), 40000), netip.AddrPortFrom(netip.MustParseAddr(f.vip), 80)}
}

func (b *passing) frame(flags byte, protocol desired.Protocol) []byte {
	return packet{from: b.from, to: b.to, protocol: protocol, flags: flags}.frame(b.card)
}

// ttl is where a frame has its TTL or hop limit.
func (b *passing) ttl() int { return map[bool]int{false: 14 + 8, true: 14 + 7}[b.f.six] }

// check sends a frame and compares what becomes of it.
func (b *passing) check(name string, frame []byte, want uint32) {
	b.w.t.Helper()
	b.w.in(b.w.nodes[1], func() error {
		verdict, out, err := b.run(frame, 1)
		if err != nil || verdict != want {
			return fmt.Errorf("%s: verdict %d, want %d (%w)", name, verdict, want, err)
		}
		if got := read(b.w.t, out); verdict == redirects && (got.from != b.from || got.to != b.to || out[b.ttl()] != frame[b.ttl()]-1) {
			b.w.t.Errorf("%s: became %+v with TTL %d", name, got, out[b.ttl()])
		}
		return nil
	})
}

// TestPassesOn looks at single packets: which are passed on, what becomes of them,
// and that none goes in circles.
func TestPassesOn(t *testing.T) {
	for _, f := range bothFamilies() {
		t.Run(f.String(), func(t *testing.T) {
			w := newWorld(t)
			b := w.passing(f)
			b.check("not told", b.frame(flagACK, desired.TCP), passes)
			w.pass(b.p, f.passTo(2, time.Minute))
			for _, flags := range []byte{flagACK, flagACK | flagFIN, 0x04, 0} {
				b.check(fmt.Sprintf("flags %x", flags), b.frame(flags, desired.TCP), redirects)
			}
			b.check("SYN", b.frame(flagSYN, desired.TCP), passes)
			b.check("SYN and ACK", b.frame(flagSYN|flagACK, desired.TCP), passes)
			b.check("UDP", b.frame(0, desired.UDP), passes)
			old := b.frame(flagACK, desired.TCP)
			if old[b.ttl()] = 1; !f.six {
				old[24], old[25] = 0, 0
				sum := checksum(old[14:34])
				old[24], old[25] = byte(sum>>8), byte(sum)
			}
			b.check("TTL of 1", old, passes)

			returned := b.frame(flagACK, desired.TCP)
			copy(returned[6:], []byte{2, 0, 0, 0, 1, 2})
			b.check("from a neighbour that is not known yet", returned, redirects)
			w.neighbour(nodeIP(2, f.six), net.HardwareAddr{2, 0, 0, 0, 1, 2})
			b.check("back from the former owner", returned, drops)
			if c := w.counters(b.p); c.Dropped.Returned != 1 || c.PassedOn != 5 {
				t.Errorf("%+v", c)
			}
		})
	}
}

// TestPassesOnWhatIsOver expects the end of a connection to reach its backend, and what
// comes by the same ports long after it to be passed on: the client may have begun
// another one by another node.
func TestPassesOnWhatIsOver(t *testing.T) {
	for _, f := range bothFamilies() {
		t.Run(f.String(), func(t *testing.T) {
			w := newWorld(t)
			b := w.passing(f)
			w.apply(1, b.p, table(1, map[lb.Frontend]*lb.Entry{
				frontend(f.vip, 80, desired.TCP): service(1, lb.LoadBalancerIP, join(podIP(1, 0, f.six), 8080)),
			}))
			w.pass(b.p, f.passTo(2, time.Minute))
			// deliver tells that the backend gets a frame.
			deliver := func(name string, flags byte) {
				t.Helper()
				before := w.counters(b.p)
				w.in(w.nodes[1], func() error {
					verdict, _, err := b.run(b.frame(flags, desired.TCP), 1)
					if after := w.counters(b.p); err == nil && (verdict != passes || after.Forwarded.Local+after.Started.Local != before.Forwarded.Local+before.Started.Local+1) {
						err = fmt.Errorf("%s: verdict %d, %+v", name, verdict, after)
					}
					return err
				})
			}
			deliver("the first packet", flagSYN)
			deliver("one that goes on", flagACK)
			b.age()
			deliver("one after a long silence", flagACK)
			deliver("the end", flagACK|0x04)
			deliver("one more of its end", flagACK)
			b.age()
			b.check("one of another connection", b.frame(flagACK, desired.TCP), redirects)
			w.pass(b.p, nil)
			deliver("where there is nobody to pass it to", flagACK)
		})
	}
}

// age makes all flows look as if nothing had been said in them for hours.
func (b *passing) age() {
	b.w.t.Helper()
	for _, name := range []string{packetsMapFlows, packetsMapReplies} {
		all := map[packetsTuple]packetsFlow{}
		if err := forEach(b.p.maps[name], func(key packetsTuple, value packetsFlow) { all[key] = value }); err != nil {
			b.w.t.Fatal(err)
		}
		for key, value := range all {
			value.Used = 1
			if err := b.p.maps[name].Put(key, value); err != nil {
				b.w.t.Fatal(err)
			}
		}
	}
}

// TestPassEnds expects nothing to be passed on to a node behind a router, nor for
// longer than was said, nor what the next process does not want.
func TestPassEnds(t *testing.T) {
	for _, f := range bothFamilies() {
		t.Run(f.String(), func(t *testing.T) {
			w := newWorld(t)
			b := w.passing(f)
			far := f.passTo(2, time.Minute)
			far[0].To = netip.MustParseAddr(map[bool]string{false: "198.51.100.9", true: "2001:db8:2::9"}[f.six])
			w.pass(b.p, far)
			b.check("to a node behind a router", b.frame(flagACK, desired.TCP), passes)
			w.pass(b.p, f.passTo(2, 0))
			time.Sleep(20 * time.Millisecond)
			b.check("expired", b.frame(flagACK, desired.TCP), passes)

			w.pass(b.p, f.passTo(2, time.Minute))
			b.p.Close()
			if err := b.p.Pass(nil); err == nil {
				t.Error("a Plane that was closed wrote")
			}
			b.p = w.plane(1)
			w.apply(1, b.p, table(1, nil))
			b.check("by an earlier process", b.frame(flagACK, desired.TCP), redirects)
			w.pass(b.p, nil)
			b.check("not told again", b.frame(flagACK, desired.TCP), passes)
		})
	}
}

// neighbour makes node 1 know the hardware address of a neighbour.
func (w *world) neighbour(address string, card net.HardwareAddr) {
	w.t.Helper()
	w.in(w.nodes[1], func() error {
		l, err := netlink.LinkByName("uplink")
		if err != nil {
			return err
		}
		return netlink.NeighSet(&netlink.Neigh{LinkIndex: l.Attrs().Index, State: unix.NUD_PERMANENT, IP: net.ParseIP(address), HardwareAddr: card})
	})
}

// TestPassRoom expects that what finds no room is no error.
func TestPassRoom(t *testing.T) {
	w := newWorld(t)
	p := w.plane(1)
	var want []lb.Passing
	a := netip.MustParseAddr("10.0.0.1")
	for range int(p.maps[packetsMapPassings].MaxEntries()) + 10 {
		want = append(want, lb.Passing{Address: a, To: a, For: time.Minute})
		a = a.Next()
	}
	w.pass(p, want)
	w.pass(p, want[:1])
	if len(p.passings.have) != 1 {
		t.Errorf("%d are left", len(p.passings.have))
	}
}
