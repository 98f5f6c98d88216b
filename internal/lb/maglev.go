package lb

import (
	"encoding/binary"
	"net/netip"

	"github.com/cespare/xxhash/v2"
)

// maglevSizes are primes. A table has at least 100 slots for each backend, so
// that no backend gets more than about 1 % above its share. They are few, as
// most flows move where the size changes: when a Service grows beyond 5, 40 or
// 327 backends, or shrinks again.
var maglevSizes = [...]int{509, 4093, 32749, 131071}

// MaglevSlots returns the number of slots of the table for so many backends: 0
// for none, 1 for one, else a prime. From 1,311 backends on it stays the same,
// and shares become less even.
func MaglevSlots(backends int) int {
	if backends < 2 {
		return backends
	}
	for _, size := range maglevSizes {
		if size >= 100*backends {
			return size
		}
	}
	return maglevSizes[len(maglevSizes)-1]
}

// Maglev returns, for each slot of a lookup table, the index of its backend. A
// flow belongs to the slot that a hash of its addresses and ports gives, modulo
// the number of slots. The table depends on the set of backends alone, so every
// node that is asked about a flow names the same backend, and when one of N
// backends leaves, hardly more than the flows that it had move.
//
// At most 65,536 backends are told apart; they must be distinct and sorted.
//
// Source: Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load
// Balancer", NSDI 2016, section 3.4.
func Maglev(backends []netip.AddrPort) []uint16 {
	backends = backends[:min(len(backends), 1<<16)]
	slots := make([]uint16, MaglevSlots(len(backends)))
	if len(backends) < 2 {
		return slots
	}
	size := uint64(len(slots))
	// Each backend prefers the slots in an order of its own: next, next+skip, …
	next, skip := make([]uint64, len(backends)), make([]uint64, len(backends))
	for i, b := range backends {
		offset, step := maglevHashes(b)
		next[i], skip[i] = offset%size, step%(size-1)+1
	}
	taken := make([]bool, size)
	for filled := 0; ; {
		for i := range backends {
			for taken[next[i]] {
				next[i] = (next[i] + skip[i]) % size
			}
			taken[next[i]] = true
			slots[next[i]] = uint16(i)
			if filled++; filled == len(slots) {
				return slots
			}
		}
	}
}

// maglevHashes are the two independent hashes that the paper asks for. They must
// never change: nodes of different versions have to agree.
func maglevHashes(b netip.AddrPort) (uint64, uint64) {
	var key [19]byte
	address := b.Addr().As16()
	copy(key[1:], address[:])
	binary.BigEndian.PutUint16(key[17:], b.Port())
	offset := xxhash.Sum64(key[:])
	key[0] = 1
	return offset, xxhash.Sum64(key[:])
}
