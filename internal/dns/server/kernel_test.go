package server

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	wire "github.com/miekg/dns"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/dns"
	"github.com/fairlead-net/fairlead/internal/dns/kernel"
)

// kernelAt4 and kernelAt6 are where the program answers in these tests.
var (
	kernelAt4 = netip.MustParseAddrPort("10.0.0.53:53")
	kernelAt6 = netip.MustParseAddrPort("[fd00::53]:53")
)

func kernelPlane(t testing.TB, names uint32) *kernel.Plane {
	t.Helper()
	k, err := kernel.New(kernel.Config{Listen: []netip.AddrPort{kernelAt4, kernelAt6}, MaxUDP: 1232, Names: names})
	if err != nil {
		t.Fatalf("these tests load a BPF program, which needs root and Linux 6.6: %v", err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

// ethernet returns a packet in UDP, IP and Ethernet.
func ethernet(packet []byte, from, to netip.AddrPort) []byte {
	udp := binary.BigEndian.AppendUint16(nil, from.Port())
	udp = binary.BigEndian.AppendUint16(udp, to.Port())
	udp = binary.BigEndian.AppendUint16(udp, uint16(8+len(packet)))
	udp = append(append(udp, 0, 0), packet...)
	if sum := ^checksum(pseudo(from.Addr(), to.Addr(), udp)); sum != 0 {
		binary.BigEndian.PutUint16(udp[6:], sum)
	} else {
		binary.BigEndian.PutUint16(udp[6:], 0xffff)
	}
	out := make([]byte, 12, 14+40+len(udp))
	out[6] = 2 // the sender
	if to.Addr().Is4() {
		ip := []byte{0x45, 0, 0, 0, 0x12, 0x34, 0, 0, 63, 17, 0, 0}
		binary.BigEndian.PutUint16(ip[2:], uint16(20+len(udp)))
		ip = append(append(ip, from.Addr().AsSlice()...), to.Addr().AsSlice()...)
		binary.BigEndian.PutUint16(ip[10:], ^checksum(ip))
		return append(append(append(out, 8, 0), ip...), udp...)
	}
	ip := []byte{0x60, 1, 2, 3, 0, 0, 17, 63}
	binary.BigEndian.PutUint16(ip[4:], uint16(len(udp)))
	ip = append(append(ip, from.Addr().AsSlice()...), to.Addr().AsSlice()...)
	return append(append(append(out, 0x86, 0xdd), ip...), udp...)
}

// pseudo returns what the checksum of a UDP packet is about (RFC 768, RFC 8200).
func pseudo(from, to netip.Addr, udp []byte) []byte {
	all := append(from.AsSlice(), to.AsSlice()...)
	return append(append(all, 0, 17, byte(len(udp)>>8), byte(len(udp))), udp...)
}

func checksum(bytes []byte) uint16 {
	sum := uint32(0)
	for i, b := range bytes {
		sum += uint32(b) << (8 * (1 - i%2))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}

// unframe returns the message in a reply, and what is wrong with the packet.
func unframe(reply []byte, from, to netip.AddrPort) ([]byte, error) {
	head := 14 + 20
	if to.Addr().Is6() {
		head = 14 + 40
	}
	ip, udp := reply[14:head], reply[head:]
	source, target := ip[12:16], ip[16:20]
	if to.Addr().Is6() {
		source, target = ip[8:24], ip[24:40]
		if ip[0] != 0x60 || ip[6] != 17 || ip[7] != 64 || int(binary.BigEndian.Uint16(ip[4:])) != len(udp) {
			return nil, fmt.Errorf("IPv6 header %x", ip)
		}
	} else if ip[0] != 0x45 || checksum(ip) != 0xffff || int(binary.BigEndian.Uint16(ip[2:])) != len(ip)+len(udp) || ip[9] != 17 || ip[8] != 64 {
		return nil, fmt.Errorf("IPv4 header %x", ip)
	}
	switch {
	case !bytes.Equal(source, from.Addr().AsSlice()) || !bytes.Equal(target, to.Addr().AsSlice()):
		return nil, fmt.Errorf("from %x to %x", source, target)
	case binary.BigEndian.Uint16(udp) != from.Port() || binary.BigEndian.Uint16(udp[2:]) != to.Port() || int(binary.BigEndian.Uint16(udp[4:])) != len(udp):
		return nil, fmt.Errorf("UDP header %x", udp[:8])
	case checksum(pseudo(from.Addr(), to.Addr(), udp)) != 0xffff:
		return nil, fmt.Errorf("checksum %x of %x", udp[6:8], udp)
	case reply[0] != 2 || reply[6] != 0:
		return nil, fmt.Errorf("Ethernet header %x", reply[:14])
	}
	return udp[8:], nil
}

// kernelReply runs the program on a query by IPv4 or IPv6, and returns its reply, or
// nil if it leaves it to user space.
func kernelReply(t testing.TB, k *kernel.Plane, packet []byte, six bool, port uint16) []byte {
	t.Helper()
	from, to := netip.AddrPortFrom(netip.MustParseAddr("10.1.2.3"), port), kernelAt4
	if six {
		from, to = netip.AddrPortFrom(netip.MustParseAddr("fd00::1:2:3"), port), kernelAt6
	}
	out, err := k.Try(ethernet(packet, from, to))
	if err != nil {
		t.Fatalf("query %x: %v", packet, err)
	}
	if out == nil {
		return nil
	}
	message, err := unframe(out, to, from)
	if err != nil {
		t.Fatalf("query %x: %v", packet, err)
	}
	return message
}

// TestKernelIsHot asks random clusters random questions in random forms, and expects
// of the program the bytes of the hot path, or of the slow one where that declines,
// up to the order of addresses; and that it never answers what is not usual.
func TestKernelIsHot(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	p, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	k := kernelPlane(t, 0)
	h := newHot(p, new(tally))
	hits := map[string]int{}
	for round := range 600 {
		table := kernelCluster(t, rng, round)
		p.Apply(t.Context(), table)
		if err := k.Apply(table); err != nil {
			t.Fatal(err)
		}
		for range 200 {
			packet := kernelQuery(t, rng)
			got := kernelReply(t, k, packet, rng.IntN(2) == 0, uint16(1+rng.IntN(65535)))
			if got == nil {
				hits["left"]++
				continue
			}
			q, ok := readUsual(packet)
			if !ok || q.options.cookie.present {
				t.Fatalf("answered, but not usual: %x", packet)
			}
			want, ok := h.answer(packet, nil, overUDP, nobody)
			if !ok {
				hits["not hot"]++
				if want, _ = p.handle(packet, new(tally), overUDP, nobody); want == nil {
					t.Fatalf("forwarded: %x", packet)
				}
			}
			compareReplies(t, p, packet, got, want, hits)
		}
	}
	t.Log(hits)
	for _, kind := range []string{"left", "NOERROR A", "NOERROR AAAA", "NXDOMAIN", "NODATA"} {
		if hits[kind] < 1000 {
			t.Errorf("only %d cases of %s in %v", hits[kind], kind, hits)
		}
	}
	if hits["TC"] > 0 {
		t.Error("truncated")
	}
}

// kernelCluster returns a random cluster, now and then a large one, and mostly one
// that the program can answer for.
func kernelCluster(t *testing.T, rng *rand.Rand, round int) dns.Table {
	if round%4 == 0 {
		return cluster(t, rng.IntN(24))
	}
	table := randomCluster(rng)
	for try := 0; try < round%4 && (table.Indexable() != nil || !table.Synced); try++ {
		table = randomCluster(rng)
	}
	return table
}

// kernelQuery returns a query, mostly a plain one for addresses.
func kernelQuery(t *testing.T, rng *rand.Rand) []byte {
	t.Helper()
	if rng.IntN(8) == 0 {
		return randomQuery(t, rng)
	}
	name := fmt.Sprintf("s%d.n%d.svc.cluster.local.", rng.IntN(6), rng.IntN(3))
	switch rng.IntN(6) {
	case 0:
		name = []string{"", "_http._tcp.", "10-1-0-3."}[rng.IntN(3)] + "big.shop.svc.cluster.local."
	case 1:
		name = "web.shop.svc.cluster.local."
	case 2:
		name = "www.example.com." + []string{"shop.svc.", "svc.", "pod.", "dns.", "hostmaster.", ""}[rng.IntN(6)] + "cluster.local."
	case 3:
		name = randomName(rng)
	}
	qtype := []uint16{wire.TypeA, wire.TypeAAAA}[rng.IntN(2)]
	if rng.IntN(3) == 0 {
		return randomForm(t, rng, name, qtype)
	}
	m := query(name, qtype)
	if rng.IntN(2) == 0 {
		m.SetEdns0(uint16(rng.IntN(5000)), rng.IntN(2) == 0)
	}
	packed, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

// TestKernelFull gives the kernel more names than it has room for. Then it must not
// say of any that it does not exist, until there is room.
func TestKernelFull(t *testing.T) {
	k := kernelPlane(t, 24)
	service := func(i int) *desired.Service {
		return &desired.Service{Name: desired.Name{Namespace: "shop", Name: fmt.Sprint("s", i)}, Type: desired.ClusterIP, Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 96, 1, byte(i)})}}
	}
	answered := func(name string) bool {
		packed, err := query(name+".svc.cluster.local.", wire.TypeA).Pack()
		if err != nil {
			t.Fatal(err)
		}
		return kernelReply(t, k, packed, false, 5353) != nil
	}
	for _, n := range []int{3, 60, 5, 80, 0} {
		var more []*desired.Service
		for i := range n {
			more = append(more, service(i))
		}
		if err := k.Apply(cluster(t, 0, more...)); err != nil {
			t.Fatal(err)
		}
		there := 0
		for i := range n {
			if answered(fmt.Sprintf("s%d.shop", i)) {
				there++
			}
		}
		full := n > 20
		if full != (there < n) || there < min(n, 5) || answered("none.shop") == full {
			t.Errorf("%d of %d names; one that does not exist: %t; %v", there, n, answered("none.shop"), k.Describe())
		}
	}
}

// TestKernelAddresses answers at few addresses, and at more than the program compares.
// At others it must leave the packet alone.
func TestKernelAddresses(t *testing.T) {
	packed, err := query("web.shop.svc.cluster.local.", wire.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	for n := range 9 {
		var at []netip.AddrPort
		for i := range n {
			a := netip.AddrFrom4([4]byte{10, 0, byte(i), 53})
			if i%2 == 1 {
				a = netip.AddrFrom16([16]byte{0: 0xfd, 7: byte(i), 15: 53})
			}
			at = append(at, netip.AddrPortFrom(a, uint16(53+i/4)))
		}
		k, err := kernel.New(kernel.Config{Listen: at, MaxUDP: 1232})
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Apply(cluster(t, 0)); err != nil {
			t.Fatal(err)
		}
		answers := func(to netip.AddrPort) bool {
			from := netip.MustParseAddrPort("10.1.2.3:4711")
			if to.Addr().Is6() {
				from = netip.MustParseAddrPort("[fd00::1:2:3]:4711")
			}
			out, err := k.Try(ethernet(packed, from, to))
			if err != nil {
				t.Fatal(err)
			}
			return out != nil
		}
		for _, to := range at {
			if !answers(to) || answers(netip.AddrPortFrom(to.Addr(), 5353)) || answers(netip.AddrPortFrom(to.Addr().Next(), to.Port())) {
				t.Errorf("%d addresses: not answered at %s, or beside it", n, to)
			}
		}
		if answers(netip.MustParseAddrPort("10.9.9.9:53")) || answers(netip.MustParseAddrPort("10.9.9.9:0")) {
			t.Errorf("%d addresses: answered at another one", n)
		}
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	}
}

// FuzzKernel expects the program to answer only what the reader of usual queries
// accepts, as the server does.
func FuzzKernel(f *testing.F) {
	for _, m := range []*wire.Msg{
		query("web.shop.svc.cluster.local.", wire.TypeA), query("big.shop.svc.cluster.local.", wire.TypeAAAA).SetEdns0(1232, true),
		query(`a\.b\200.c.cluster.local.`, wire.TypeA), withCookie(query("x.svc.cluster.local.", wire.TypeA), "0102030405060708"),
		query("shop.svc.CLUSTER.local.", wire.TypeA), query("www.example.com.svc.cluster.local.", wire.TypeA).SetEdns0(512, false),
	} {
		packed, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed, uint16(0), byte(0))
		f.Add(packed, uint16(17), byte(4))
	}
	p, err := New(Config{})
	if err != nil {
		f.Fatal(err)
	}
	k := kernelPlane(f, 0)
	table := cluster(f, 5)
	p.Apply(f.Context(), table)
	if err := k.Apply(table); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, packet []byte, at uint16, change byte) {
		if len(packet) > 2000 {
			return
		}
		if got := kernelReply(t, k, packet, at%2 == 1, 4711); got != nil {
			if q, ok := readUsual(packet); !ok || q.options.cookie.present {
				t.Fatalf("answered, but not usual: %x", packet)
			}
			want, later := p.handle(packet, new(tally), overUDP, nobody)
			if later != nil {
				t.Fatalf("forwarded: %x", packet)
			}
			compareReplies(t, p, packet, got, want, map[string]int{})
		}
		// A header that is not as it should be: it answers well or not at all.
		from, to := netip.AddrPortFrom(netip.MustParseAddr("10.1.2.3"), 5353), kernelAt4
		if at%2 == 1 {
			from, to = netip.AddrPortFrom(netip.MustParseAddr("fd00::1:2:3"), 5353), kernelAt6
		}
		damaged := ethernet(packet, from, to)
		damaged[14+int(at)%min(len(damaged)-14, 48)] ^= change
		if _, err := k.Try(damaged); err != nil {
			t.Fatal(err)
		}
	})
}
