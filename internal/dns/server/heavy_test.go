package server

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestHeavy compares counts with exact ones, over keys of very different frequency:
// none is too small, or too large by more than is said, and whatever makes up more
// than one part in 64 is there.
func TestHeavy(t *testing.T) {
	const room, many = 64, 50_000
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 1))
		zipf := rand.NewZipf(random, 1.1, 1, 1<<20)
		h, exact, total := newHeavy(room), map[string]uint64{}, uint64(0)
		for range many {
			key, times := fmt.Sprint("name", zipf.Uint64()), 1+random.Uint64N(32)
			h.add([]byte(key), times)
			exact[key] += times
			total += times
		}
		got := map[string]counted{}
		h.addTo(got)
		if len(got) != room {
			t.Fatalf("%d keys, want %d", len(got), room)
		}
		for key, e := range got {
			if e.count < exact[key] || e.count-e.over > exact[key] {
				t.Errorf("%s came up %d times; counted %d, at most %d too many", key, exact[key], e.count, e.over)
			}
		}
		for key, n := range exact {
			if _, ok := got[key]; !ok && n > total/room {
				t.Errorf("%s with %d of %d is missing", key, n, total)
			}
		}
	}
}

// TestHeavyLongKeys expects keys that are longer than any name to be counted by their beginning.
func TestHeavyLongKeys(t *testing.T) {
	h, got := newHeavy(4), map[string]counted{}
	for _, end := range []string{"a", "b", "c"} {
		h.add([]byte(strings.Repeat("x", maxCounted)+end), 1)
	}
	if h.addTo(got); len(got) != 1 || got[strings.Repeat("x", maxCounted)].count != 3 {
		t.Errorf("%d keys", len(got))
	}
}

// TestHeavyReset expects nothing of before to be left.
func TestHeavyReset(t *testing.T) {
	h := newHeavy(2)
	for _, key := range []string{"a", "b", "b", "c", "c", "c"} {
		h.add([]byte(key), 1)
	}
	h.reset()
	h.add([]byte("c"), 5)
	got := map[string]counted{}
	if h.addTo(got); len(got) != 1 || got["c"].count != 5 || got["c"].over != 0 {
		t.Errorf("%+v", got)
	}
}
