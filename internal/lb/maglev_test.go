package lb

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"testing"
)

func someBackends(n int) []netip.AddrPort {
	var backends []netip.AddrPort
	address := netip.MustParseAddr("10.244.1.1")
	for range n {
		backends = append(backends, netip.AddrPortFrom(address, 8080))
		address = address.Next()
	}
	return backends
}

func TestMaglevShares(t *testing.T) {
	for _, n := range []int{2, 3, 10, 100, 1000} {
		slots := Maglev(someBackends(n))
		if len(slots) != MaglevSlots(n) {
			t.Fatalf("%d backends have %d slots, want %d", n, len(slots), MaglevSlots(n))
		}
		counts := make([]int, n)
		for _, backend := range slots {
			counts[backend]++
		}
		if low, high := slices.Min(counts), slices.Max(counts); high-low > 1+len(slots)/n/50 {
			t.Errorf("%d backends have from %d to %d of %d slots; no backend may have more than 2 %% above its share", n, low, high, len(slots))
		}
	}
}

func TestMaglevFewAndMany(t *testing.T) {
	if slots := Maglev(nil); len(slots) != 0 {
		t.Errorf("without backends there are %d slots, want none", len(slots))
	}
	if slots := Maglev(someBackends(1)); !slices.Equal(slots, []uint16{0}) {
		t.Errorf("one backend has slots %v, want one", slots)
	}
	if slots := Maglev(someBackends(70_000)); len(slots) != 131071 {
		t.Errorf("70,000 backends have %d slots, want the most there are", len(slots))
	}
}

// Whichever backend leaves, the others keep nearly all the slots they had.
func TestMaglevMoves(t *testing.T) {
	all := someBackends(10)
	before := Maglev(all)
	for gone := range all {
		after := Maglev(slices.Delete(slices.Clone(all), gone, gone+1))
		if len(after) != len(before) {
			t.Fatalf("the table has %d slots after one backend left, %d before", len(after), len(before))
		}
		moved := 0
		for slot, backend := range before {
			now := after[slot]
			if int(now) >= gone {
				now++
			}
			if now != backend {
				moved++
			}
		}
		if share := float64(moved) / float64(len(before)); share > 0.15 {
			t.Errorf("%.0f %% of the slots moved when backend %d of 10 left, want hardly more than 10 %%", share*100, gone)
		}
	}
}

// Nodes of different versions must agree, so the tables may never change.
func TestMaglevIsFixed(t *testing.T) {
	hash := fnv.New64a()
	for _, backends := range [][]netip.AddrPort{someBackends(3), someBackends(100), {netip.MustParseAddrPort("[fd00::1]:80"), netip.MustParseAddrPort("[fd00::2]:80")}} {
		fmt.Fprintln(hash, Maglev(backends))
	}
	if got, want := fmt.Sprintf("%016x", hash.Sum64()), "5c63193f04efbd15"; got != want {
		t.Errorf("the tables have fingerprint %s, want %s", got, want)
	}
}

func BenchmarkMaglev(b *testing.B) {
	for _, n := range []int{2, 10, 100, 1000} {
		backends := someBackends(n)
		b.Run(fmt.Sprintf("backends=%d", n), func(b *testing.B) {
			for b.Loop() {
				Maglev(backends)
			}
		})
	}
}
