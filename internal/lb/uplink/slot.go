package uplink

import (
	"encoding/binary"
	"math/bits"
	"net/netip"

	"github.com/fairlead-net/fairlead/internal/lb"
)

// seed is that of the programs.
const seed = 0x9e3779b9

// Slot returns the slot of a flow in a table of so many, as the programs of
// every node compute it: MurmurHash3 (32 bits) over the words of client address,
// frontend address, both ports and the protocol, modulo the number of slots.
func Slot(client netip.AddrPort, frontend lb.Frontend, slots int) int {
	hash := uint32(seed)
	mix := func(word uint32) {
		word = bits.RotateLeft32(word*0xcc9e2d51, 15) * 0x1b873593
		hash = bits.RotateLeft32(hash^word, 13)*5 + 0xe6546b64
	}
	for _, address := range []netip.Addr{client.Addr(), frontend.Address} {
		b := address.As16()
		for i := range 4 {
			mix(binary.BigEndian.Uint32(b[4*i:]))
		}
	}
	mix(uint32(client.Port())<<16 | uint32(frontend.Port))
	mix(uint32(frontend.Protocol))
	hash ^= 40
	hash = (hash ^ hash>>16) * 0x85ebca6b
	hash = (hash ^ hash>>13) * 0xc2b2ae35
	hash ^= hash >> 16
	return int(hash % uint32(slots))
}
