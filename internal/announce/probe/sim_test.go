package probe

import (
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// step is how fine the time of a simulation is.
const step = time.Millisecond

// sim is a network of machines with a time of its own.
type sim struct {
	t     *testing.T
	now   time.Time
	rng   *rand.Rand
	nodes map[string]*node
	// sorted are the names of nodes.
	sorted []string
	// latency is how long a packet takes; lost tells which do not arrive.
	latency time.Duration
	lost    func(from, to string) bool
	flying  []flight
	// sent counts packets, recorded has all of them if not nil.
	sent     map[string]int
	recorded map[string][]flight
}

type flight struct {
	from, to string
	at       time.Time
	content  []byte
}

// node is one process.
type node struct {
	*machine
	keys keys
	// frozen processes do nothing, and packets wait for them. Such a suspension may
	// stop the clock as well: behind is by how much it is.
	frozen bool
	behind time.Duration
	due    time.Time
	queue  [][]byte
	log    *strings.Builder
}

func newSim(t *testing.T, seed uint64, names ...string) *sim {
	s := &sim{
		t: t, now: time.Now(), rng: rand.New(rand.NewPCG(seed, 1)), nodes: map[string]*node{}, latency: step,
		lost: func(string, string) bool { return false }, sent: map[string]int{},
	}
	for _, name := range names {
		s.nodes[name] = nil
	}
	for _, name := range names {
		s.start(name)
	}
	return s
}

// start begins a process, in place of any that runs. It knows of all nodes, and so
// they do of it.
func (s *sim) start(name string, change ...func(*machine)) *node {
	log := &strings.Builder{}
	n := &node{log: log, machine: newMachine(name, 100*time.Millisecond, 5, s.now, slog.New(slog.NewTextHandler(log, nil)))}
	n.jitter, n.session = s.rng.Float64, s.rng.Uint64()|1
	n.keys.set(s.now, []byte("key"))
	for _, c := range change {
		c(n.machine)
	}
	s.nodes[name] = n
	n.apply(s.now, s.targets(name), true, packOffers([]uint32{uint32(name[0])}))
	return n
}

func (s *sim) targets(without string) []target {
	var targets []target
	for _, name := range slices.Sorted(maps.Keys(s.nodes)) {
		if name != without {
			targets = append(targets, target{name, netip.MustParseAddrPort("192.0.2.1:7947")})
		}
	}
	return targets
}

// kill ends a process; the others still expect it.
func (s *sim) kill(name string) { s.nodes[name] = nil }

// run goes on for some time, and after each step calls watch.
func (s *sim) run(d time.Duration, watch ...func()) {
	for end := s.now.Add(d); s.now.Before(end); {
		s.now = s.now.Add(step)
		s.deliver()
		for _, name := range s.names() {
			if n := s.nodes[name]; n != nil && !n.frozen {
				s.turn(name, n)
			}
		}
		for _, w := range watch {
			w()
		}
	}
}

// names are those of all nodes, sorted, which do not become others.
func (s *sim) names() []string {
	if len(s.sorted) != len(s.nodes) {
		s.sorted = slices.Sorted(maps.Keys(s.nodes))
	}
	return s.sorted
}

// until runs until something is so, and returns how long that took.
func (s *sim) until(what string, within time.Duration, is func() bool) time.Duration {
	s.t.Helper()
	start := s.now
	for !is() {
		if s.now.Sub(start) > within {
			s.t.Fatalf("%s: not within %s\n%s", what, within, s)
		}
		s.run(step)
	}
	return s.now.Sub(start)
}

func (s *sim) deliver() {
	var later []flight
	for _, f := range s.flying {
		switch n := s.nodes[f.to]; {
		case f.at.After(s.now):
			later = append(later, f)
		case n != nil && n.frozen:
			n.queue = append(n.queue, f.content)
		case n != nil:
			n.take(s.time(n), f.content)
		}
	}
	s.flying = later
}

func (s *sim) time(n *node) time.Time { return s.now.Add(-n.behind) }

// turn does what the loop of a Plane does.
func (s *sim) turn(name string, n *node) {
	now := s.time(n)
	if now.Before(n.due) && !n.hurried {
		return
	}
	n.hurried = false
	for _, p := range n.tick(now) {
		k := n.packet(now, p)
		content := n.keys.by(p.previousKey).sign(k.append(nil), []byte(p.name))
		f := flight{name, p.name, s.now.Add(s.latency), content}
		s.sent[name]++
		if s.recorded != nil {
			s.recorded[name] = append(s.recorded[name], f)
		}
		if !s.lost(name, p.name) {
			s.flying = append(s.flying, f)
		}
	}
	n.due = n.next(now)
}

// take does what a Plane does with a packet.
func (n *node) take(now time.Time, content []byte) outcome {
	k, err := parse(content)
	if err != nil || n.peers[string(k.from)] == nil {
		return stale
	}
	good, previous := n.keys.check(content, []byte(n.node))
	if !good {
		return stale
	}
	return n.hear(now, n.peers[string(k.from)], k, previous)
}

// freeze stops a process for some time; with its clock if it is told so. When it
// goes on it does what a Plane does: it notices, and takes in what has come.
func (s *sim) freeze(name string, d time.Duration, clock bool, watch ...func()) {
	n := s.nodes[name]
	n.frozen = true
	s.run(d, watch...)
	n.frozen = false
	if clock {
		n.behind += d
	}
	n.stalled(s.time(n), s.now.Sub(n.due.Add(n.behind)))
	if clock {
		n.stalled(s.time(n), d)
	}
	for _, content := range n.queue {
		n.take(s.time(n), content)
	}
	n.queue, n.due = nil, time.Time{}
}

// sees tells whether a node counts others, and itself, as alive: exactly those
// whose names are one letter of all.
func (s *sim) sees(name, all string) bool {
	var alive []string
	for node := range s.nodes[name].live().Nodes {
		alive = append(alive, node)
	}
	slices.Sort(alive)
	return strings.Join(alive, "") == all
}

// everybody tells whether all processes see the same.
func (s *sim) everybody(all string) func() bool {
	return func() bool {
		for name, n := range s.nodes {
			if n != nil && !s.sees(name, all) {
				return false
			}
		}
		return true
	}
}

func (s *sim) String() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(s.nodes)) {
		if n := s.nodes[name]; n != nil {
			fmt.Fprintf(&b, "%s sees %v, joined %v\n%s", name, slices.Sorted(maps.Keys(n.live().Nodes)), n.joined, n.log)
		}
	}
	return b.String()
}

func cut(from, to string) func(string, string) bool {
	return func(f, t string) bool { return strings.Contains(from, f) && strings.Contains(to, t) }
}

// never fails the test if something is so at any time.
func (s *sim) never(what string, is func() bool) func() {
	return func() {
		s.t.Helper()
		if is() {
			s.t.Fatalf("%s\n%s", what, s)
		}
	}
}
