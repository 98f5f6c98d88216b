package ipam

import (
	"encoding/binary"
	"math"
	"math/bits"
	"net/netip"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// family is an index into what there is one of for each IP family.
type family int

const (
	v4 family = iota
	v6
)

func familyOf(a netip.Addr) family {
	if a.Is4() {
		return v4
	}
	return v6
}

func (f family) String() string {
	if f == v4 {
		return "IPv4"
	}
	return "IPv6"
}

func (f family) other() family { return 1 - f }

// families are both, in the order in which addresses are listed.
func families() [2]family { return [2]family{v4, v6} }

// number counts addresses. All of IPv6 but one fit.
type number struct{ high, low uint64 }

func (n number) add(m number) number {
	low, carry := bits.Add64(n.low, m.low, 0)
	high, _ := bits.Add64(n.high, m.high, carry)
	return number{high, low}
}

func (n number) sub(m number) number {
	low, borrow := bits.Sub64(n.low, m.low, 0)
	high, _ := bits.Sub64(n.high, m.high, borrow)
	return number{high, low}
}

// clamped returns n, or the largest int64.
func (n number) clamped() int64 {
	if n.high > 0 || n.low > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(n.low)
}

// size returns how many addresses are in a range, without those that end in .0
// and .255 if they are to be avoided.
func size(r desired.Range, avoid bool) number {
	first, last := position(r.First), position(r.Last)
	total := last.sub(first).add(number{low: 1})
	if !avoid || !r.First.Is4() {
		return total
	}
	a, b := first.low, last.low
	zeros := b/256 + 1 - (a+255)/256
	ends := (b+1)/256 - a/256
	return total.sub(number{low: zeros + ends})
}

// position returns an address as a number among those of its family.
func position(a netip.Addr) number {
	if a.Is4() {
		four := a.As4()
		return number{low: uint64(binary.BigEndian.Uint32(four[:]))}
	}
	sixteen := a.As16()
	return number{binary.BigEndian.Uint64(sixteen[:8]), binary.BigEndian.Uint64(sixteen[8:])}
}

// cursor goes through the addresses of ranges, from the lowest on. As addresses
// are only ever taken while it is used, it never goes back: all that was taken is
// passed once.
type cursor struct {
	ranges []desired.Range
	next   netip.Addr // in the first of ranges; invalid before its beginning
}

// free returns the lowest address that is not taken, and whether there is one.
func (c *cursor) free(taken func(netip.Addr) bool) (netip.Addr, bool) {
	for len(c.ranges) > 0 {
		if !c.next.IsValid() {
			c.next = c.ranges[0].First
		}
		for taken(c.next) {
			if c.next == c.ranges[0].Last {
				c.next = netip.Addr{}
				break
			}
			c.next = c.next.Next()
		}
		if c.next.IsValid() {
			return c.next, true
		}
		c.ranges = c.ranges[1:]
	}
	return netip.Addr{}, false
}
