package filter

import (
	"slices"
	"testing"
)

// hashesOf are of so many endpoints.
func hashesOf(n int) []uint64 {
	var all []uint64
	for i := range uint64(n) {
		all = append(all, Score(i, 99))
	}
	return all
}

// TestKeys holds that endpoints get their share of keys, that few keys move when one
// comes or goes, and that a key whose endpoint fails gets another one.
func TestKeys(t *testing.T) {
	const keys = 300000
	for name, of := range map[string]struct {
		make func([]uint64) Keys
		// uneven is how far a share may be off, astray how many keys may move whose endpoint
		// stays, both as a part of one.
		uneven, astray float64
	}{"ring": {NewRing, 0.35, 0}, "maglev": {NewMaglev, 0.07, 0.03}} {
		for _, n := range []int{2, 10, 60} {
			hashes := hashesOf(n)
			whole, fewer := of.make(hashes), of.make(slices.Delete(slices.Clone(hashes), n/2, n/2+1))
			count, astray := make([]int, n), 0
			for key := range uint64(keys) {
				at := whole.At(key, -1)
				count[at]++
				if other := whole.At(key, at); other == at || other < 0 || other >= n {
					t.Fatalf("%s of %d: %d instead of %d", name, n, other, at)
				}
				now := fewer.At(key, -1)
				if now >= n/2 {
					now++
				}
				if at != n/2 && now != at {
					astray++
				}
			}
			for i, c := range count {
				if share := float64(c) * float64(n) / keys; share < 1-of.uneven || share > 1+of.uneven {
					t.Errorf("%s of %d: endpoint %d has %.2f of its share", name, n, i, share)
				}
			}
			if float64(astray) > of.astray*keys {
				t.Errorf("%s of %d: %d keys move whose endpoint stays", name, n, astray)
			}
		}
		if one := of.make(hashesOf(1)); one.At(7, -1) != 0 || one.At(7, 0) != 0 || of.make(nil).At(7, -1) != -1 {
			t.Errorf("%s: one endpoint or none", name)
		}
	}
}

// TestRingOrder holds that a key has the same endpoint whatever others are there before
// it in the list: gateways need not agree on their order.
func TestRingOrder(t *testing.T) {
	hashes := hashesOf(9)
	turned := slices.Clone(hashes)
	slices.Reverse(turned)
	a, b := NewRing(hashes), NewRing(turned)
	for key := range uint64(1000) {
		if hashes[a.At(key, -1)] != turned[b.At(key, -1)] {
			t.Fatalf("key %d depends on the order", key)
		}
	}
}

func TestParseAlgorithm(t *testing.T) {
	for a := RoundRobin; a < algorithms; a++ {
		if got, ok := ParseAlgorithm(a.String()); !ok || got != a {
			t.Errorf("%s: %d", a, got)
		}
	}
	if _, ok := ParseAlgorithm(""); ok {
		t.Error("no name is one")
	}
}
