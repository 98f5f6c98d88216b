package bgp

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"testing"

	"github.com/fairlead-net/fairlead/internal/announce"
)

// BenchmarkApply announces one more of 10,000 routes to four routers, and takes it
// back.
func BenchmarkApply(b *testing.B) {
	var peers []announce.Peer
	for n := range 4 {
		f := serve(b, netip.AddrFrom4([4]byte{127, 0, 1, byte(n + 1)}), func(conn net.Conn) {
			handshake(conn)
			_, _ = io.Copy(io.Discard, conn)
		})
		peers = append(peers, f.peer(fmt.Sprintf("router-%d", n)))
	}
	var routes []announce.Route
	for n := range 10000 {
		routes = append(routes, route(fmt.Sprintf("10.1.%d.%d/32", n>>8, n&255), "64500:1"))
	}
	p := plane(b)
	apply(b, p, table(peers, routes[1:]...))
	for n := range peers {
		established(b, p, fmt.Sprintf("router-%d", n))
	}
	for b.Loop() {
		apply(b, p, table(peers, routes...))
		apply(b, p, table(peers, routes[1:]...))
	}
}

// BenchmarkReceived measures what the routes cost that a router sends, none of which
// is taken.
func BenchmarkReceived(b *testing.B) {
	f := serve(b, netip.AddrFrom4([4]byte{127, 0, 1, 1}), func(conn net.Conn) {
		handshake(conn)
		_, _ = conn.Write(crowded()[:49*3650])
		_, _ = io.Copy(io.Discard, conn)
	})
	size := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	p := plane(b)
	before := size()
	for b.Loop() {
		apply(b, p, table([]announce.Peer{f.peer("router")}))
		await(b, "all has come", func() bool { return status(b, p, "router").Counters.UpdatesReceived >= 45 })
	}
	b.ReportMetric(float64(size()-before)/(1<<20), "MB")
}
