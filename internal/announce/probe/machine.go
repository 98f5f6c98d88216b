package probe

import (
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/fairlead-net/fairlead/internal/announce"
)

const (
	// maxRate is how many packets a node sends in a second, all in all.
	maxRate = 2000
	// A change is told in so many packets more, one after the other.
	repeats = 2
	// eagerness is how long a silent node is probed as often as others; then it is
	// only each slowness intervals if there are others, whose packets have to share
	// room with those that wait in the kernel for the hardware address of one that is
	// gone.
	eagerness = 10 * time.Second
	slowness  = 5
	// patience is how many times the time of detection a node waits for others before
	// it counts itself as alive.
	patience = 3
)

// machine decides who is alive. It has no clock, sends nothing and reads nothing;
// its caller must not use it from several goroutines at once.
type machine struct {
	log      *slog.Logger
	node     string
	name     []byte // the same
	session  uint64
	start    time.Time
	interval time.Duration
	misses   int
	// jitter returns a number in [0, 1).
	jitter func() float64

	peers map[string]*peer
	order []*peer // sorted by name
	seq   uint64
	// expected tells whether the others know of this node.
	expected bool
	offers   offers
	leaving  bool
	// joined tells whether this node counts itself as alive, since when; waiting is
	// when it began to wait for the others.
	joined         bool
	since, waiting time.Time
	// changed tells whether live has something new to say, hurried whether next is
	// earlier than it was.
	changed, hurried bool
}

func newMachine(node string, interval time.Duration, misses int, now time.Time, log *slog.Logger) *machine {
	return &machine{
		log: log, node: node, name: []byte(node), session: rand.Uint64() | 1, start: now, interval: interval, misses: misses,
		jitter: rand.Float64, peers: map[string]*peer{},
	}
}

// target is a node to probe.
type target struct {
	name string
	to   netip.AddrPort
}

// apply replaces the nodes to probe and what this node offers. expected tells
// whether the others probe this one.
func (m *machine) apply(now time.Time, targets []target, expected bool, offers offers) {
	peers := make(map[string]*peer, len(targets))
	// The first packets to nodes are spread over the time that those to all take.
	spread := func(part float64) time.Duration {
		return time.Duration(part * float64(max(m.interval, atRate(len(targets)))))
	}
	for _, t := range targets {
		p := m.peers[t.name]
		if p == nil {
			p = &peer{name: t.name, eager: now.Add(eagerness), next: now.Add(spread(m.jitter()))}
		}
		p.to = t.to
		peers[t.name] = p
	}
	for name, p := range m.peers {
		if peers[name] == nil && p.alive {
			m.log.Info("a node is not expected any more", "node", name)
			m.lose(p)
		}
	}
	m.peers, m.order = peers, m.order[:0]
	for _, p := range peers {
		m.order = append(m.order, p)
	}
	slices.SortFunc(m.order, func(a, b *peer) int { return strings.Compare(a.name, b.name) })
	if !expected {
		m.part(now)
	} else if !m.expected {
		m.waiting = now
	}
	m.expected = expected
	if !slices.Equal(m.offers, offers) {
		m.offers, m.changed = offers, true
		m.tell(now)
	}
}

// leave makes this node say from now on that it hands its addresses over.
func (m *machine) leave(now time.Time) {
	if !m.leaving {
		m.leaving, m.changed = true, true
		m.tell(now)
	}
}

// part makes this node count itself as not alive, and wait for the others.
func (m *machine) part(now time.Time) {
	m.waiting = now
	if m.joined {
		m.joined, m.changed = false, true
		m.tell(now)
	}
}

// settle decides whether this node counts itself as alive.
func (m *machine) settle(now time.Time) {
	if !m.expected {
		return
	}
	alive, silent, mute := 0, 0, ""
	for _, p := range m.order {
		switch {
		case p.alive:
			alive++
		case p.to.IsValid():
			silent++
			if m.mute(now, p) {
				mute = p.name
			}
		}
	}
	switch {
	case mute != "" && alive == 0:
		if m.joined {
			m.log.Warn("nobody hears this node, so it announces nothing; others are heard, so look for what drops its packets", "heard", mute)
		}
		m.part(now)
	case !m.joined && (silent == 0 || !now.Before(m.joins())):
		m.joined, m.since, m.changed = true, now, true
		m.log.Info("this node takes part in announcing", "alive", alive, "silent", silent)
		m.tell(now)
	}
}

// joins is when this node waits for the others no longer.
func (m *machine) joins() time.Time {
	return m.waiting.Add(patience * time.Duration(m.misses) * m.pace())
}

// judge counts nodes as dead that do not answer.
func (m *machine) judge(now time.Time) {
	for _, p := range m.order {
		if !p.alive || now.Before(m.deadline(p)) {
			continue
		}
		m.lose(p)
		p.eager = now.Add(eagerness)
		m.log.Warn("a node counts as dead", "node", p.name, "why", m.why(now, p))
	}
}

// overdue tells whether judge would count some node as dead.
func (m *machine) overdue(now time.Time) bool {
	return slices.ContainsFunc(m.order, func(p *peer) bool { return p.alive && !now.Before(m.deadline(p)) })
}

// anybody tells whether any other node is alive.
func (m *machine) anybody() bool {
	return slices.ContainsFunc(m.order, func(p *peer) bool { return p.alive })
}

// stalled takes in that this process has stood still. The others have not been
// silent then, they have not been listened to. If it was long the others have taken
// over what this node had, so it must not claim anything of theirs.
func (m *machine) stalled(now time.Time, late time.Duration) {
	pace := m.pace()
	if late < 2*pace {
		return
	}
	long := late >= time.Duration(m.misses)*pace && m.anybody()
	if long {
		m.log.Warn("this process stood still, so others may have taken over", "for", late.Round(time.Millisecond))
		m.part(now)
	}
	for _, p := range m.order {
		p.grace, p.next = now.Add(2*pace), now
		if long {
			m.lose(p)
			// Nothing that was asked before counts.
			p.echoed, p.eager = p.lastSeq, now.Add(eagerness)
		}
	}
}

// tick decides what is over, and returns who is to be sent a packet now.
func (m *machine) tick(now time.Time) []*peer {
	m.judge(now)
	m.settle(now)
	if !m.expected {
		return nil
	}
	pace := m.pace()
	// Who is due soon is sent to now, which saves waking up again.
	soon := now.Add(pace / 20)
	anybody := m.anybody()
	var due []*peer
	for _, p := range m.order {
		if !p.to.IsValid() || soon.Before(p.next) {
			continue
		}
		due = append(due, p)
		// Nodes must not fall into step (RFC 5880, section 6.8.7).
		wait := pace - time.Duration(m.jitter()*float64(pace)/10)
		switch {
		case p.burst > 0:
			p.burst--
			wait = m.gap()
		case !p.alive && anybody && now.After(p.eager):
			wait *= slowness
		}
		p.sent, p.next = now, now.Add(wait)
	}
	return due
}

// packet makes the next packet for a node.
func (m *machine) packet(now time.Time, p *peer) packet {
	// Numbers are times, so an answer tells when its question was asked.
	m.seq = max(m.seq+1, uint64(now.Sub(m.start)))
	p.lastSeq = m.seq
	k := packet{from: m.name, session: m.session, seq: m.seq, echoed: m.echo(now, p), interval: m.pace(), leaving: m.leaving}
	if m.joined {
		k.offers = m.offers
	}
	return k
}

// age is how long ago the packet with this number was sent.
func (m *machine) age(now time.Time, seq uint64) time.Duration {
	return now.Sub(m.start) - time.Duration(seq)
}

// pace is the time between two packets to a node, long enough for all nodes.
func (m *machine) pace() time.Duration { return max(m.interval, atRate(len(m.order))) }

// gap is the least time between two packets to a node.
func (m *machine) gap() time.Duration { return max(m.pace()/5, atRate(len(m.order))) }

// atRate is the least time that packets to so many nodes take.
func atRate(nodes int) time.Duration { return time.Duration(nodes) * time.Second / maxRate }

// tell makes this node say something new soon, and again.
func (m *machine) tell(now time.Time) {
	for _, p := range m.order {
		if p.alive || now.Before(p.eager) {
			p.burst = repeats
			m.hurry(now, p)
		}
	}
}

// hurry makes the next packet to a node leave as soon as it may. The first has a
// time of its own.
func (m *machine) hurry(now time.Time, p *peer) {
	if p.sent.IsZero() {
		return
	}
	at := p.sent.Add(m.gap())
	if at.Before(now) {
		at = now
	}
	if at.Before(p.next) {
		p.next, m.hurried = at, true
	}
}

// next is when tick has something to do.
func (m *machine) next(now time.Time) time.Time {
	at := now.Add(time.Minute)
	earliest := func(t time.Time) {
		if t.Before(at) {
			at = t
		}
	}
	for _, p := range m.order {
		if m.expected && p.to.IsValid() {
			earliest(p.next)
		}
		if p.alive {
			earliest(m.deadline(p))
		}
	}
	if m.expected && !m.joined {
		earliest(m.joins())
	}
	return at
}

// live is who is alive now.
func (m *machine) live() announce.Live {
	l := announce.Live{Nodes: make(map[string]*announce.Condition, len(m.order)+1)}
	for _, p := range m.order {
		if p.alive {
			l.Nodes[p.name] = &announce.Condition{Offers: p.offers.unpack(), Leaving: p.leaving, Since: p.since}
		}
	}
	if m.joined {
		l.Nodes[m.node] = &announce.Condition{Offers: m.offers.unpack(), Leaving: m.leaving, Since: m.since}
	}
	return l
}

// silent returns the nodes that do not answer.
func (m *machine) silent() []*peer {
	return slices.DeleteFunc(slices.Clone(m.order), func(p *peer) bool { return p.alive })
}

// why says what is the matter with a node that does not count as alive.
func (m *machine) why(now time.Time, p *peer) string {
	switch {
	case !p.to.IsValid():
		return "cannot be probed: it has no address of a family that this node has"
	case m.mute(now, p):
		return "is heard, but has not heard this node for " + now.Sub(p.answered).Round(time.Millisecond).String()
	case p.answered.IsZero():
		return "has never answered"
	}
	return "has answered no probe for " + now.Sub(p.answered).Round(time.Millisecond).String()
}
