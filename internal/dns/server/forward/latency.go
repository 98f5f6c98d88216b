package forward

import (
	"sync/atomic"
	"time"
)

// latency estimates what a server's replies usually take, as TCP does for its
// peers (RFC 6298, section 2). The zero value knows nothing yet. Observations at
// the same time may overwrite each other, which an estimate bears.
type latency struct{ mean, deviation atomic.Int64 }

func (l *latency) observe(took time.Duration) {
	r := int64(took)
	mean, deviation := l.mean.Load(), l.deviation.Load()
	if mean == 0 {
		l.mean.Store(max(r, 1))
		l.deviation.Store(r / 2)
		return
	}
	difference := mean - r
	l.deviation.Store(deviation + (max(difference, -difference)-deviation)/4)
	l.mean.Store(max(mean-difference/8, 1))
}

// patience returns after which time a reply is late, within bounds.
func (l *latency) patience(least, most time.Duration) time.Duration {
	mean := l.mean.Load()
	if mean == 0 {
		return most
	}
	return min(max(time.Duration(mean+4*l.deviation.Load()), least), most)
}
