package server

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	wire "github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/dns"
)

// large returns the State of a cluster with 10,000 Services, half of them
// headless, and 150,000 addresses of endpoints.
func large() *desired.State {
	state := &desired.State{Synced: true}
	namespaces, services := state.Namespaces.Edit(), state.Services.Edit()
	for i := range 10_000 {
		namespace := fmt.Sprint("team-", i%100)
		namespaces.Set(namespace, &desired.Namespace{})
		s := &desired.Service{
			Name: desired.Name{Namespace: namespace, Name: fmt.Sprint("service-", i)}, Type: desired.ClusterIP, Headless: i%2 == 0,
			Ports: []desired.Port{{Name: "http", Protocol: desired.TCP, Port: 80}},
		}
		if !s.Headless {
			s.Addresses = []netip.Addr{netip.AddrFrom4([4]byte{10, 96, byte(i >> 8), byte(i)})}
		}
		slice := &desired.Slice{Ports: []desired.EndpointPort{{Name: "http", Protocol: desired.TCP, Port: 8080}}}
		for j := range 15 {
			n := 15*i + j
			slice.Endpoints = append(slice.Endpoints, desired.Endpoint{Address: netip.AddrFrom4([4]byte{10, byte(128 + n>>16), byte(n >> 8), byte(n)}), Ready: true})
		}
		s.Slices = []*desired.Slice{slice}
		services.Set(s.Name, s)
	}
	state.Namespaces, state.Services = namespaces.Map(), services.Map()
	return state
}

// touch returns a State in which one Service has another address.
func touch(state *desired.State, n int) *desired.State {
	next := *state
	next.Revision++
	name := desired.Name{Namespace: "team-1", Name: "service-1"}
	s, _ := state.Services.Get(name)
	changed := *s
	changed.Addresses = []netip.Addr{netip.AddrFrom4([4]byte{10, 97, byte(n >> 8), byte(n)})}
	next.Services = state.Services.Set(name, &changed)
	return &next
}

// TestHeap expects the State, the Table and the server of a large cluster to
// stay below 60 MB after a while of changes and questions.
func TestHeap(t *testing.T) {
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	p, err := New(Config{Sockets: 2})
	if err != nil {
		t.Fatal(err)
	}
	state := large()
	table, _ := dns.Compile(state, dns.Table{}, dns.Config{})
	h, buffer := newHot(p, p.tallies[0]), make([]byte, 0, 4096)
	for round := range 10 {
		state = touch(state, round)
		table, _ = dns.Compile(state, table, dns.Config{})
		p.Apply(t.Context(), table)
		for i := range 10_000 {
			packed, err := query(fmt.Sprintf("service-%d.team-%d.svc.cluster.local.", i, i%100), wire.TypeA).Pack()
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := h.answer(packed, buffer, overUDP, nobody); !ok {
				t.Fatal("not usual")
			}
		}
	}
	const megabyte = 1 << 20
	used := heap() - before
	t.Logf("%.1f MB", float64(used)/megabyte)
	if used > 60*megabyte {
		t.Errorf("%d MB", used/megabyte)
	}
	runtime.KeepAlive(state)
	runtime.KeepAlive(p)
}

// BenchmarkChange measures what one change of a large cluster costs the server:
// Apply, and the first questions after it that are answered, one of each kind.
// What it costs to compile the Table is not in it.
func BenchmarkChange(b *testing.B) {
	p, err := New(Config{})
	if err != nil {
		b.Fatal(err)
	}
	state := large()
	var tables [2]dns.Table
	tables[0], _ = dns.Compile(state, dns.Table{}, dns.Config{})
	tables[1], _ = dns.Compile(touch(state, 1), tables[0], dns.Config{})
	h, buffer := newHot(p, p.tallies[0]), make([]byte, 0, 4096)
	var packets [][]byte
	for _, m := range []*wire.Msg{
		query("service-1.team-1.svc.cluster.local.", wire.TypeA), query("gone.team-1.svc.cluster.local.", wire.TypeA),
		query("_http._tcp.service-2.team-2.svc.cluster.local.", wire.TypeSRV).SetEdns0(1232, false),
	} {
		packed, err := m.Pack()
		if err != nil {
			b.Fatal(err)
		}
		packets = append(packets, packed)
	}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		p.Apply(b.Context(), tables[n%2])
		for _, packed := range packets {
			h.answer(packed, buffer, overUDP, nobody)
		}
	}
}

// BenchmarkSocket measures the time of a processor that an answer over loopback
// costs the server, system calls included and the client's left out: with so many packets waiting,
// and for comparison with calls of the standard library for one packet each. Counted ones
// have the names counted as well.
func BenchmarkSocket(b *testing.B) {
	p, err := New(Config{CountNames: true})
	if err != nil {
		b.Fatal(err)
	}
	p.Apply(b.Context(), cluster(b, 0))
	conn, err := listenUDP(b.Context(), netip.MustParseAddrPort("[::]:0"))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	s, err := newUDPSocket(p, conn, p.tallies[0])
	if err != nil {
		b.Fatal(err)
	}
	packet, control := make([]byte, maxQuery), make([]byte, maxControl)
	single := func(waiting int) {
		for range waiting {
			n, controls, _, from, err := conn.ReadMsgUDPAddrPort(packet, control)
			if err != nil {
				b.Fatal(err)
			}
			reply, _ := s.hot.answer(packet[:n], s.replies[:0:s.size], overUDP, nobody)
			conn.WriteMsgUDPAddrPort(reply, replyFrom(control[:controls]), from)
		}
	}
	receive, send := s.in.receive, s.out.send
	batch := func(waiting int, names *top) {
		for waiting > 0 {
			if err := s.raw.Read(receive); err != nil || s.in.failure != 0 {
				b.Fatal(err, s.in.failure)
			}
			waiting -= s.in.got
			now := time.Now()
			s.answer(now)
			s.flush(&s.out, send)
			names.note(s.sampled, s.in.got, now)
		}
	}
	batched, counted := func(waiting int) { batch(waiting, nil) }, func(waiting int) { batch(waiting, p.top) }
	for name, serve := range map[string]func(int){"single": single, "batched": batched, "counted": counted} {
		for _, waiting := range []int{1, 8, 64} {
			b.Run(fmt.Sprint(name, "/", waiting), func(b *testing.B) { benchmarkSocket(b, conn, s.in, waiting, serve) })
		}
	}
}

func benchmarkSocket(b *testing.B, conn *net.UDPConn, in *inbox, waiting int, serve func(int)) {
	client, err := net.Dial("udp", fmt.Sprint("127.0.0.1:", conn.LocalAddr().(*net.UDPAddr).Port))
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	packed, err := query("web.shop.svc.cluster.local.", wire.TypeA).SetEdns0(1232, false).Pack()
	if err != nil {
		b.Fatal(err)
	}
	buffer := make([]byte, 1500)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cpu := func() time.Duration {
		var t unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
			b.Fatal(err)
		}
		return time.Duration(t.Nano())
	}
	var took time.Duration
	answers := 0
	for b.Loop() {
		for range waiting {
			client.Write(packed)
		}
		if waiting == 1 {
			in.want = 1 // as after the pause that there was
		}
		started := cpu()
		serve(waiting)
		took += cpu() - started
		answers += waiting
		for range waiting {
			if _, err := client.Read(buffer); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(took.Nanoseconds())/float64(answers), "ns/answer")
}
