package proxy

import (
	"context"
	"sync"
	"time"
)

// clock ends what takes too long. Setting a timer for every wait of every
// connection costs more than to look at all of them now and then, so a deadline is
// a number that is compared every tick: it is met at most that much too late.
type clock struct {
	epoch time.Time
	tick  time.Duration
	mu    sync.Mutex
	all   map[*socket]struct{}
}

func newClock(tick time.Duration) *clock {
	return &clock{epoch: time.Now(), tick: tick, all: map[*socket]struct{}{}}
}

// now is the time in nanoseconds; it is never 0.
func (c *clock) now() int64 { return int64(time.Since(c.epoch)) + 1 }

// after is the time in nanoseconds, so much later than another.
func after(now int64, d time.Duration) int64 { return now + int64(d) }

func (c *clock) add(s *socket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all[s] = struct{}{}
}

func (c *clock) remove(s *socket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.all, s)
}

// run looks at the deadlines every tick, and then calls also.
func (c *clock) run(ctx context.Context, also func(now int64)) {
	ticker := time.NewTicker(c.tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			now := c.now()
			c.poke(now)
			also(now)
		}
	}
}

// poke wakes those whose time is up: what they wait for fails.
func (c *clock) poke(now int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for s := range c.all {
		if at := s.deadline.Load(); at != 0 && at <= now {
			_ = s.TCPConn.SetDeadline(time.Unix(1, 0)) // fails if it is closed, which is as well
		}
	}
}

// closeAll closes every connection.
func (c *clock) closeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for s := range c.all {
		s.TCPConn.Close()
	}
}
