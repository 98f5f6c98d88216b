package dns

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
)

// FuzzDashed compares the readers of addresses in names with the standard
// library's.
func FuzzDashed(f *testing.F) {
	for _, label := range []string{"1-2-3-4", "fd00--1", "--", "--1", "1--", "1-2-3-4-5-6-7-8", "--ffff-102-304", "1-2-3-4-5-6-7--8", "01-2-3-4", "256-1-1-1", "-1-2-3", "1-2-3-", "12345--", "1--2--3", "---", "-", ""} {
		f.Add(label)
	}
	f.Fuzz(func(t *testing.T, label string) {
		if strings.ContainsAny(label, ".:%") || label != strings.ToLower(label) {
			return
		}
		separator := ":"
		if strings.Count(label, "-") == 3 && !strings.Contains(label, "--") {
			separator = "."
		}
		want, err := netip.ParseAddr(strings.ReplaceAll(label, "-", separator))
		got, ok := parseDashed(label)
		if ok != (err == nil) || ok && got != want.Unmap() {
			t.Fatalf("%q: got %v %t, want %v %v", label, got, ok, want, err)
		}
	})
}

// TestDashedReturns expects every address back from its label.
func TestDashedReturns(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		var bytes [16]byte
		for i := range bytes {
			if rng.IntN(2) == 0 {
				bytes[i] = byte(rng.Uint32())
			}
		}
		for _, address := range []netip.Addr{netip.AddrFrom16(bytes), netip.AddrFrom4([4]byte(bytes[:4]))} {
			if got, ok := undashed(dashed(address)); !ok || got != address.Unmap() {
				t.Fatalf("%s became %v", address, got)
			}
		}
	}
}
