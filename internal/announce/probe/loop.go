package probe

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Counters count packets since the start.
type Counters struct {
	Sent, Received uint64
	// Unsent could not be sent.
	Unsent uint64
	// Malformed are no packets of this version, Unknown name a node that is not
	// expected, WrongKey are signed with another key or for another node, and Stale
	// are recorded ones or have overtaken each other. All these are dropped.
	Malformed, Unknown, WrongKey, Stale uint64
}

type counters struct{ sent, received, unsent, malformed, unknown, wrongKey, stale atomic.Uint64 }

// Counters returns how many packets there were.
func (p *Plane) Counters() Counters {
	c := &p.counters
	return Counters{
		Sent: c.sent.Load(), Received: c.received.Load(), Unsent: c.unsent.Load(), Malformed: c.malformed.Load(),
		Unknown: c.unknown.Load(), WrongKey: c.wrongKey.Load(), Stale: c.stale.Load(),
	}
}

// run sends what is due, and judges who is dead, until ctx ends.
func (p *Plane) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		case <-timer.C:
		}
		timer.Reset(p.turn())
	}
}

// turn does what is due, and returns how long there is nothing.
func (p *Plane) turn() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return time.Hour
	}
	if late := sinceBoot() - p.due; p.due != 0 && late > 0 {
		p.machine.stalled(time.Now(), late)
	}
	p.readKey(time.Now())
	if p.machine.overdue(time.Now()) {
		// What was not listened to is not silent.
		p.drain()
	}
	now := time.Now()
	p.machine.hurried = false
	for _, to := range p.machine.tick(now) {
		p.send(now, to)
	}
	p.publish()
	next := p.machine.next(now)
	if again := p.keyRead.Add(keyEvery); again.Before(next) {
		next = again
	}
	wait := max(time.Until(next), 0)
	p.due = sinceBoot() + wait
	return wait
}

// keyEvery is how often the key is asked for.
const keyEvery = time.Second

func (p *Plane) readKey(now time.Time) {
	if !p.keyRead.IsZero() && now.Sub(p.keyRead) < keyEvery {
		return
	}
	p.keyRead = now
	had := p.keys.current
	p.keys.set(now, p.config.Key())
	if p.keys.current != had {
		p.log.Info("the key of probes has changed", "empty", p.keys.current == nil)
		p.converge(now)
	}
}

// sinceBoot is a clock that goes on while the machine is suspended.
func sinceBoot() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

func (p *Plane) send(now time.Time, to *peer) {
	k := p.machine.packet(now, to)
	signer := p.keys.by(to.previousKey)
	if signer == nil {
		return
	}
	p.buffer = signer.sign(k.append(p.buffer[:0]), []byte(to.name))
	for a, s := range p.sockets {
		if a.Is4() != to.to.Addr().Is4() {
			continue
		}
		if err := s.send(p.buffer, to.to); err != nil {
			p.counters.unsent.Add(1)
			p.unsent = err
			return
		}
		p.counters.sent.Add(1)
	}
}

// farewell is the last that this node says.
func (p *Plane) farewell(now time.Time) {
	m := p.machine
	m.leaving, m.joined = true, false
	for _, to := range m.order {
		if to.alive && to.to.IsValid() {
			p.send(now, to)
		}
	}
}

// read takes in what comes in at a socket until it is closed.
func (p *Plane) read(s *socket) {
	b := make([]byte, maxPacket+1)
	for {
		n, err := s.receive(b)
		if err != nil {
			if s.closed.Load() {
				return
			}
			// Whatever it is, it must not keep a processor busy.
			p.log.Error("cannot receive probes", "error", err)
			time.Sleep(time.Second)
			continue
		}
		p.mu.Lock()
		p.take(b[:n])
		p.publish()
		p.mu.Unlock()
	}
}

// drain takes in what the sockets hold.
func (p *Plane) drain() {
	b := make([]byte, maxPacket+1)
	for _, s := range p.sockets {
		for range maxRate {
			n, ok := s.poll(b)
			if !ok {
				break
			}
			p.take(b[:n])
		}
	}
}

// take takes in a packet: what costs least is looked at first.
func (p *Plane) take(b []byte) {
	c := &p.counters
	c.received.Add(1)
	k, err := parse(b)
	if err != nil {
		c.malformed.Add(1)
		return
	}
	from := p.machine.peers[string(k.from)]
	if from == nil {
		c.unknown.Add(1)
		return
	}
	good, previous := p.keys.check(b, p.machine.name)
	if !good {
		c.wrongKey.Add(1)
		return
	}
	if p.machine.hear(time.Now(), from, k, previous) == stale {
		c.stale.Add(1)
	}
	if p.machine.hurried {
		signal(p.wake)
	}
}
