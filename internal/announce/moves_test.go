package announce

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// fleet is some nodes that each follow who has which address.
type fleet struct {
	t     *testing.T
	now   time.Time
	table Table
	nodes map[string]*member
	// had are the nodes that have had each address.
	had map[netip.Addr]map[string]bool
}

// member is a node of a fleet. Its kernel passes on what the process wrote last,
// for as long as that was said to count.
type member struct {
	name                            string
	running, excluded, leaving, cut bool
	dead                            bool // the machine is off
	since                           time.Time
	moves                           Moves
	kernel                          []Passing
	written                         time.Time
	owned                           map[netip.Addr]bool
}

func newFleet(t *testing.T, addresses int, names ...string) *fleet {
	c := &fleet{t: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), nodes: map[string]*member{}, had: map[netip.Addr]map[string]bool{}}
	c.table, _ = electing(netip.MustParseAddr("192.0.2.1"), addresses, names...)
	for i := range c.table.Nodes {
		c.table.Nodes[i].Addresses = []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)})}
	}
	for _, name := range names {
		c.nodes[name] = &member{name: name, running: true, since: c.now}
	}
	c.settle()
	c.pass(time.Minute)
	return c
}

// live is who is alive, as a node sees it.
func (c *fleet) live(seer *member) Live {
	l := Live{Nodes: map[string]*Condition{}}
	for name, n := range c.nodes {
		if !n.running || n != seer && (n.cut || seer.cut) {
			continue
		}
		condition := &Condition{Leaving: n.leaving, Since: n.since}
		if !n.excluded {
			condition.Offers = []uint32{OfferHash(c.table.Offers[0])}
		}
		l.Nodes[name] = condition
	}
	return l
}

// settle lets all nodes see what is so now.
func (c *fleet) settle() {
	for _, n := range c.nodes {
		if !n.running {
			continue
		}
		t := c.table
		t.Node = n.name
		if n.excluded {
			t.Offers = nil
		}
		live := c.live(n)
		e := Elect(t, live)
		n.moves = Follow(n.moves, t, live, e, c.now)
		n.kernel, n.written = n.moves.Passings(c.now), c.now
		n.owned = map[netip.Addr]bool{}
		for a, owner := range owners(e) {
			n.owned[a] = owner == n.name
			if owner == n.name && !n.cut {
				if c.had[a] == nil {
					c.had[a] = map[string]bool{}
				}
				c.had[a][owner] = true
			}
		}
	}
}

func (c *fleet) pass(d time.Duration) {
	c.now = c.now.Add(d)
	c.settle()
}

func (c *fleet) stop(name string) {
	n := c.nodes[name]
	n.leaving = true
	c.settle()
	c.now = c.now.Add(300 * time.Millisecond)
	n.running, n.leaving = false, false
	c.settle()
}

func (c *fleet) start(name string) {
	n := c.nodes[name]
	n.running, n.since, n.moves, n.dead, n.cut = true, c.now, Moves{}, false, false
	// Others see it before it counts itself.
	c.settle()
}

func (c *fleet) owner(a netip.Addr) string {
	for _, n := range c.nodes {
		if n.running && !n.cut && n.owned[a] {
			return n.name
		}
	}
	return ""
}

// next is whom a node's kernel passes to.
func (c *fleet) next(node string, a netip.Addr, lingering bool) string {
	n := c.nodes[node]
	for _, p := range n.kernel {
		if p.Address == a && !n.dead && c.now.Sub(n.written) < p.For && (lingering || p.For > linger) {
			if p.To != c.table.Nodes[slices.IndexFunc(c.table.Nodes, func(n Node) bool { return n.Name == p.Node })].Addresses[0] {
				c.t.Fatalf("%s is not an address of %s", p.To, p.Node)
			}
			return p.Node
		}
	}
	return ""
}

// way is which nodes a packet goes through that nobody knows.
func (c *fleet) way(a netip.Addr) []string {
	var way []string
	for at := c.owner(a); at != ""; at = c.next(at, a, false) {
		if slices.Contains(way, at) {
			// Of a process that ended before others moved, the kernel does not know that
			// they did.
			if !slices.ContainsFunc(way, func(name string) bool { return !c.nodes[name].running }) {
				c.t.Fatalf("%s: a packet goes in circles: %v, then %s", a, way, at)
			}
			return way
		}
		way = append(way, at)
	}
	return way
}

// lost returns how many nodes that have had an address and serve it are not on the
// way of its packets.
func (c *fleet) lost() int {
	lost := 0
	for a, had := range c.had {
		way := c.way(a)
		for name := range had {
			if !slices.Contains(way, name) {
				lost++
			}
		}
	}
	return lost
}

func (c *fleet) none(when string) {
	c.t.Helper()
	if lost := c.lost(); lost > 0 {
		c.t.Errorf("%s: packets for %d former owners do not arrive", when, lost)
	}
}

// TestPlannedMoves tells what an administrator does to a node, and what must become
// of packets for the nodes that had its addresses.
func TestPlannedMoves(t *testing.T) {
	c := newFleet(t, 40, "a", "b", "c")
	c.none("at the start")
	c.nodes["a"].excluded = true
	c.settle()
	c.none("excluded")
	c.pass(time.Hour)
	c.none("excluded for an hour")
	c.nodes["a"].excluded = false
	c.settle()
	c.none("back")
	c.pass(time.Minute)
	c.stop("a")
	c.none("its process has gone")
	c.pass(absence - time.Second)
	c.none("its process is still gone")
	c.start("a")
	c.none("its process is back")
	c.pass(time.Minute)
	c.none("a minute later")
	for _, n := range c.nodes {
		if len(n.moves.Passings(c.now)) == 0 {
			t.Errorf("%s passes nothing", n.name)
		}
	}
	c.pass(maxHandover)
	for _, n := range c.nodes {
		if !n.moves.Idle() || len(n.kernel) > 0 {
			t.Errorf("%s still passes %v", n.name, n.kernel)
		}
	}
}

// TestDrainOneAfterTheOther expects packets to find the way through two moves.
func TestDrainOneAfterTheOther(t *testing.T) {
	c := newFleet(t, 60, "a", "b", "c", "d")
	for _, name := range []string{"a", "b"} {
		c.nodes[name].excluded = true
		c.settle()
		c.pass(time.Minute)
	}
	c.none("two are excluded")
	longest := 0
	for a := range c.had {
		longest = max(longest, len(c.way(a)))
	}
	if longest != 3 {
		t.Errorf("the longest way has %d nodes", longest)
	}
	c.stop("c")
	c.none("the new owner's process has gone")
	c.start("c")
	c.none("the new owner's process is back")
}

// TestDeath expects nothing to be passed to a node that died, at once; nor to one
// that has left when it does not come back.
func TestDeath(t *testing.T) {
	for _, planned := range []bool{false, true} {
		c := newFleet(t, 40, "a", "b", "c")
		c.nodes["a"].excluded = true
		c.settle()
		c.pass(time.Minute)
		if planned {
			c.stop("a")
			c.pass(absence)
		}
		c.nodes["a"].running, c.nodes["a"].dead = false, true
		c.settle()
		for _, name := range []string{"b", "c"} {
			for _, p := range c.nodes[name].kernel {
				if p.Node == "a" {
					t.Errorf("planned %t: %s still passes %s to it", planned, name, p.Address)
				}
			}
		}
		c.nodes["b"].running = false
		c.settle()
		if way := c.nodes["c"].kernel; len(way) > 0 {
			t.Errorf("planned %t: the last node passes %v", planned, way)
		}
	}
}

// TestCutOff expects a node that was cut off, and saw nobody, to pass to those that
// had its addresses meanwhile.
func TestCutOff(t *testing.T) {
	c := newFleet(t, 40, "a", "b", "c")
	c.nodes["a"].cut = true
	c.settle()
	for a, had := range c.had {
		delete(had, "a") // what went through it is lost
		if way := c.way(a); slices.Contains(way, "a") {
			t.Errorf("%s is passed to a node that is cut off: %v", a, way)
		}
	}
	c.pass(time.Minute)
	c.nodes["a"].cut = false
	for _, n := range c.nodes {
		n.since = c.now
	}
	c.settle()
	c.none("it came back")
}

// TestLinger expects a line to be a ring for a moment, even if the process of the
// node that has lost an address ends: clients may still send there.
func TestLinger(t *testing.T) {
	c := newFleet(t, 40, "a", "b", "c")
	c.stop("a")
	moved := 0
	for a, had := range c.had {
		if had["a"] {
			moved++
			if next := c.next("a", a, true); next != c.owner(a) {
				t.Errorf("%s: the node that left passes to %q, want %q", a, next, c.owner(a))
			}
		}
	}
	if moved == 0 {
		t.Error("nothing has moved")
	}
	c.pass(linger)
	for a := range c.had {
		if next := c.next("a", a, true); next != "" {
			t.Errorf("%s: still passed to %s", a, next)
		}
	}
}

// TestRestartBeforeJoining expects a process that knows nobody to say so.
func TestRestartBeforeJoining(t *testing.T) {
	table, live := electing(netip.MustParseAddr("192.0.2.1"), 5, "a", "b")
	others := live.without("a")
	m := Follow(Moves{}, table, others, Elect(table, others), time.Now())
	if m.Known() || len(m.Passings(time.Now())) > 0 {
		t.Errorf("%+v", m)
	}
	live.Nodes["a"].Since = time.Now()
	if m = Follow(m, table, live, Elect(table, live), time.Now()); !m.Known() || m.Idle() {
		t.Errorf("%+v", m)
	}
}

// TestMovesProperties excludes and replaces nodes one at a time: packets for whoever
// had an address just before must find it, and, while no process is replaced, those
// for all that ever had it. Whatever else happens, no packet goes in circles among nodes whose processes run.
func TestMovesProperties(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 7))
		names := []string{"a", "b", "c", "d"}
		c := newFleet(t, 30, names...)
		gentle, wild := seed%3 == 0, seed%3 == 2
		for range 40 {
			before := map[netip.Addr]string{}
			for a := range c.had {
				before[a] = c.owner(a)
			}
			n := c.nodes[names[rng.IntN(len(names))]]
			switch what := rng.IntN(4); {
			case what < 2 || gentle:
				n.excluded = !n.excluded
				c.settle()
			case what == 2 && n.running:
				c.stop(n.name)
				if !wild {
					c.pass(5 * time.Second)
					c.start(n.name)
				}
			case wild && n.running && rng.IntN(2) == 0:
				n.running, n.dead = false, true
				c.settle()
			case !n.running:
				c.start(n.name)
			}
			if !wild {
				for a, was := range before {
					if way := c.way(a); was != "" && len(way) > 0 && !slices.Contains(way, was) {
						t.Fatalf("seed %d: %s was with %s, and packets now go %v", seed, a, was, way)
					}
				}
			}
			c.pass(time.Duration(rng.IntN(20)) * time.Second)
			for a := range c.had {
				way := c.way(a)
				for name := range c.had[a] {
					if gentle && len(way) > 0 && !slices.Contains(way, name) {
						t.Fatalf("seed %d: %s was with %s, and packets go %v", seed, a, name, way)
					}
				}
			}
		}
	}
}

func BenchmarkFollow(b *testing.B) {
	names := make([]string, 100)
	for i := range names {
		names[i] = fmt.Sprintf("node-%03d", i)
	}
	t, live := electing(netip.MustParseAddr("10.0.0.1"), 10_000, names...)
	for _, c := range live.Nodes {
		c.Since = time.Unix(1, 0)
	}
	e := Elect(t, live)
	m := Follow(Moves{}, t, live, e, time.Unix(2, 0))
	for b.Loop() {
		m = Follow(m, t, live, e, time.Unix(3, 0))
	}
}
