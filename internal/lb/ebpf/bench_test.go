package ebpf

import (
	"context"
	"fmt"
	"net/netip"
	"testing"

	"github.com/fairlead-net/fairlead/internal/lb"
)

// BenchmarkApplyChange applies a Table that differs in one Entry.
func BenchmarkApplyChange(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 50_000} {
		b.Run(fmt.Sprintf("frontends=%d", n), func(b *testing.B) {
			w := newWorld(b)
			p := w.plane()
			want := many(n)
			w.apply(p, want)
			tables := make([]lb.Table, 1000)
			for i := range tables {
				tables[i] = lb.Table{Synced: true, Entries: want.Entries.Set(numbered(i*7%n), numberedEntry(i*7%n, i+1))}
			}
			w.apply(p, tables[0])
			for i := 0; b.Loop(); i++ {
				// The neighbours differ in two Entries: one changes, one changes back.
				if err := p.Apply(context.Background(), tables[(i+1)%len(tables)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkLoad writes 50,000 frontends with two backends each into empty maps.
func BenchmarkLoad(b *testing.B) {
	w := newWorld(b)
	p := w.plane()
	want := many(50_000)
	for b.Loop() {
		if err := p.Apply(context.Background(), want); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		w.apply(p, table(nil))
		b.StartTimer()
	}
}

// BenchmarkAdopt starts on maps of 50,000 frontends that are up to date.
func BenchmarkAdopt(b *testing.B) {
	w := newWorld(b)
	p := w.plane()
	want := many(50_000)
	w.apply(p, want)
	for b.Loop() {
		p.Close()
		p = w.plane()
		w.apply(p, want)
	}
}

// BenchmarkDecide times the decision alone, among 50,000 frontends.
func BenchmarkDecide(b *testing.B) {
	w := newWorld(b)
	p := w.plane()
	w.apply(p, many(50_000))
	o := newOracle(b, p)
	for name, f := range map[string]lb.Frontend{"no Service": frontend("10.96.0.1:1", 6), "Service": numbered(4711)} {
		b.Run(name, func(b *testing.B) {
			took := o.time(f, b.N)
			b.ReportMetric(float64(took.Nanoseconds()), "ns/op")
		})
	}
}

// BenchmarkConnect connects a UDP socket, where connect is nothing but the
// system call, in a cgroup without and with the programs.
func BenchmarkConnect(b *testing.B) {
	w := newWorld(b)
	bare := w.startClient(mustFindCgroup(b))
	entries := many(50_000).Entries.Edit()
	service := frontend("10.96.0.1:80", 17)
	entries.Set(service, &lb.Entry{Backends: addrPorts("127.0.1.1:80", "127.0.1.2:80")})
	w.apply(w.plane(), lb.Table{Synced: true, Entries: entries.Map()})
	for _, c := range []struct {
		name   string
		client *runner
		to     string
	}{
		{"no program", bare, "127.0.1.1:80"},
		{"no Service", w.client, "127.0.1.1:80"},
		{"Service", w.client, "10.96.0.1:80"},
	} {
		b.Run(c.name, func(b *testing.B) {
			a, err := c.client.do(request{Do: "bench", UDP: true, To: netip.MustParseAddrPort(c.to), Count: b.N})
			if err != nil || a.Errno != 0 {
				b.Fatalf("%+v, %v", a, err)
			}
			b.ReportMetric(float64(a.Took.Nanoseconds())/float64(b.N), "ns/op")
		})
	}
}

func mustFindCgroup(t testing.TB) string {
	t.Helper()
	root, err := FindCgroup("/")
	if err != nil {
		t.Fatal(err)
	}
	return root
}
