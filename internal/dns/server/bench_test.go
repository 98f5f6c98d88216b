package server

import (
	"net"
	"testing"

	wire "github.com/miekg/dns"
)

// benchmarkQueries are those that benchmarks ask.
func benchmarkQueries(t testing.TB) map[string][]byte {
	t.Helper()
	packed := map[string][]byte{}
	for name, m := range map[string]*wire.Msg{
		"hit":    query("web.shop.svc.cluster.local.", wire.TypeA).SetEdns0(1232, false),
		"nodata": query("web.shop.svc.cluster.local.", wire.TypeTXT),
		"miss":   query("www.example.com.shop.svc.cluster.local.", wire.TypeA).SetEdns0(1232, false),
		"srv":    query("_http._tcp.big.shop.svc.cluster.local.", wire.TypeSRV).SetEdns0(1232, false),
		"many":   query("big.shop.svc.cluster.local.", wire.TypeA).SetEdns0(1232, false),
		"ptr":    query("1.0.96.10.in-addr.arpa.", wire.TypePTR),
	} {
		var err error
		if packed[name], err = m.Pack(); err != nil {
			t.Fatal(err)
		}
	}
	return packed
}

// BenchmarkHandle measures a query from packet to packet, without sockets; srv
// and many are about a Service with 50 endpoints. The queries named slow/ take
// the way of unusual ones.
func BenchmarkHandle(b *testing.B) {
	p, err := New(Config{})
	if err != nil {
		b.Fatal(err)
	}
	p.Apply(b.Context(), cluster(b, 50))
	h, buffer := newHot(p, p.tallies[0]), make([]byte, 0, 4096)
	for name, packed := range benchmarkQueries(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := h.answer(packed, buffer, overUDP, nobody); !ok {
					b.Fatal("not usual")
				}
			}
		})
		b.Run("slow/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.handle(packed, p.tallies[0], overUDP, nobody)
			}
		})
	}
}

// TestNoAllocation expects usual queries to be answered without allocating.
func TestNoAllocation(t *testing.T) {
	p, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	p.Apply(t.Context(), cluster(t, 50))
	h, buffer := newHot(p, p.tallies[0]), make([]byte, 0, 4096)
	for name, packed := range benchmarkQueries(t) {
		if n := testing.AllocsPerRun(100, func() {
			if _, ok := h.answer(packed, buffer, overUDP, nobody); !ok {
				t.Fatalf("%s is not usual", name)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// BenchmarkLoopback measures a query over the loopback interface, one at a time
// per client; client and server share the processors.
func BenchmarkLoopback(b *testing.B) {
	_, at := start(b, Config{}, cluster(b, 0))
	packed, err := query("web.shop.svc.cluster.local.", wire.TypeA).Pack()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		conn, err := net.Dial("udp", at.String())
		if err != nil {
			b.Error(err)
			return
		}
		defer conn.Close()
		buffer := make([]byte, 1500)
		for pb.Next() {
			conn.Write(packed)
			if _, err := conn.Read(buffer); err != nil {
				b.Error(err)
			}
		}
	})
}
