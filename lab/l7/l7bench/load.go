package main

import (
	"fmt"
	"math/bits"
	"net/netip"
	"runtime"
	"runtime/debug"
	"time"
)

// task is what the load does once.
type task struct {
	address netip.AddrPort
	host    string
	// protocol is http/1.1 or h2, within TLS, or "" for HTTP/1.1 without.
	protocol string
	grpc     bool
	path     string
	size     int
	// connections are made once; each has so many requests under way, which only
	// HTTP/2 has more than one of.
	connections, streams int
	// rate is how many requests a second are sent; at 0 the next is sent when one is
	// answered.
	rate float64
	// warmup comes before length, and is not counted.
	warmup, length time.Duration
	// used returns the CPU time of the proxy up to now.
	used func() (time.Duration, error)
}

// outcome is what the proxy did meanwhile.
type outcome struct {
	Answered     int
	Elapsed, CPU time.Duration
	P50, P99     time.Duration
	// Tenth99 is the median of the 99th percentiles of every tenth of a second: P99 but for
	// what holds a processor up now and then, as other programs of the machine do.
	Tenth99 time.Duration
}

// perCPU is how many requests a second of the proxy's CPU time served.
func (o outcome) perCPU() float64 { return float64(o.Answered) / o.CPU.Seconds() }

func (o outcome) perSecond() float64 { return float64(o.Answered) / o.Elapsed.Seconds() }

// busy is the share of its processor that the proxy used.
func (o outcome) busy() float64 { return o.CPU.Seconds() / o.Elapsed.Seconds() }

// client is a connection that has room for a request.
type client interface {
	sock
	// ask prepares a request, and reports whether flush is to be called.
	ask(due time.Time) bool
	flush() error
}

// load is a task under way.
type load struct {
	*loop
	task
	clients []client
	fds     []int
	// idle are clients with room, once for each request that they have room for,
	// those first that have had it for longest.
	idle    queue
	asking  []client
	sent    int // requests since start
	open    int // requests under way
	start   time.Time
	heard   time.Time
	latency histogram
	// tenth is the latency of the tenth of a second under way, and late what those before had.
	tenth histogram
	late  series
	outcome
}

// patience is how long the load waits for any answer.
const patience = 5 * time.Second

// run does a task. Whatever is not answered as it must be ends it with an error.
func (l *loop) run(t task) (outcome, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// Collections of garbage happen between measurements.
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	load := &load{loop: l, task: t}
	defer load.close()
	if err := load.connect(); err != nil {
		return outcome{}, err
	}
	if err := load.work(t.warmup); err != nil {
		return outcome{}, err
	}
	load.outcome, load.latency, load.tenth, load.late = outcome{}, histogram{}, histogram{}, nil
	before, err := t.used()
	if err != nil {
		return outcome{}, err
	}
	start := time.Now()
	if err := load.work(t.length); err != nil {
		return outcome{}, err
	}
	load.Elapsed = time.Since(start)
	after, err := t.used()
	if err != nil {
		return outcome{}, err
	}
	load.CPU = after - before
	load.P50, load.P99 = load.latency.quantile(0.5), load.latency.quantile(0.99)
	if len(load.late) > 0 {
		load.Tenth99 = time.Duration(load.late.median())
	}
	done := load.outcome
	return done, load.drain()
}

func (l *load) connect() error {
	l.idle.clients = make([]client, l.connections*l.streams)
	for range l.connections {
		s, err := dial(l.address, l.protocol)
		if err != nil {
			return err
		}
		l.fds = append(l.fds, s.fd)
		var c client = &client1{load: l, stream: s, request: request1(l.host, l.path)}
		if l.protocol == "h2" {
			if c, err = l.newClient2(s); err != nil {
				return err
			}
		}
		if err := l.watch(s.fd, c); err != nil {
			return err
		}
		l.clients = append(l.clients, c)
	}
	for range l.streams {
		for _, c := range l.clients {
			l.idle.push(c)
		}
	}
	return nil
}

func (l *load) close() {
	for _, fd := range l.fds {
		l.loop.close(fd)
	}
}

// work asks for a time, without ever sleeping: the processor is its own.
func (l *load) work(length time.Duration) error {
	l.start, l.sent, l.heard = time.Now(), 0, time.Now()
	over := l.start.Add(time.Second / 10)
	for now := l.start; now.Sub(l.start) < length; now = time.Now() {
		if now.After(over) {
			l.late, l.tenth, over = append(l.late, float64(l.tenth.quantile(0.99))), histogram{}, over.Add(time.Second/10)
		}
		if err := l.give(now); err != nil {
			return err
		}
		if err := l.turn(0); err != nil {
			return err
		}
		if l.open > 0 && now.Sub(l.heard) > patience {
			return fmt.Errorf("%d requests have got no answer", l.open)
		}
	}
	return nil
}

// drain waits for the answers that have not come.
func (l *load) drain() error {
	for end := time.Now().Add(patience); l.open > 0; {
		if time.Now().After(end) {
			return fmt.Errorf("%d requests have got no answer", l.open)
		}
		if err := l.turn(1); err != nil {
			return err
		}
	}
	return nil
}

// give sends what is due to clients that have room.
func (l *load) give(now time.Time) error {
	for l.idle.length > 0 {
		due := now
		if l.rate > 0 {
			// At a given rate, a request that had to wait for room was late because of it.
			due = l.start.Add(time.Duration(float64(l.sent) / l.rate * float64(time.Second)))
			if due.After(now) {
				break
			}
		}
		c := l.idle.pop()
		if c.ask(due) {
			l.asking = append(l.asking, c)
		}
		l.sent, l.open = l.sent+1, l.open+1
	}
	for _, c := range l.asking {
		if err := c.flush(); err != nil {
			return err
		}
	}
	l.asking = l.asking[:0]
	return nil
}

// answered notes that a request that was due then has its answer.
func (l *load) answered(c client, due time.Time) {
	l.heard = time.Now()
	l.latency.add(l.heard.Sub(due))
	l.tenth.add(l.heard.Sub(due))
	l.Answered++
	l.open--
	l.idle.push(c)
}

// queue is a ring of clients.
type queue struct {
	clients       []client
	first, length int
}

func (q *queue) push(c client) {
	q.clients[(q.first+q.length)%len(q.clients)] = c
	q.length++
}

func (q *queue) pop() client {
	c := q.clients[q.first]
	q.first, q.length = (q.first+1)%len(q.clients), q.length-1
	return c
}

// histogram counts durations in steps of a sixteenth of a power of two.
type histogram struct {
	counts [64 * 16]int
	total  int
}

func (h *histogram) add(d time.Duration) {
	n := uint64(max(d, 16))
	shift := bits.Len64(n) - 5
	h.counts[shift*16+int(n>>shift)-16]++
	h.total++
}

// quantile returns the upper end of the step that holds a quantile.
func (h *histogram) quantile(q float64) time.Duration {
	left := int(q * float64(h.total))
	for i, n := range h.counts {
		if left -= n; left < 0 {
			return time.Duration(16+i%16+1) << (i / 16)
		}
	}
	return 0
}
