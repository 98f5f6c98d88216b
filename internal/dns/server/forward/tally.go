package forward

import (
	"math/rand/v2"
	"sync/atomic"
)

const stripes = 16

// tally is a counter that many processors can add to without waiting for each
// other's cache lines.
type tally [stripes]struct {
	n atomic.Uint64
	_ [56]byte
}

func (t *tally) add() { t[rand.Uint32()%stripes].n.Add(1) }

func (t *tally) sum() (total uint64) {
	for i := range t {
		total += t[i].n.Load()
	}
	return total
}
