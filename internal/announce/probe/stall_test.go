package probe

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestRestart replaces a process so fast that nobody misses a packet: what the one
// before offered must be forgotten.
func TestRestart(t *testing.T) {
	s := started(t, 1, "a", "b", "c")
	s.kill("b")
	s.run(50 * time.Millisecond)
	before := s.nodes["a"].live().Nodes["b"]
	s.start("b")
	inherited := s.never("b is said to offer what it did before", func() bool {
		c := s.nodes["a"].live().Nodes["b"]
		return c != nil && c.Since.After(before.Since) && len(c.Offers) > 0 && !s.nodes["b"].joined
	})
	s.run(time.Second, inherited)
	after := s.nodes["a"].live().Nodes["b"]
	if !s.everybody("abc")() || !after.Since.After(before.Since) || !slices.Equal(after.Offers, []uint32{'b'}) {
		t.Fatal(s)
	}
	if !strings.Contains(s.nodes["a"].log.String(), "a node's process has been replaced") {
		t.Error(s)
	}
}

// TestReplay sends every packet that there ever was again, many times.
func TestReplay(t *testing.T) {
	s := newSim(t, 1, "a", "b")
	s.recorded = map[string][]flight{}
	s.until("both are alive", time.Second, s.everybody("ab"))
	s.run(time.Second)
	s.start("b")
	s.run(2 * time.Second)
	if !s.everybody("ab")() {
		t.Fatal(s)
	}
	old := slices.Concat(s.recorded["a"], s.recorded["b"])
	s.recorded = nil
	replay := func() {
		for range 3 {
			f := old[s.rng.IntN(len(old))]
			f.at = s.now
			s.flying = append(s.flying, f)
		}
	}
	s.run(5*time.Second, replay, s.never("the living are disturbed", func() bool { return !s.everybody("ab")() }))
	s.kill("b")
	s.run(detection+late, replay)
	s.run(5*time.Second, replay, s.never("the dead is alive, or the living not", func() bool { return !s.sees("a", "a") }))
	// Packets are for one receiver alone.
	for _, f := range old {
		f.to = map[string]string{"a": "b", "b": "a"}[f.to]
		if good, _ := s.nodes["a"].keys.check(f.content, []byte(f.to)); good {
			t.Fatal("a packet for one node is good for another")
		}
	}
}

// TestShortStall freezes a process for less than the time of detection. Others may
// lose it nevertheless, as their last question can be older, but not it them.
func TestShortStall(t *testing.T) {
	s := started(t, 1, "a", "b", "c")
	calm := s.never("somebody is taken for dead", func() bool { return !s.sees("a", "abc") })
	for range 50 {
		s.run(time.Second+time.Duration(s.rng.IntN(200))*step, calm)
		s.freeze("a", time.Duration(200+s.rng.IntN(250))*step, false, calm)
	}
}

// TestStall freezes a process for so long that the others take over.
func TestStall(t *testing.T) {
	for seed := range uint64(6) {
		s := started(t, seed, "a", "b", "c")
		s.run(time.Duration(s.rng.IntN(200)) * step)
		for _, clock := range []bool{false, true} {
			s.freeze("a", 3*time.Second, clock)
			if !s.sees("b", "bc") || !s.sees("a", "") {
				t.Fatal(s) // only what begins anew is announced anew
			}
			robbed := s.never("a claims what others have", func() bool {
				return s.nodes["a"].joined && !(s.sees("a", "abc"))
			})
			s.run(300*time.Millisecond, robbed)
			if !s.everybody("abc")() {
				t.Fatal(s)
			}
			s.run(time.Second, robbed)
		}
	}
}

// TestUnnoticedStall freezes a process and all its clocks, as some hypervisors do: it
// must not take others for dead that merely had lost it.
func TestUnnoticedStall(t *testing.T) {
	s := started(t, 1, "a", "b", "c")
	n := s.nodes["a"]
	n.frozen = true
	s.run(time.Minute)
	n.frozen, n.behind = false, time.Minute
	s.run(time.Second, s.never("a claims what others have", func() bool { return !s.sees("a", "abc") }))
	if !s.everybody("abc")() {
		t.Error(s)
	}
}

// TestStallAlone is a stall of a node that has all addresses anyway.
func TestStallAlone(t *testing.T) {
	s := started(t, 1, "a", "b")
	s.kill("b")
	s.run(5 * time.Second)
	s.freeze("a", 3*time.Second, false)
	s.run(time.Second, s.never("it gives up", func() bool { return !s.sees("a", "a") }))
}

// TestLateAnswers expects answers that take too long, or repeat what was never
// asked, to be none.
func TestLateAnswers(t *testing.T) {
	s := newSim(t, 1, "a", "b")
	s.latency = 260 * time.Millisecond
	s.run(10*time.Second, s.never("it answers too late", func() bool { return s.nodes["a"].anybody() }))
	a := s.nodes["a"]
	k := packet{session: 1, seq: 1, interval: time.Millisecond, echoed: number{a.session, a.order[0].lastSeq + 1}}
	if got := a.hear(s.now, a.order[0], k, false); got != unproven || a.anybody() {
		t.Errorf("a number that was never sent is repeated: %d", got)
	}
}
