package ipam

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// pools are all there are, with the addresses that are each one's own. They are
// never changed.
type pools struct {
	// all are in the order in which they are tried.
	all []*pool
	// spans are sorted and do not overlap.
	spans   []span
	reasons []desired.Reason
}

// pool is a pool without the addresses that belong to another.
type pool struct {
	*desired.Pool
	index  int // in pools.all
	ranges [2][]desired.Range
	// size counts the addresses that can be given without being asked for.
	size [2]number
}

// span is a range and the pool that it belongs to.
type span struct {
	desired.Range
	pool *pool
}

func newPools(of pmap.Map[desired.Name, *desired.Pool]) *pools {
	p := &pools{}
	for _, one := range of.All() {
		p.all = append(p.all, &pool{Pool: one})
	}
	slices.SortFunc(p.all, func(a, b *pool) int { return a.Name.Compare(b.Name) })
	for _, one := range p.all {
		p.add(one)
	}
	slices.SortStableFunc(p.all, preference)
	for i, one := range p.all {
		one.index = i
	}
	return p
}

// preference orders pools that a Service may have addresses from, those of equal
// rank by name.
func preference(a, b *pool) int {
	return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(a.openness(), b.openness()))
}

func (p *pool) rank() int {
	if p.Priority == 0 {
		return math.MaxInt
	}
	return p.Priority
}

// openness is 1 for pools that are for all Services, else 0.
func (p *pool) openness() int {
	if len(p.Namespaces)+len(p.NamespaceSelectors)+len(p.ServiceSelectors) == 0 {
		return 1
	}
	return 0
}

// add gives a pool the addresses that no pool before it has.
func (p *pools) add(one *pool) {
	overlaps := map[*pool][]desired.Range{}
	var before []*pool
	for _, r := range one.Ranges {
		for _, own := range p.cut(r, func(s span) {
			if overlaps[s.pool] == nil {
				before = append(before, s.pool)
			}
			overlaps[s.pool] = append(overlaps[s.pool], s.Range)
		}) {
			f := familyOf(own.First)
			one.ranges[f] = append(one.ranges[f], own)
			one.size[f] = one.size[f].add(size(own, one.AvoidBuggyIPs))
			at, _ := slices.BinarySearchFunc(p.spans, own.First, func(s span, a netip.Addr) int { return s.First.Compare(a) })
			p.spans = slices.Insert(p.spans, at, span{own, one})
		}
	}
	for _, other := range before {
		p.reasons = append(p.reasons, overlap(one, other, overlaps[other]))
	}
}

// cut returns the parts of a range that belong to no pool yet, and tells of those
// that do.
func (p *pools) cut(r desired.Range, taken func(span)) []desired.Range {
	var parts []desired.Range
	at, _ := slices.BinarySearchFunc(p.spans, r.First, func(s span, a netip.Addr) int { return s.Last.Compare(a) })
	for ; at < len(p.spans) && p.spans[at].First.Compare(r.Last) <= 0; at++ {
		s := p.spans[at]
		common := s
		if s.First.Compare(r.First) <= 0 {
			common.First = r.First
		} else {
			parts = append(parts, desired.Range{First: r.First, Last: s.First.Prev()})
		}
		if s.Last.Compare(r.Last) >= 0 {
			common.Last = r.Last
			taken(common)
			return parts
		}
		taken(common)
		r.First = s.Last.Next()
	}
	return append(parts, r)
}

// overlap says that a pool shares addresses with one before it.
func overlap(later, first *pool, ranges []desired.Range) desired.Reason {
	which := ranges[0].String()
	if len(ranges) > 1 {
		which += fmt.Sprintf(" (and %d more ranges)", len(ranges)-1)
	}
	return desired.Reason{
		Object: desired.Ref{Kind: "IPAddressPool", Namespace: later.Name.Namespace, Name: later.Name.Name},
		Code:   "PoolOverlap",
		Message: fmt.Sprintf("pool %s has %s in common with pool %s, which sorts first by name and therefore gives these addresses; remove them from one of the two",
			later.Name, which, first.Name),
	}
}

// owner returns the pool that an address belongs to, or nil.
func (p *pools) owner(a netip.Addr) *pool {
	at, found := slices.BinarySearchFunc(p.spans, a, func(s span, a netip.Addr) int { return s.First.Compare(a) })
	if !found {
		at--
	}
	if at < 0 || !p.spans[at].Contains(a) {
		return nil
	}
	return p.spans[at].pool
}

// stock is what is left of a pool.
type stock struct {
	used     [2]int64 // of the addresses that are counted in size
	assigned [2]int64 // of all
	cursors  [2]cursor
}

func (p *pool) stock() stock {
	return stock{cursors: [2]cursor{{ranges: p.ranges[v4]}, {ranges: p.ranges[v6]}}}
}
