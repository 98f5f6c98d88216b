package forward

import (
	"fmt"
	"testing"
	"time"

	wire "github.com/miekg/dns"
)

// cachedNames returns a Forwarder with 1000 names in its cache, and these in
// wire form.
func cachedNames(t testing.TB) (*Forwarder, [][]byte) {
	f := forwarder(t, Config{Cache: Cache{Success: Share{MaxTTL: time.Hour}}})
	var names [][]byte
	for i := range 1000 {
		q := a(fmt.Sprintf("name%d.example.com.", i))
		key, err := q.key()
		if err != nil {
			t.Fatal(err)
		}
		f.cache.put(key, q.Name, message(t, q, 0, q.Name+" 3000 A 192.0.2.1", q.Name+" 3000 A 192.0.2.2"), 0)
		names = append(names, key[:len(key)-keyTail])
	}
	return f, names
}

// TestCachedWireAllocates nothing, whether there is a reply or not.
func TestCachedWireAllocates(t *testing.T) {
	f, names := cachedNames(t)
	message := make([]byte, 0, 512)
	now := time.Now()
	for qtype, want := range map[uint16]bool{wire.TypeA: true, wire.TypeAAAA: false} {
		if n := testing.AllocsPerRun(100, func() {
			p, ok := f.CachedWire(names[7], qtype, wire.ClassINET, false, false, 512, now)
			if ok != want {
				t.Fatal("found:", ok)
			}
			if ok {
				message = p.AppendTo(message[:0], 1)
			}
		}); n != 0 {
			t.Errorf("%v allocations for type %d", n, qtype)
		}
	}
	if _, ok := f.CachedWire(make([]byte, 300), wire.TypeA, wire.ClassINET, false, false, 512, now); ok {
		t.Error("a name of 300 bytes is found")
	}
	for room, want := range map[int]bool{31: false, 32: true} { // two records of 16 bytes
		if _, ok := f.CachedWire(names[7], wire.TypeA, wire.ClassINET, false, false, room, now); ok != want {
			t.Errorf("found in %d bytes: %t", room, ok)
		}
	}
}

func BenchmarkCachedWire(b *testing.B) {
	f, names := cachedNames(b)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		message := make([]byte, 0, 512)
		now := time.Now()
		for i := 0; pb.Next(); i++ {
			p, ok := f.CachedWire(names[i%len(names)], wire.TypeA, wire.ClassINET, false, false, 512, now)
			if !ok {
				b.Fatal("not found")
			}
			message = p.AppendTo(message[:0], uint32(i))
		}
	})
}

func BenchmarkCachedMissing(b *testing.B) {
	f, names := cachedNames(b)
	b.ReportAllocs()
	now := time.Now()
	for i := range b.N {
		if _, ok := f.CachedWire(names[i%len(names)], wire.TypeAAAA, wire.ClassINET, false, false, 512, now); ok {
			b.Fatal("found")
		}
	}
}

func BenchmarkCachedMessage(b *testing.B) {
	f, _ := cachedNames(b)
	b.ReportAllocs()
	for range b.N {
		if _, ok := f.Cached(a("name7.example.com.")); !ok {
			b.Fatal("not found")
		}
	}
}

func BenchmarkPut(b *testing.B) {
	f, _ := cachedNames(b)
	b.ReportAllocs()
	q := a("name7.example.com.")
	key, _ := q.key()
	m := message(b, q, 0, q.Name+" 3000 A 192.0.2.1")
	for i := range b.N {
		key[1] = byte(i)
		f.cache.put(key, q.Name, m, int64(i))
	}
}
