package ebpf

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// oracle runs the decision of the hooks outside of any socket.
type oracle struct {
	t       testing.TB
	program *ebpf.Program
}

func newOracle(t testing.TB, p *Plane) oracle {
	t.Helper()
	spec, err := specs(p.config.sizes(), p.config.Netns)
	if err != nil {
		t.Fatal(err)
	}
	program, err := loadProgram(spec, socketProgAsk, p.maps)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return oracle{t, program}
}

func (o oracle) ask(f lb.Frontend, netns, cookie uint64) (socketVerdict, netip.AddrPort) {
	o.t.Helper()
	return o.answer(socketQuestion{To: keyOf(f), Netns: netns, Cookie: cookie})
}

func (o oracle) answer(q socketQuestion) (socketVerdict, netip.AddrPort) {
	o.t.Helper()
	var in bytes.Buffer
	if err := binary.Write(&in, binary.NativeEndian, q); err != nil {
		o.t.Fatal(err)
	}
	out := make([]byte, unsafe.Sizeof(q))
	status, err := o.program.Run(&ebpf.RunOptions{Data: in.Bytes(), DataOut: out, Repeat: 1})
	if err != nil || status != 0 {
		o.t.Fatalf("running the program: %d, %v", status, err)
	}
	if err := binary.Read(bytes.NewReader(out), binary.NativeEndian, &q); err != nil {
		o.t.Fatal(err)
	}
	return q.Verdict, q.Backend.addrPort()
}

// time returns how long one decision takes, over many.
func (o oracle) time(f lb.Frontend, repeat int) time.Duration {
	o.t.Helper()
	var in bytes.Buffer
	if err := binary.Write(&in, binary.NativeEndian, socketQuestion{To: keyOf(f), Netns: 1, Cookie: 1}); err != nil {
		o.t.Fatal(err)
	}
	_, took, err := o.program.Benchmark(in.Bytes(), repeat, nil)
	if err != nil {
		o.t.Fatal(err)
	}
	return took
}

// check asks where a connection goes, from a pod and from the node, and compares
// with what the Table says.
func (o oracle) check(table lb.Table, to lb.Frontend, rng *rand.Rand) {
	o.t.Helper()
	for _, from := range []lb.Place{lb.Pod, lb.Host} {
		q := socketQuestion{To: keyOf(to), Netns: rng.Uint64N(3) + 1, Cookie: rng.Uint64()}
		if from == lb.Host {
			q.Host = 1
		}
		verdict, backend := o.answer(q)
		d := table.Lookup(lb.Packet{From: from, To: to})
		var want socketVerdict
		switch {
		case d.Entry == nil || !handles(to) || leaves(d.Entry):
			want = socketVerdictNO_SERVICE
		case d.Verdict == lb.Forward:
			want = socketVerdictCHOSEN
		case d.Verdict == lb.Drop:
			want = socketVerdictDROPPED
		default:
			want = socketVerdictREFUSED
		}
		if verdict != want {
			o.t.Fatalf("%s from %s: verdict %d, want %d for %+v", to, from, verdict, want, d)
		}
		if verdict == socketVerdictCHOSEN && !slices.Contains(d.Backends, backend) {
			o.t.Fatalf("%s from %s: chose %s, which is not in %v", to, from, backend, d.Backends)
		}
	}
}

// randomFrontend draws from few addresses and ports, so that Tables overlap.
func randomFrontend(rng *rand.Rand) lb.Frontend {
	address := netip.AddrFrom4([4]byte{10, 96, 0, byte(rng.IntN(12))})
	if rng.IntN(2) == 0 {
		address = netip.MustParseAddr(fmt.Sprintf("fd96::%x", rng.IntN(12)))
	}
	switch rng.IntN(6) {
	case 0:
		address = netip.IPv4Unspecified()
	case 1:
		address = netip.IPv6Unspecified()
	}
	protocols := []desired.Protocol{desired.TCP, desired.UDP, desired.SCTP}
	return lb.Frontend{Address: address, Port: uint16(rng.IntN(3) + 80), Protocol: protocols[rng.IntN(3)]}
}

// nodeAddresses are those that a node may have in these tests.
func nodeAddresses() []netip.Addr {
	var addresses []netip.Addr
	for _, text := range []string{"10.96.0.3", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "fd96::5"} {
		addresses = append(addresses, netip.MustParseAddr(text))
	}
	return addresses
}

// randomTarget is a frontend, or what may stand for one that is a NodePort.
func randomTarget(rng *rand.Rand) lb.Frontend {
	f := randomFrontend(rng)
	if rng.IntN(2) == 0 {
		others := append(nodeAddresses(), netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.3.2.1"),
			netip.IPv6Loopback(), netip.MustParseAddr("::2"), netip.MustParseAddr("128.0.0.1"))
		f.Address = others[rng.IntN(len(others))]
	}
	return f
}

func randomEntry(rng *rand.Rand, f lb.Frontend) *lb.Entry {
	e := &lb.Entry{Drop: rng.IntN(3) == 0}
	if rng.IntN(8) == 0 && !f.IsNodePort() {
		e.Sources = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	}
	if rng.IntN(3) == 0 {
		e.Affinity = time.Duration(rng.IntN(20_000)+1) * time.Millisecond
	}
	for i := range rng.IntN(6) {
		address := netip.AddrFrom4([4]byte{10, 0, byte(i), byte(rng.IntN(256))})
		if f.Address.Is6() {
			address = netip.MustParseAddr(fmt.Sprintf("fd00::%x:%x", i, rng.IntN(65536)))
		}
		e.Backends = append(e.Backends, netip.AddrPortFrom(address, uint16(rng.IntN(65535)+1)))
	}
	slices.SortFunc(e.Backends, netip.AddrPort.Compare)
	return e
}

// TestDecision applies one random Table after the other, with restarts between,
// and expects the programs to answer as the Table says for frontends in it and
// others.
func TestDecision(t *testing.T) {
	w := newWorld(t)
	rng := rand.New(rand.NewPCG(3, 4))
	p := w.plane()
	o := newOracle(t, p)
	entries := map[lb.Frontend]*lb.Entry{}
	want := table(nil)
	for round := range 60 {
		e := want.Entries.Edit()
		for range rng.IntN(40) {
			f := randomFrontend(rng)
			if rng.IntN(3) == 0 {
				e.Delete(f)
				delete(entries, f)
				continue
			}
			entry := randomEntry(rng, f)
			e.Set(f, entry)
			entries[f] = entry
		}
		want.Entries, want.NodeAddresses = e.Map(), nil
		for _, address := range nodeAddresses() {
			if rng.IntN(2) == 0 {
				want.NodeAddresses = append(want.NodeAddresses, address)
			}
		}
		want.Synced = rng.IntN(4) > 0
		w.apply(p, want)
		if !want.Synced {
			want.Synced = true
			w.apply(p, want)
		}
		for range 150 {
			o.check(want, randomTarget(rng), rng)
		}
		for f := range entries {
			o.check(want, f, rng)
		}
		w.holds(p, entries)
		if round%10 == 9 {
			p.Close()
			p = w.plane()
			o = newOracle(t, p)
		}
	}
}

// TestUnsynced expects nothing to be removed for being absent from a Table
// that may lack objects, and to be removed once it may not.
func TestUnsynced(t *testing.T) {
	w := newWorld(t)
	p := w.plane()
	entries := services()
	w.apply(p, table(entries))
	partial := table(map[lb.Frontend]*lb.Entry{frontend("10.96.0.5:1", desired.TCP): {}})
	partial.Synced = false
	w.apply(p, partial)
	entries[frontend("10.96.0.5:1", desired.TCP)] = &lb.Entry{}
	w.holds(p, entries)
	partial.Synced = true
	w.apply(p, partial)
	w.holds(p, map[lb.Frontend]*lb.Entry{frontend("10.96.0.5:1", desired.TCP): {}})
}

// TestUniform expects each backend about equally often, by chance for TCP and
// by socket for UDP, which must get the same backend each time.
func TestUniform(t *testing.T) {
	w := newWorld(t)
	p := w.plane()
	o := newOracle(t, p)
	const backends, rounds = 7, 14_000
	var list []netip.AddrPort
	for i := range backends {
		list = append(list, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 80))
	}
	for _, protocol := range []desired.Protocol{desired.TCP, desired.UDP} {
		f := frontend("10.96.0.1:80", protocol)
		w.apply(p, table(map[lb.Frontend]*lb.Entry{f: {Backends: list}}))
		seen := map[netip.AddrPort]int{}
		for i := range uint64(rounds) {
			_, backend := o.ask(f, 1, i)
			seen[backend]++
			if protocol == desired.UDP && i%100 == 0 {
				if _, again := o.ask(f, 1, i); again != backend {
					t.Fatalf("socket %d went from %s to %s", i, backend, again)
				}
			}
		}
		chi := 0.0
		for _, n := range seen {
			d := float64(n) - rounds/backends
			chi += d * d / (rounds / backends)
		}
		// 6 degrees of freedom: 38 is exceeded by chance once in a million.
		if len(seen) != backends || chi > 38 {
			t.Errorf("%s: chosen %v, chi square %.1f", protocol, slices.Collect(maps.Values(seen)), chi)
		}
	}
}

// TestNeverPartial switches a frontend between two lists as fast as it can,
// while the programs are asked: they must always answer from one of them.
func TestNeverPartial(t *testing.T) {
	w := newWorld(t)
	p := w.plane()
	o := newOracle(t, p)
	f, other := frontend("10.96.0.1:80", desired.TCP), frontend("10.96.0.2:80", desired.TCP)
	mine := addrPorts("10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80")
	its := addrPorts("10.9.0.1:80", "10.9.0.2:80")
	w.apply(p, table(map[lb.Frontend]*lb.Entry{f: {Backends: mine}, other: {Backends: its}}))
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			next := table(map[lb.Frontend]*lb.Entry{f: {Backends: mine[:i%4+1]}, other: {Backends: its[:i%2+1]}})
			if err := p.Apply(t.Context(), next); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for range 20_000 {
		verdict, backend := o.ask(f, 1, 1)
		if verdict != socketVerdictCHOSEN || !slices.Contains(mine, backend) {
			t.Errorf("verdict %d, backend %s", verdict, backend)
			break
		}
	}
	close(stop)
	<-stopped
}
