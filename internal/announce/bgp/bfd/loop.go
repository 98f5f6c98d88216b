package bfd

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// retry is how long a socket that could not be opened is let be.
	retry = time.Second
	// most is how many packets are taken in at a stretch before time is looked at.
	most = 1000
)

func native(b []byte) int { return int(int32(binary.NativeEndian.Uint32(b))) }

// run sends what is due and notices who is silent, until ctx ends.
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
	if len(p.problems) > 0 {
		p.attend()
	}
	if p.overdue(time.Now()) {
		// What was not listened to is not silent.
		p.drain()
	}
	now := time.Now()
	next := now.Add(time.Hour)
	if len(p.problems) > 0 {
		next = now.Add(retry)
	}
	for _, e := range p.entries {
		e.judge(now)
		if e.due(now) {
			p.send(e, e.packet(false))
		}
		if at := e.wakes(); !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	p.tell()
	return max(time.Until(next), 0)
}

func (p *Plane) overdue(now time.Time) bool {
	for _, e := range p.entries {
		if e.remote != 0 && !now.Before(e.deadline()) {
			return true
		}
	}
	return false
}

// drain takes in what the sockets hold.
func (p *Plane) drain() {
	b := make([]byte, maxRead)
	for _, l := range p.ears {
		for range most {
			a, ok := l.poll(b)
			if !ok {
				break
			}
			p.take(l.kind, a, b[:a.length])
		}
	}
}

// read takes in what comes in at a socket until it is closed.
func (p *Plane) read(l *listener) {
	b := make([]byte, maxRead)
	for {
		a, err := l.receive(b)
		if err != nil {
			if l.closed.Load() {
				return
			}
			// Whatever it is, it must not keep a processor busy.
			p.log.Error("cannot receive BFD packets", "error", err)
			time.Sleep(retry)
			continue
		}
		p.mu.Lock()
		p.take(l.kind, a, b[:a.length])
		p.tell()
		p.mu.Unlock()
		signal(p.wake)
	}
}

// take takes in a packet: what costs least is looked at first.
func (p *Plane) take(k kind, a arrival, b []byte) {
	if p.closed {
		return
	}
	if !k.multiHop && a.hops != hopLimit {
		p.dropped++
		return
	}
	got, err := parse(b)
	if err != nil {
		p.dropped++
		return
	}
	e := p.whose(k, a, got)
	if e == nil {
		p.dropped++
		return
	}
	e.counters.Received++
	if e.hear(time.Now(), got) {
		p.send(e, e.packet(true))
	}
}

// whose finds the session that a packet is for (RFC 5880, section 6.8.6; RFC 5881,
// section 3).
func (p *Plane) whose(k kind, a arrival, got packet) *entry {
	fits := func(e *entry) bool {
		return e.kind() == k && e.peer.Address.WithZone("") == a.from && e.onLink(a.interfaceIndex)
	}
	if got.yours != 0 {
		if e := p.numbers[got.yours]; e != nil && fits(e) {
			return e
		}
		return nil
	}
	for _, e := range p.entries {
		// One that is up is not ended from anywhere by who knows no more than addresses: a
		// router several hops away that has begun anew is found out by its silence.
		if fits(e) && !(k.multiHop && e.state == Up) {
			return e
		}
	}
	return nil
}

// onLink tells whether a link-local address means the router at this interface.
func (e *entry) onLink(index int) bool {
	zone := e.peer.Address.Zone()
	if zone == "" {
		return true
	}
	if e.index == 0 {
		if i, err := net.InterfaceByName(zone); err == nil {
			e.index = i.Index
		}
	}
	return e.index == index
}

// send never waits: a packet that cannot be sent is lost, as it could be on its way.
func (p *Plane) send(e *entry, what packet) {
	if e.conn == nil {
		conn, err := dial(e.peer)
		if e.problem = err; err != nil {
			e.counters.Unsent++
			return
		}
		e.conn = conn
	}
	p.buffer = what.append(p.buffer[:0])
	err := write(e.conn, p.buffer)
	if errors.Is(err, unix.ECONNREFUSED) {
		// That is about the packet before: nobody listened.
		err = write(e.conn, p.buffer)
	}
	if e.problem = err; err != nil {
		e.counters.Unsent++
		if errors.Is(err, unix.EAGAIN) {
			return
		}
		// An address that has gone does not come back to a socket.
		_ = e.conn.Close()
		e.conn, e.index = nil, 0
		return
	}
	e.counters.Sent++
}

// tell says which sessions have changed their state.
func (p *Plane) tell() {
	for _, e := range p.entries {
		if e.state == e.told {
			continue
		}
		if e.state == Up || e.told == Up {
			p.log.Info("BFD session", "peer", e.name, "address", e.peer.Address, "state", e.state.String(), "why", e.why)
		}
		e.told = e.state
		signal(p.changed)
	}
}
