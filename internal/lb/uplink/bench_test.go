package uplink

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// BenchmarkPacket times the programs alone, among 10,000 frontends: for packets
// of known flows, for new flows, and for packets that are no Service's.
//
// The kernel repeats a run with what the last one made of the packet. So known
// flows are made to become what they are, which is as much work, and are run as
// often as their TTL allows.
func BenchmarkPacket(b *testing.B) {
	for _, f := range ways() {
		w := newWorld(b)
		w.route(w.nodes[1], "203.0.113.0/24", "192.0.2.254", "")
		w.route(w.nodes[1], "2001:db8:3::/64", "2001:db8:1::fe", "")
		p := w.plane(1)
		entries := f.services(1)
		for i := range 10_000 {
			entries[frontend(fmt.Sprintf("203.0.%d.%d", 114+i/250, i%250), 80, desired.TCP)] = service(1, lb.LoadBalancerIP, join(podIP(2, i%3, false), 8080))
		}
		want := table(1, entries)
		want.Options.DirectReturn = f.kind == packetsFlowKindTO_DIRECT
		w.apply(1, p, want)
		o := &bench{w: w, p: p, card: make([]byte, 6), program: packetsProgUplinkIngress}
		syn := packet{from: netip.AddrPortFrom(netip.MustParseAddr(f.client), 40000), to: netip.AddrPortFrom(netip.MustParseAddr(f.vip), 80),
			protocol: desired.TCP, flags: flagSYN}
		known, foreign := syn, syn
		known.flags, foreign.flags = flagACK, flagACK
		foreign.to = netip.AddrPortFrom(netip.MustParseAddr(podIP(1, 0, f.six)), 9)
		o.circle(b, known, f.kind)
		b.Run(f.String()+"/known", func(b *testing.B) {
			o.time(b, 60, func(int) []byte { return known.frame(o.card) })
		})
		b.Run(f.String()+"/foreign", func(b *testing.B) {
			o.time(b, 60, func(int) []byte { return foreign.frame(o.card) })
		})
		b.Run(f.String()+"/new", func(b *testing.B) {
			o.time(b, 1, func(i int) []byte {
				syn.from = netip.AddrPortFrom(syn.from.Addr(), uint16(1024+i%4000))
				return syn.frame(o.card)
			})
		})
	}
}

// circle makes a flow whose packets become what they are.
func (o *bench) circle(b *testing.B, of packet, kind packetsFlowKind) {
	b.Helper()
	key := packetsTuple{Source: addressOf(of.from.Addr()), Target: addressOf(of.to.Addr()),
		SourcePort: networkPort(of.from.Port()), TargetPort: networkPort(of.to.Port()), Protocol: uint8(of.protocol)}
	now, err := bpfNow()
	if err != nil {
		b.Fatal(err)
	}
	if err := o.p.maps[packetsMapFlows].Put(key, packetsFlow{To: key, Used: now, Kind: uint8(kind)}); err != nil {
		b.Fatal(err)
	}
	if err := o.p.maps[packetsMapReplies].Put(key.reversed(), packetsFlow{To: key.reversed(), Used: now, Kind: uint8(kind)}); err != nil {
		b.Fatal(err)
	}
}

// time runs frames, each so often in a row, and reports what the kernel measured.
func (o *bench) time(b *testing.B, repeat int, frame func(i int) []byte) {
	total := time.Duration(0)
	err := within(o.w.nodes[1], func() error {
		for i := 0; i < b.N; i += repeat {
			verdict, took, err := o.p.programs[o.program].Benchmark(frame(i), repeat, nil)
			if err != nil || verdict == drops {
				return fmt.Errorf("verdict %d: %w", verdict, err)
			}
			total += took * time.Duration(repeat)
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(total.Nanoseconds())/float64(b.N), "ns/op")
}
