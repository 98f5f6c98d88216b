package proxy

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// clock ends what takes too long. Setting a timer for every wait of every
// connection costs more than to look at all of them now and then, so a deadline is
// a number that is compared every tick: it is met at most that much too late.
type clock struct {
	epoch time.Time
	// tick is how long it is from one look to the next, changed tells run of another one.
	tick    atomic.Int64
	changed chan struct{}
	mu      sync.Mutex
	all     map[*socket]struct{}
	// closed is set once no connection may be there any more.
	closed bool
}

func newClock(tick time.Duration) *clock {
	c := &clock{epoch: time.Now(), changed: make(chan struct{}, 1), all: map[*socket]struct{}{}}
	c.tick.Store(int64(tick))
	return c
}

// setTick makes the next looks come so long after each other.
func (c *clock) setTick(tick time.Duration) {
	if c.tick.Swap(int64(tick)) == int64(tick) {
		return
	}
	select {
	case c.changed <- struct{}{}:
	default: // it has not been seen yet that there was another one before
	}
}

// now is the time in nanoseconds; it is never 0.
func (c *clock) now() int64 { return int64(time.Since(c.epoch)) + 1 }

// at is what a time is on the wall.
func (c *clock) at(now int64) time.Time { return c.epoch.Add(time.Duration(now - 1)) }

// after is the time in nanoseconds, so much later than another.
func after(now int64, d time.Duration) int64 { return now + int64(d) }

// add takes in a connection, and reports whether there may be one still.
func (c *clock) add(s *socket) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.all[s] = struct{}{}
	}
	return !c.closed
}

func (c *clock) remove(s *socket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.all, s)
}

// run looks at the deadlines every tick, and then calls also. Each is called by shield.
func (c *clock) run(ctx context.Context, also func(now int64), shield func(func())) {
	ticker := time.NewTicker(time.Duration(c.tick.Load()))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.changed:
			ticker.Reset(time.Duration(c.tick.Load()))
		case <-ticker.C:
			now := c.now()
			shield(func() { c.poke(now) })
			shield(func() { also(now) })
		}
	}
}

// poke wakes those whose time is up: what they wait for fails.
func (c *clock) poke(now int64) {
	for _, watch := range c.late(now) {
		watch(now)
	}
}

// late wakes those, and returns who else wants to know the time.
func (c *clock) late(now int64) (watchers []func(int64)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for s := range c.all {
		if at := s.deadline.Load(); at != 0 && at <= now {
			_ = s.TCPConn.SetDeadline(time.Unix(1, 0)) // fails if it is closed, which is as well
		}
		if s.watcher != nil {
			watchers = append(watchers, s.watcher)
		}
	}
	return watchers
}

// closeAll ends every connection, those that come later too. It does not wait: while
// a request is answered within a read of the client's connection, to close that one
// takes until the answer has failed, which needs the upstream's to be closed.
func (c *clock) closeAll() {
	c.mu.Lock()
	c.closed = true
	all := slices.Collect(maps.Keys(c.all))
	c.mu.Unlock()
	for _, s := range all {
		go s.TCPConn.Close()
	}
}
