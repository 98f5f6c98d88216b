package probe

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/announce"
)

// detection is that of simulations, late what a step and the way of a packet add.
const (
	detection = 500 * time.Millisecond
	late      = 5 * time.Millisecond
)

// started is a sim in which all have met.
func started(t *testing.T, seed uint64, names ...string) *sim {
	s := newSim(t, seed, names...)
	s.until("all are alive", time.Second, s.everybody(strings.Join(names, "")))
	s.run(time.Second)
	return s
}

// TestStart expects nodes that start together to meet at once, and none to count
// itself as alive before it has heard the others.
func TestStart(t *testing.T) {
	s := newSim(t, 1, "a", "b", "c")
	early := s.never("alive without the others", func() bool {
		for name, n := range s.nodes {
			if n.joined && len(n.silent()) > 0 || n.joined != (n.live().Nodes[name] != nil) {
				return true
			}
		}
		return false
	})
	s.run(300*time.Millisecond, early)
	if !s.everybody("abc")() {
		t.Fatal(s)
	}
	if c := s.nodes["a"].live().Nodes["b"]; !slices.Equal(c.Offers, []uint32{'b'}) || c.Leaving || c.Since.IsZero() {
		t.Errorf("%+v", c)
	}
}

// TestStartBesideDead lets a node wait for one that never answers, but not for
// ever.
func TestStartBesideDead(t *testing.T) {
	s := newSim(t, 1, "a", "b", "c")
	s.kill("c")
	s.nodes["a"] = nil
	s.start("a")
	if took := s.until("they start without c", 3*time.Second, s.everybody("ab")); took < patience*detection-late {
		t.Errorf("after %s", took)
	}
	if took := s.until("c comes later", time.Second, func() bool { return s.nodes["c"] == nil && s.start("c") != nil }); took != 0 {
		t.Error(took)
	}
	s.until("c is there", 300*time.Millisecond, s.everybody("abc"))
}

func TestStartAlone(t *testing.T) {
	s := newSim(t, 1, "a")
	s.until("a is alive", late, s.everybody("a"))
	n := s.nodes["a"]
	n.apply(s.now, nil, false, nil)
	if n.joined || len(n.live().Nodes) > 0 {
		t.Error("a node that the others cannot know of counts itself as alive")
	}
}

// TestDeath expects the end of a process to be noticed in time, whenever it is.
func TestDeath(t *testing.T) {
	s := started(t, 1, "a", "b", "c")
	for i := range 25 {
		s.run(time.Duration(s.rng.IntN(200)) * step)
		s.kill("b")
		took := s.until("b is dead", detection+late, s.everybody("ac"))
		if took < detection-150*time.Millisecond {
			t.Errorf("round %d: dead after %s", i, took)
		}
		if !strings.Contains(s.nodes["a"].log.String(), `msg="a node counts as dead" node=b why="has answered no probe for 5`) {
			t.Fatal(s)
		}
		s.run(time.Duration(s.rng.IntN(20000)) * step)
		s.start("b")
		s.until("b is back", time.Second, s.everybody("abc"))
	}
}

// TestOneWayCut cuts one direction between two of three nodes: both must notice,
// and the third none of it.
func TestOneWayCut(t *testing.T) {
	for seed := range uint64(6) {
		s := started(t, seed, "a", "b", "c")
		s.run(time.Duration(s.rng.IntN(200)) * step)
		s.lost = cut("a", "b")
		unmoved := s.never("c, or whether a and b count themselves as alive, is affected", func() bool {
			return !s.sees("c", "abc") || !s.nodes["a"].joined || !s.nodes["b"].joined
		})
		s.run(detection+late, unmoved)
		if !s.sees("b", "bc") {
			t.Fatalf("b does not notice:\n%s", s)
		}
		s.run(120*time.Millisecond, unmoved)
		if !s.sees("a", "ac") || !strings.Contains(s.nodes["a"].log.String(), "is heard, but has not heard this node") {
			t.Fatalf("a does not notice:\n%s", s)
		}
		s.run(20*time.Second, unmoved)
		s.lost = cut("", "")
		s.until("the way is open again", time.Second, s.everybody("abc"))
	}
}

// TestMute lets nobody hear a node any more: it must not believe itself to be the
// only one left.
func TestMute(t *testing.T) {
	for seed := range uint64(6) {
		s := started(t, seed, "a", "b")
		s.run(time.Duration(s.rng.IntN(200)) * step)
		s.lost = cut("a", "b")
		alone := s.never("a believes itself to be alone", func() bool { return s.sees("a", "a") })
		s.run(detection+late, alone)
		if !s.sees("b", "b") {
			t.Fatal(s)
		}
		s.run(15*time.Second, alone)
		if !s.sees("a", "") || !s.sees("b", "b") {
			t.Fatal(s)
		}
		s.lost = cut("", "")
		s.until("the way is open again", time.Second, s.everybody("ab"))
	}
}

// TestMuteThenAlone ends the process that is heard as well.
func TestMuteThenAlone(t *testing.T) {
	s := started(t, 1, "a", "b")
	s.lost = cut("a", "b")
	s.run(2 * time.Second)
	s.kill("b")
	if took := s.until("a is alone", 3*time.Second, func() bool { return s.sees("a", "a") }); took < patience*detection {
		t.Errorf("after %s", took)
	}
}

// TestLastOneLeft must not take the last packets of a node that dies for a sign
// that it is not heard itself.
func TestLastOneLeft(t *testing.T) {
	for _, misses := range []int{2, 3, 5} {
		for seed := range uint64(30) {
			s := newSim(t, seed, "a", "b")
			s.start("a", func(m *machine) { m.misses = misses })
			// Most of its packets have nothing new to repeat.
			s.start("b", func(m *machine) { m.misses, m.interval = misses, 30*time.Millisecond })
			s.until("both are alive", time.Second, s.everybody("ab"))
			s.run(time.Duration(s.rng.IntN(500)) * step)
			s.kill("b")
			s.run(2*time.Second, s.never("a does not count itself as alive", func() bool { return !s.nodes["a"].joined }))
			if !s.sees("a", "a") {
				t.Fatal(s)
			}
		}
	}
}

// TestIsolation cuts a node off, for longer than it is eager to find the others,
// and expects the parts to meet soon.
func TestIsolation(t *testing.T) {
	for seed := range uint64(10) {
		s := started(t, seed, "a", "b", "c")
		s.lost = func(from, to string) bool { return (from == "a") != (to == "a") }
		s.run(detection + 120*time.Millisecond)
		if !s.sees("a", "a") || !s.sees("b", "bc") {
			t.Fatal(s)
		}
		s.run(eagerness + 5*time.Second)
		s.lost = cut("", "")
		s.until("they meet again", 150*time.Millisecond, s.everybody("abc"))
	}
}

// TestHealed lets two nodes meet again while a third is dead: neither must count itself
// as not alive meanwhile, as then nobody had the addresses.
func TestHealed(t *testing.T) {
	for seed := range uint64(10) {
		s := started(t, seed, "a", "b", "c")
		s.kill("c")
		s.lost = func(string, string) bool { return true }
		s.run(20 * time.Second)
		s.lost = cut("", "")
		shy := s.never("one does not count itself as alive", func() bool { return !s.nodes["a"].joined || !s.nodes["b"].joined })
		s.run(200*time.Millisecond, shy)
		if !s.everybody("ab")() {
			t.Fatal(s)
		}
		s.run(time.Second, shy)
	}
}

// TestLoss expects no node to be taken for dead because of a few lost packets, and
// the time of detection to hold nevertheless.
func TestLoss(t *testing.T) {
	s := started(t, 1, "a", "b", "c")
	s.latency = 20 * time.Millisecond
	s.lost = func(string, string) bool { return s.rng.IntN(20) == 0 }
	s.run(time.Minute, s.never("a node is taken for dead", func() bool { return !s.everybody("abc")() }))
	s.kill("c")
	s.until("c is dead", detection+s.latency+late, s.everybody("ab"))
}

// TestTell expects news to arrive at once, though one packet is lost.
func TestTell(t *testing.T) {
	s := started(t, 1, "a", "b", "c")
	lose := 1
	s.lost = func(from, _ string) bool { lose--; return from == "a" && lose >= 0 }
	n := s.nodes["a"]
	n.leave(s.now)
	n.apply(s.now, s.targets("a"), true, packOffers([]uint32{7, 9}))
	s.until("the others know", 60*time.Millisecond, func() bool {
		return !slices.ContainsFunc([]string{"a", "b", "c"}, func(at string) bool {
			c := s.nodes[at].live().Nodes["a"]
			return !c.Leaving || !slices.Equal(c.Offers, []uint32{7, 9})
		})
	})
	// A node that is not expected any more is gone at once, and to it the others too.
	delete(s.nodes, "c")
	s.nodes["a"].apply(s.now, s.targets("a"), true, nil)
	if !s.sees("a", "ab") {
		t.Error(s)
	}
}

// TestRate counts packets where there are many nodes, and where changes come all
// the time.
func TestRate(t *testing.T) {
	for _, nodes := range []int{2, 100, 1000} {
		for _, restless := range []bool{false, true} {
			s := &sim{t: t, now: time.Now(), nodes: map[string]*node{"a": nil}, sent: map[string]int{}}
			*s = *newSim(t, 1, "a")
			for i := range nodes {
				s.nodes[fmt.Sprint("x", i)] = nil
			}
			n := s.start("a")
			s.lost = func(string, string) bool { return true }
			second, most := 0, 0
			s.run(4*time.Second, func() {
				if second++; second%1000 == 0 {
					if second > 2000 || s.sent["a"] > maxRate { // until then there is news
						most = max(most, s.sent["a"])
					}
					s.sent["a"] = 0
				}
				if restless && second%7 == 0 {
					n.apply(s.now, s.targets("a"), true, packOffers([]uint32{uint32(second)}))
				}
			})
			usual := min(float64(nodes)*10, maxRate)
			if float64(most) > maxRate*1.12 || !restless && float64(most) > usual*1.12 || float64(most) < usual*0.9 || float64(most) > usual*5.6 {
				t.Errorf("%d nodes, restless %v: %d packets a second", nodes, restless, most)
			}
		}
	}
}

// TestManyNodes expects the time of detection that the package says.
func TestManyNodes(t *testing.T) {
	for nodes, want := range map[int]time.Duration{10: 500 * time.Millisecond, 201: 500 * time.Millisecond, 501: 1250 * time.Millisecond, 1001: 2500 * time.Millisecond} {
		m := newMachine("a", 100*time.Millisecond, 5, time.Now(), nil)
		var targets []target
		for i := range nodes - 1 {
			targets = append(targets, target{name: fmt.Sprint(i)})
		}
		m.apply(time.Now(), targets, true, nil)
		if got := m.detection(m.order[0]); got != want {
			t.Errorf("%d nodes: %s, want %s", nodes, got, want)
		}
	}
}

// TestSlowness expects few packets to a node that is gone for long while others
// are there.
func TestSlowness(t *testing.T) {
	s := started(t, 1, "a", "b", "c")
	s.kill("c")
	s.run(eagerness + time.Second)
	before := s.sent["a"]
	s.run(10 * time.Second)
	if sent := s.sent["a"] - before; sent > 100+20+20 || sent < 100+15 {
		t.Errorf("%d packets in 10 s", sent)
	}
}

// TestIntervals lets nodes of different configurations meet.
func TestIntervals(t *testing.T) {
	s := newSim(t, 1, "a", "b")
	s.start("b", func(m *machine) { m.interval = time.Second })
	s.until("both are alive", 3*time.Second, s.everybody("ab"))
	s.run(30*time.Second, s.never("one is taken for dead", func() bool { return !s.everybody("ab")() }))
	s.kill("b")
	if took := s.until("b is dead", 5*time.Second+late, s.everybody("a")); took < 4*time.Second {
		t.Error(took)
	}
}

// TestKeys changes the key of one node after the other, in any order and with long
// pauses, and expects all to stay alive for one another.
func TestKeys(t *testing.T) {
	s := started(t, 1, "a", "b", "c")
	calm := s.never("somebody is taken for dead", func() bool { return !s.everybody("abc")() })
	for _, name := range []string{"b", "c", "a"} {
		s.nodes[name].keys.set(s.now, []byte("new"))
		s.run(10*time.Second, calm)
	}
	again := func() {
		for _, n := range s.nodes {
			n.keys.set(s.now, []byte("new"))
		}
	}
	s.run(10*time.Second, calm, again)
	for name, after := range map[string]time.Duration{"a": 0, "b": 3 * time.Second, "c": 6 * time.Second} {
		s.nodes[name].keys.changed = s.now.Add(after - keyGrace)
	}
	s.run(10*time.Second, calm, again)
	for name, n := range s.nodes {
		if n.keys.previous != nil {
			t.Errorf("%s still has the key before", name)
		}
	}
	s.nodes["a"].keys.set(s.now, []byte("other"))
	s.nodes["a"].keys.previous = nil
	s.until("a node with another key is dead", detection+150*time.Millisecond, func() bool { return s.sees("b", "bc") && s.sees("a", "a") })
	s.nodes["a"].keys.set(s.now, nil)
	if good, _ := s.nodes["a"].keys.check(make([]byte, 100), nil); good {
		t.Error("a packet is good without a key")
	}
}

// TestUnreachable has a node that cannot be probed: nobody waits for it.
func TestUnreachable(t *testing.T) {
	s := newSim(t, 1, "a")
	n := s.nodes["a"]
	n.apply(s.now, []target{{name: "b"}}, true, nil)
	s.run(late)
	if !s.sees("a", "a") || s.sent["a"] > 0 {
		t.Error(s)
	}
	if why := n.why(s.now, n.order[0]); !strings.Contains(why, "no address of a family") {
		t.Error(why)
	}
}

func TestOffersAreBounded(t *testing.T) {
	if n := len(packOffers(make([]uint32, 1000))); n != 4*announce.MaxOffers {
		t.Error(n)
	}
}
