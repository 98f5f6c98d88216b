package server

import (
	"net"
	"testing"

	wire "github.com/miekg/dns"
)

// BenchmarkHandle measures a query from packet to packet, without sockets.
func BenchmarkHandle(b *testing.B) {
	p, err := New(Config{})
	if err != nil {
		b.Fatal(err)
	}
	p.Apply(b.Context(), cluster(b, 0))
	for name, m := range map[string]*wire.Msg{
		"hit":  query("web.shop.svc.cluster.local.", wire.TypeA).SetEdns0(1232, false),
		"miss": query("www.example.com.shop.svc.cluster.local.", wire.TypeA).SetEdns0(1232, false),
	} {
		packed, err := m.Pack()
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.handle(packed, p.tallies[0], overUDP, ipv4)
			}
		})
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
