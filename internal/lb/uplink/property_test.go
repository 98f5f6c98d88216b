package uplink

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// TestChoice compares the backend that the programs choose with the one that
// Slot and lb.Maglev name, for frontends with any number of backends.
func TestChoice(t *testing.T) {
	w := newWorld(t)
	p := w.plane(1)
	random := rand.New(rand.NewPCG(1, 2))
	entries := map[lb.Frontend]*lb.Entry{}
	var all []lb.Frontend
	for i := range 40 {
		f := frontend(fmt.Sprintf("203.0.113.%d", i+1), uint16(1+random.IntN(65535)), []desired.Protocol{desired.TCP, desired.UDP}[i%2])
		pods := "10.244.1.%d"
		if i%4 > 1 {
			f.Address, pods = netip.MustParseAddr(fmt.Sprintf("2001:db8:3::%x", i+1)), "fd00:244:1::%d"
		}
		var backends []string
		for j := range 1 + random.IntN(1<<(i%8)) {
			backends = append(backends, join(fmt.Sprintf(pods, j+1), 8000+random.IntN(100)))
		}
		entries[f] = service(1, lb.LoadBalancerIP, backends...)
		all = append(all, f)
	}
	w.apply(1, p, table(1, entries))
	b := w.bench(p)
	w.in(w.nodes[1], func() error {
		for i := range 2000 {
			f := all[i%len(all)]
			client := netip.AddrFrom4([4]byte{198, 51, 100, byte(2 + random.IntN(250))})
			if f.Address.Is6() {
				client = netip.MustParseAddr(fmt.Sprintf("2001:db8:2::%x", 2+random.IntN(1<<16)))
			}
			q := packet{from: netip.AddrPortFrom(client, uint16(1024+random.IntN(60000))), to: netip.AddrPortFrom(f.Address, f.Port),
				protocol: f.Protocol, flags: flagSYN, data: make([]byte, random.IntN(30)*int(f.Protocol)/17)}
			verdict, out, err := b.run(q.frame(b.card), 1)
			if err != nil {
				return err
			}
			backends := entries[f].Backends
			slots := lb.Maglev(backends)
			want := backends[slots[Slot(q.from, f, len(slots))]]
			if got := read(t, out); verdict != passes || got.to != want || got.from != q.from {
				return fmt.Errorf("%s to %s of %d backends: verdict %d, %s to %s, want %s", q.from, f, len(backends), verdict, got.from, got.to, want)
			}
		}
		return nil
	})
}

// TestOdd feeds packets that are cut short, changed or unusual: they pass as
// they are, or what was forwarded has right checksums.
func TestOdd(t *testing.T) {
	for _, f := range ways() {
		t.Run(f.String(), func(t *testing.T) {
			w := newWorld(t)
			p := w.cluster(f, f.services)[1]
			b := w.bench(p)
			w.in(w.nodes[1], func() error {
				for _, protocol := range []desired.Protocol{desired.TCP, desired.UDP} {
					if err := b.odd(f, protocol); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
}

// odd tries every prefix of a frame, and every byte of its headers changed.
func (b *bench) odd(f way, protocol desired.Protocol) error {
	q := packet{from: netip.AddrPortFrom(netip.MustParseAddr(f.client), 40000), to: netip.AddrPortFrom(netip.MustParseAddr(f.vip), 80),
		protocol: protocol, flags: flagSYN}
	frame := q.frame(b.card)
	header := 20
	if f.six {
		header = 40
	}
	// The kernel lets no shorter frame in.
	for length := 14 + header; length < len(frame); length++ {
		if err := b.mustPass(fmt.Sprintf("%d of %d bytes", length, len(frame)), frame[:length]); err != nil {
			return err
		}
	}
	odd := map[string]func(ip []byte){
		"version":                  func(ip []byte) { ip[0] = 0x55 },
		"another protocol":         func(ip []byte) { ip[map[bool]int{false: 9, true: 6}[f.six]] = 132 },
		"TTL of 1":                 func(ip []byte) { ip[map[bool]int{false: 8, true: 7}[f.six]] = 1 },
		"another target":           func(ip []byte) { ip[header-1]++ },
		"another port":             func(ip []byte) { ip[header+3] = 90 },
		"longer than it is":        func(ip []byte) { ip[map[bool]int{false: 3, true: 5}[f.six]]++ },
		"shorter than its headers": func(ip []byte) { ip[map[bool]int{false: 3, true: 5}[f.six]] = 7 },
	}
	if protocol == desired.TCP {
		odd["no ports"] = func(ip []byte) { ip[header+12] = 0x40 }
		odd["options it has not"] = func(ip []byte) { ip[header+12] = 0xf0 }
		odd["SYN and FIN"] = func(ip []byte) { ip[header+13] = 0x03 }
		odd["SYN and RST"] = func(ip []byte) { ip[header+13] = 0x06 }
		odd["SYN and ACK"] = func(ip []byte) { ip[header+13] = 0x12 }
		odd["RST of nothing"] = func(ip []byte) { ip[header+13] = 0x04 }
	}
	if !f.six {
		odd["IP options"] = func(ip []byte) { ip[0] = 0x46 }
		odd["a later fragment of nothing"] = func(ip []byte) { ip[7] = 1 }
	}
	for name, change := range odd {
		changed := bytes.Clone(frame)
		change(changed[14:])
		if err := b.mustPass(name, changed); err != nil {
			return err
		}
	}
	other := bytes.Clone(frame)
	other[5] ^= 1
	return b.mustPass("to another card", other)
}

func (b *bench) mustPass(name string, frame []byte) error {
	verdict, out, err := b.run(frame, 1)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if verdict != passes || !bytes.Equal(out, frame) {
		return fmt.Errorf("%s: verdict %d; in and out:\n%x\n%x", name, verdict, frame, out)
	}
	return nil
}

// FuzzIngress changes and cuts packets at will. What passes is as it was; and
// nothing but a packet to a frontend is ever forwarded.
func FuzzIngress(f *testing.F) {
	for _, each := range ways() {
		q := packet{from: netip.AddrPortFrom(netip.MustParseAddr(each.client), 40000), to: netip.AddrPortFrom(netip.MustParseAddr(each.vip), 80),
			protocol: desired.TCP, flags: flagSYN, options: []byte{253, 8, 0, 80, 203, 0, 113, 10}}
		f.Add(q.frame(make([]byte, 6)))
		q.protocol = desired.UDP
		f.Add(q.frame(make([]byte, 6)))
	}
	spec, err := specs(Config{FlowsSize: 1024, Frontends: 16, Backends: 16, timeouts: defaultTimeouts()}, PortRange{61000, 65535})
	if err != nil {
		f.Fatal(err)
	}
	programs, _, err := loadPrograms(spec, nil, XDPAuto)
	if err != nil {
		f.Fatal(err)
	}
	b := &bench{p: &Plane{programs: programs}, program: packetsProgUplinkIngress}
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) < 14 || len(frame) > 2000 {
			return
		}
		for _, b.program = range []string{packetsProgUplinkIngress, packetsProgUplinkEgress, packetsProgUplinkXdp} {
			verdict, out, err := b.run(frame, 1)
			expected := uint32(passes)
			if b.program == packetsProgUplinkXdp {
				expected = xdpPass
			}
			if err == nil && (verdict != expected || !bytes.Equal(out, frame)) {
				t.Errorf("%s: verdict %d; in and out:\n%x\n%x", b.program, verdict, frame, out)
			}
		}
	})
}
