package proxy

import "time"

// pace is how fast a client sends or takes a body: how many bytes have moved, and how
// many nanoseconds have been spent in waiting for it. What an endpoint takes does not
// count, so that a slow one is not held against the client.
type pace struct{ moved, waited int64 }

func (p *pace) add(bytes int, waited int64) {
	p.moved += int64(bytes)
	p.waited += waited
}

// patience is how long to wait for the client now: at most for the timeout, and in all
// for as long again as what has moved may take at the least rate, in bytes a second. A
// rate below 0 is any.
func (p *pace) patience(timeout time.Duration, rate int) time.Duration {
	if rate < 0 {
		return timeout
	}
	earned := time.Duration(float64(p.moved) / float64(rate) * float64(time.Second))
	return max(min(timeout, timeout+earned-time.Duration(p.waited)), 0)
}
