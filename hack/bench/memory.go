package main

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/dns"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// memory measures what Services take on the heap, and how few flows move when a
// backend leaves.
func memory(o options, _ *world, r *report) error {
	n := o.size(50_000, 1000)
	before := liveHeap()
	held := changed(desired.Objects{Synced: true}, cluster(n))
	state, _ := desired.Build(held, desired.Node{Name: "node"}, nil)
	table, _ := lb.Compile(state, lb.Table{}, lb.Options{})
	zone, _ := dns.Compile(state, dns.Table{}, dns.Config{})
	perService := float64(liveHeap()-before) / float64(n)
	runtime.KeepAlive([]any{held, state, table, zone})
	r.figure("services-heap", series{perService}, "bytes", fmt.Sprintf("live heap a Service of 2 endpoints, among %d: objects, State, tables of all features", n))
	return flowsMoved(r)
}

func liveHeap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// flowsMoved compares the tables before and after each of N backends leaves.
func flowsMoved(r *report) error {
	const backends = 10
	var all []netip.AddrPort
	for i := range 200 {
		all = append(all, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 129, byte(i >> 8), byte(i)}), 8080))
	}
	var moved series
	for gone := range backends {
		moved = append(moved, 100*share(all[:backends], gone))
	}
	r.figure("flows-moved", moved, "%", fmt.Sprintf("of all flows, when one of %d backends leaves; the ideal is %d %%", backends, 100/backends))
	worst, at := 0.0, 0
	for n := 2; n <= len(all); n++ {
		if times := share(all[:n], n/2) * float64(n); times > worst {
			worst, at = times, n
		}
	}
	r.figure("flows-moved-worst", series{worst}, "times", fmt.Sprintf("the ideal: the worst of 2 to %d backends, which is %d", len(all), at))
	return nil
}

// share returns which part of all flows gets another backend when one leaves.
func share(backends []netip.AddrPort, gone int) float64 {
	const flows = 100_000
	left := append(append([]netip.AddrPort{}, backends[:gone]...), backends[gone+1:]...)
	before, after := lb.Maglev(backends), lb.Maglev(left)
	rng := rand.New(rand.NewPCG(1, 2))
	moved := 0
	for range flows {
		hash := rng.Uint64()
		if backends[before[hash%uint64(len(before))]] != left[after[hash%uint64(len(after))]] {
			moved++
		}
	}
	return float64(moved) / flows
}
