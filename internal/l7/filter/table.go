package filter

import (
	"cmp"
	"math/bits"
	"slices"
)

// Keys says which endpoint a key belongs to, by its number among those that it was made
// of.
type Keys interface {
	// At returns the endpoint of a key, and with skip another one instead
	// of that, if there is one; -1 if there are none.
	At(key uint64, skip int) int
}

const (
	// ringPoints is how many points an endpoint has on a ring: shares differ by about one
	// in the root of that. maxRing bounds all points; leastPoints stays an endpoint's.
	ringPoints, leastPoints, maxRing = 160, 8, 1 << 14
)

// ring is sorted by position.
type ring []ringPoint

type ringPoint struct {
	at uint64
	of int
}

// NewRing returns a ring with so many points for each endpoint as are there for its hash
// alone: when one comes or goes, only keys move that are or were its own (Karger et al.,
// "Consistent hashing and random trees", 1997).
func NewRing(endpoints []uint64) Keys {
	each := max(min(ringPoints, maxRing/max(len(endpoints), 1)), leastPoints)
	r := make(ring, 0, each*len(endpoints))
	for i, e := range endpoints {
		for p := range uint64(each) {
			r = append(r, ringPoint{Score(p, e), i})
		}
	}
	slices.SortFunc(r, func(a, b ringPoint) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.of, b.of)) })
	return r
}

// At returns the endpoint of the first point at or after the key.
func (r ring) At(key uint64, skip int) int {
	if len(r) == 0 {
		return -1
	}
	at, _ := slices.BinarySearchFunc(r, mix(key), func(p ringPoint, key uint64) int { return cmp.Compare(p.at, key) })
	for i := range r {
		if p := r[(at+i)%len(r)]; p.of != skip {
			return p.of
		}
	}
	return skip
}

// maglev has the endpoint of each slot.
type maglev []uint16

// maglevSizes are primes. A table has at least 100 slots for each endpoint, up to 1,310
// of them, so that none gets more than about 1 % above its share.
var maglevSizes = [...]int{509, 4093, 32749, 131071}

// NewMaglev returns a table in which each endpoint takes slots in an order that is there
// for its hash, in turn (Eisenbud et al., "Maglev: A Fast and Reliable Software Network
// Load Balancer", NSDI 2016, section 3.4). Shares are more even than those of a ring; when
// an endpoint comes or goes, a few keys of others move too. More than 65,536 endpoints
// are not told apart.
func NewMaglev(endpoints []uint64) Keys {
	endpoints = endpoints[:min(len(endpoints), 1<<16)]
	if len(endpoints) == 0 {
		return maglev(nil)
	}
	size := maglevSizes[len(maglevSizes)-1]
	for _, s := range maglevSizes {
		if s >= 100*len(endpoints) {
			size = s
			break
		}
	}
	n := uint64(size)
	next, skip := make([]uint64, len(endpoints)), make([]uint64, len(endpoints))
	for i, e := range endpoints {
		next[i], skip[i] = Score(1, e)%n, Score(2, e)%(n-1)+1
	}
	table, taken := make(maglev, size), make([]bool, size)
	for filled := 0; ; {
		for i := range endpoints {
			for taken[next[i]] {
				next[i] = (next[i] + skip[i]) % n
			}
			taken[next[i]] = true
			table[next[i]] = uint16(i)
			if filled++; filled == size {
				return table
			}
		}
	}
}

// At returns the endpoint of the key's slot.
func (m maglev) At(key uint64, skip int) int {
	if len(m) == 0 {
		return -1
	}
	at, _ := bits.Mul64(mix(key), uint64(len(m)))
	for i := range uint64(len(m)) {
		if e := int(m[(at+i)%uint64(len(m))]); e != skip {
			return e
		}
	}
	return skip
}

// mix spreads a key over all numbers.
func mix(key uint64) uint64 { return Score(key, 0) }
