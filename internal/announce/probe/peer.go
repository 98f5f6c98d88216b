package probe

import (
	"bytes"
	"net/netip"
	"time"
)

// peer is another node, and all that is known of it.
type peer struct {
	name string
	// to is where it is probed; not valid where there is no way.
	to netip.AddrPort

	// session is the one it has proven to be in, by repeating a number it was sent
	// just before; seq is the last of that session, heard when, and hearing since when
	// there was no long pause. rumour is the last number heard of any other session,
	// told when.
	session     uint64
	seq         uint64
	heard       time.Time
	hearing     time.Time
	rumour      number
	told        time.Time
	interval    time.Duration
	leaving     bool
	offers      offers
	previousKey bool

	// echoed is the highest of this node's numbers that it has repeated, answered is
	// when. It is not taken for dead before grace.
	echoed   uint64
	answered time.Time
	grace    time.Time
	alive    bool
	since    time.Time

	// sent is when it was last sent a packet, and lastSeq that packet's number; next
	// is when it is sent another, and burst how many of those are in a hurry. Until
	// eager is over a node that does not answer is probed as often as one that does.
	sent    time.Time
	lastSeq uint64
	next    time.Time
	burst   int
	eager   time.Time
}

// hear takes in a packet whose signature is right. The results are what has
// changed, and whether the packet is of any use.
func (m *machine) hear(now time.Time, p *peer, k packet, previousKey bool) outcome {
	fresh := k.echoed.session == m.session && k.echoed.seq > p.echoed && k.echoed.seq <= p.lastSeq && m.age(now, k.echoed.seq) < m.detection(p)
	if !p.alive {
		p.eager = now.Add(eagerness)
		m.hurry(now, p)
	}
	switch {
	case k.session == p.session && k.seq <= p.seq:
		return stale
	case k.session != p.session && !fresh:
		p.rumour, p.told = number{k.session, k.seq}, now
		return unproven
	case k.session != p.session && p.alive:
		m.log.Info("a node's process has been replaced", "node", p.name)
		m.lose(p)
	}
	if now.Sub(p.heard) >= m.detection(p) {
		p.hearing = now
	}
	p.session, p.seq, p.heard, p.interval, p.previousKey = k.session, k.seq, now, k.interval, previousKey
	if p.leaving != k.leaving || !bytes.Equal(p.offers, k.offers) {
		p.leaving, p.offers = k.leaving, bytes.Clone(k.offers)
		m.changed = m.changed || p.alive
	}
	if fresh {
		p.echoed, p.answered = k.echoed.seq, now
		m.find(now, p)
	}
	return useful
}

// outcome is what becomes of a packet whose signature is right.
type outcome int

const (
	useful outcome = iota
	// stale packets are recorded ones, or have overtaken each other.
	stale
	// unproven packets are of a process that has not answered yet.
	unproven
)

// find counts a node as alive.
func (m *machine) find(now time.Time, p *peer) {
	if p.alive {
		return
	}
	p.alive, p.since, m.changed = true, now, true
	m.log.Info("a node is alive", "node", p.name, "leaving", p.leaving)
}

// lose counts a node as dead. Whoever calls says why.
func (m *machine) lose(p *peer) { p.alive, m.changed = false, m.changed || p.alive }

// echo is the number that the next packet to a node repeats. Recorded packets of
// earlier sessions cannot take the place of a process that is heard.
func (m *machine) echo(now time.Time, p *peer) number {
	switch {
	case p.session != 0 && now.Sub(p.heard) < m.detection(p):
		return number{p.session, p.seq}
	case p.rumour.session != 0 && now.Sub(p.told) < m.detection(p):
		return p.rumour
	}
	return number{}
}

// detection is how long a node may fail to answer: its answers come as often as
// both ends send.
func (m *machine) detection(p *peer) time.Duration {
	return time.Duration(m.misses) * max(m.pace(), p.interval)
}

// deadline is when a node that is alive counts as dead.
func (m *machine) deadline(p *peer) time.Time {
	at := p.answered.Add(m.detection(p))
	if at.Before(p.grace) {
		return p.grace
	}
	return at
}

// mute tells whether a node is still heard though it does not hear this one. Of
// one that died, packets can have come a little after its last answer; and one
// that has just come back cannot have answered yet.
func (m *machine) mute(now time.Time, p *peer) bool {
	if p.alive || p.session == 0 || now.Sub(p.heard) >= m.detection(p) {
		return false
	}
	since := p.answered
	if since.Before(p.hearing) {
		since = p.hearing
	}
	d := m.detection(p)
	return p.heard.Sub(since) > max(d/2, 2*d/time.Duration(m.misses))
}
