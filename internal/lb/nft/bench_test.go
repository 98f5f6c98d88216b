package nft

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

func numbered(i int) lb.Frontend {
	return lb.Frontend{Address: netip.AddrFrom4([4]byte{10, 96 + byte(i>>16), byte(i >> 8), byte(i)}), Port: 80, Protocol: desired.TCP}
}

// numberedEntry has two backends of its own; the second one depends on version.
func numberedEntry(i, version int) *lb.Entry {
	backend := func(network byte, i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{network, byte(i >> 16), byte(i >> 8), byte(i)}), 8080)
	}
	return &lb.Entry{Kind: lb.ClusterIP, Choice: lb.Choice{Backends: []netip.AddrPort{backend(10, i), backend(11, i+version)}}}
}

func many(n int) lb.Table {
	entries := pmap.Map[lb.Frontend, *lb.Entry]{}.Edit()
	ips := pmap.Map[netip.Addr, int]{}.Edit()
	for i := range n {
		entries.Set(numbered(i), numberedEntry(i, 0))
		ips.Set(numbered(i).Address, 1)
	}
	t := table(nil)
	t.Entries, t.ClusterIPs = entries.Map(), ips.Map()
	return t
}

// BenchmarkLoad writes Services with two endpoints each where nothing is.
func BenchmarkLoad(b *testing.B) {
	for _, n := range []int{10_000, 50_000} {
		b.Run(fmt.Sprintf("services=%d", n), func(b *testing.B) {
			want := many(n)
			for b.Loop() {
				b.StopTimer()
				w := newWorld(b, 0)
				p := w.plane()
				b.StartTimer()
				if err := p.Apply(b.Context(), want); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				p.Close()
				b.StartTimer()
			}
		})
	}
}

// BenchmarkAdopt starts a process where the same Services are written already.
func BenchmarkAdopt(b *testing.B) {
	w := newWorld(b, 0)
	want := many(50_000)
	p := w.plane()
	w.apply(p, want)
	for b.Loop() {
		p.Close()
		p = w.plane()
		w.apply(p, want)
	}
}

// BenchmarkChange replaces one endpoint, removes a Service or gives it back, or
// gives one a number of endpoints that no other has, which takes a new chain.
func BenchmarkChange(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 50_000} {
		want := many(n)
		with := func(i int, e *lb.Entry) lb.Table {
			t := want
			t.Entries = want.Entries.Set(numbered(i), e)
			return t
		}
		for name, change := range map[string]func(i int) lb.Table{
			"endpoint": func(i int) lb.Table { return with(7*i, numberedEntry(7*i, i+1)) },
			"service": func(i int) lb.Table {
				t := want
				f := numbered(7 * i)
				t.Entries, t.ClusterIPs = want.Entries.Delete(f), want.ClusterIPs.Delete(f.Address)
				return t
			},
			"chain": func(i int) lb.Table {
				e := numberedEntry(i, 0)
				for j := range 3 + i {
					e.Backends = append(e.Backends, netip.AddrPortFrom(netip.AddrFrom4([4]byte{12, 0, 0, byte(j)}), 8080))
				}
				return with(i, e)
			},
		} {
			b.Run(fmt.Sprintf("%s/services=%d", name, n), func(b *testing.B) {
				w := newWorld(b, 0)
				p := w.plane()
				w.apply(p, want)
				var tables []lb.Table
				for i := range 100 {
					tables = append(tables, change(i), want)
				}
				for i := 0; b.Loop(); i++ {
					if err := p.Apply(b.Context(), tables[i%len(tables)]); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
