package l2

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// stage is a herald in a bubble, and what it says, with times.
type stage struct {
	*herald
	started time.Time
	log     bytes.Buffer

	mu   sync.Mutex
	mute bool // there is no address to ask from
	said []string
	last map[*claim]time.Time // announcements
}

// newStage must be called in a bubble.
func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{started: time.Now(), last: map[*claim]time.Time{}}
	s.herald = newHerald(slog.New(slog.NewTextHandler(&s.log, nil)), s.hear)
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { s.run(ctx) })
	t.Cleanup(func() {
		cancel()
		done.Wait()
	})
	return s
}

func (s *stage) hear(c *claim, question bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	what := "announce"
	if question {
		what = "ask"
	} else {
		s.last[c] = time.Now()
	}
	s.said = append(s.said, fmt.Sprintf("%s %s %s", time.Since(s.started), what, c.address))
	return !s.mute
}

// until lets time pass, and returns what has been said.
func (s *stage) until(d time.Duration) []string {
	time.Sleep(time.Until(s.started.Add(d)))
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	said := s.said
	s.said = nil
	return said
}

func newClaim(address string) *claim {
	return &claim{address: netip.MustParseAddr(address), port: &port{name: "eth0"}, counters: &counters{}}
}

func expectSaid(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("said %q\nwant %q", got, want)
	}
}

func TestSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newStage(t), newClaim("192.0.2.1")
		s.gain([]*claim{c})
		expectSaid(t, s.until(time.Minute), "0s announce 192.0.2.1", "100ms announce 192.0.2.1", "500ms announce 192.0.2.1",
			"1s announce 192.0.2.1", "2s announce 192.0.2.1", "4s announce 192.0.2.1", "5s ask 192.0.2.1")
		if n := c.counters.gratuitous.Load(); n != 6 {
			t.Errorf("%d announcements are counted, want 6", n)
		}
	})
}

// TestLost expects silence from the moment an address is lost.
func TestLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, lost, kept := newStage(t), newClaim("192.0.2.1"), newClaim("192.0.2.2")
		s.gain([]*claim{lost, kept})
		s.until(600 * time.Millisecond)
		s.lose([]*claim{lost})
		s.heard(lost, station, true)
		expectSaid(t, s.until(time.Minute), "1s announce 192.0.2.2", "2s announce 192.0.2.2", "4s announce 192.0.2.2", "5s ask 192.0.2.2")
		if len(s.rivals) != 0 {
			t.Error("a conflict about a lost address is remembered")
		}
	})
}

// TestAnew begins again while announcements are under way: an interface was down.
func TestAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newStage(t), newClaim("192.0.2.1")
		s.gain([]*claim{c})
		s.until(1500 * time.Millisecond)
		s.gain([]*claim{c})
		expectSaid(t, s.until(time.Minute), "1.5s announce 192.0.2.1", "1.6s announce 192.0.2.1", "2s announce 192.0.2.1",
			"2.5s announce 192.0.2.1", "3.5s announce 192.0.2.1", "5.5s announce 192.0.2.1", "6.5s ask 192.0.2.1")
	})
}

// TestPace gains 1,000 addresses at once, and some more a little later: all are
// announced once before any of them is announced again, and never more than the
// budget in a second.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		gain := func(third, count int) {
			var claims []*claim
			for i := range count {
				claims = append(claims, newClaim(fmt.Sprintf("10.%d.%d.%d", third, i/250, i%250)))
			}
			s.gain(claims)
		}
		gain(0, 1000)
		time.Sleep(500 * time.Millisecond)
		gain(1, 300)
		said := s.until(time.Minute)
		times := make([]time.Duration, len(said))
		count := map[string]int{}
		for i, line := range said {
			at, what, _ := strings.Cut(line, " ")
			times[i], _ = time.ParseDuration(at)
			count[what]++
			if i < 1300 && count[what] > 1 {
				t.Fatalf("%q is said again before everything was said once", line)
			}
		}
		for what, n := range count {
			if want := 6; strings.HasPrefix(what, "announce") && n != want || strings.HasPrefix(what, "ask") && n != 1 {
				t.Errorf("%q was said %d times", what, n)
			}
		}
		if len(said) != 1300*7 {
			t.Errorf("%d things were said, want %d", len(said), 1300*7)
		}
		for i := range times {
			if i >= 1200 && times[i]-times[i-1200] < time.Second {
				t.Fatalf("more than 1200 things were said between %s and %s", times[i-1200], times[i])
			}
		}
		if last := times[len(times)-1]; last > 12*time.Second {
			t.Errorf("the last was said after %s", last)
		}
	})
}

// TestHandover has the new owner announce an address which this node loses a
// moment later: no word of it, and no conflict.
func TestHandover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newStage(t), newClaim("192.0.2.1")
		s.heard(c, station, true)
		s.until(300 * time.Millisecond)
		s.lose([]*claim{c})
		expectSaid(t, s.until(time.Minute))
		if s.log.Len() > 0 || len(s.conflicts()) > 0 {
			t.Errorf("a handover is a conflict: %s %v", s.log.String(), s.conflicts())
		}
	})
}

// TestConflict has another machine claim an address and answer every question for
// half a minute, then go.
func TestConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newStage(t), newClaim("192.0.2.1")
		go func() {
			for time.Since(s.started) < 30*time.Second {
				s.heard(c, station, true)
				time.Sleep(100 * time.Millisecond)
			}
		}()
		said := s.until(28 * time.Second)
		expectSaid(t, said, "1s announce 192.0.2.1", "1s ask 192.0.2.1", "3s ask 192.0.2.1", "6s ask 192.0.2.1", "11s ask 192.0.2.1",
			"12s announce 192.0.2.1", "20s ask 192.0.2.1", "23s announce 192.0.2.1")
		want := Conflict{Address: c.address, MAC: station[:], Interface: "eth0", Since: s.started}
		if got := s.conflicts(); len(got) != 1 || got[0].String() != want.String() || !got[0].Since.Equal(want.Since) {
			t.Errorf("conflicts are %v, want %v", got, want)
		}
		<-s.changed
		// The last that is heard of it comes at 29.9 s.
		expectSaid(t, s.until(time.Minute), "29s ask 192.0.2.1", "38s ask 192.0.2.1", "39s ask 192.0.2.1",
			"40s announce 192.0.2.1", "42s announce 192.0.2.1", "43s ask 192.0.2.1")
		if got := s.conflicts(); len(got) > 0 {
			t.Errorf("conflicts are %v, want none", got)
		}
		<-s.changed
		if n := strings.Count(s.log.String(), "\n"); n != 2 || !strings.Contains(s.log.String(), "mac=02:00:00:00:00:01") {
			t.Errorf("logged %d lines, want one each for begin and end:\n%s", n, s.log.String())
		}
	})
}

// TestUnasked has another machine claim an address once, while there is no address to ask
// from: it is no less there because of that, but not for ever.
func TestUnasked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newStage(t), newClaim("fd00::1")
		s.mute = true
		s.heard(c, station, false)
		s.until(9 * time.Second)
		if len(s.conflicts()) != 1 {
			t.Error("who was not asked counts as silent")
		}
		s.until(15 * time.Second)
		if len(s.conflicts()) != 0 {
			t.Error("who is not heard for 15 seconds is still a conflict")
		}
	})
}

// TestAnswered is a conflict that only a question brings to light. It is not
// announced against: who answers just this node has changed nobody's cache.
func TestAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newStage(t), newClaim("192.0.2.1")
		s.gain([]*claim{c})
		s.until(5 * time.Second)
		s.heard(c, station, false)
		expectSaid(t, s.until(7500*time.Millisecond), "6s ask 192.0.2.1", "7s ask 192.0.2.1")
		if len(s.conflicts()) != 1 {
			t.Error("no conflict")
		}
	})
}

// TestRivals has two nodes mean to be the owner for a minute, each hearing the
// other. The one that gained the address last has the last word, and when one
// of them gives way, whichever it is, the other has.
func TestRivals(t *testing.T) {
	for _, leaves := range []string{"old", "new"} {
		synctest.Test(t, func(t *testing.T) {
			nodes := map[string]*stage{"old": newStage(t), "new": newStage(t)}
			c := map[string]*claim{"old": newClaim("192.0.2.1"), "new": newClaim("192.0.2.1")}
			mac := map[string]hardware{"old": station, "new": own}
			gained := map[string]bool{"old": true}
			var gone string
			var last string // who has the clients' caches
			announcements := 0
			var mu sync.Mutex
			for name, s := range nodes {
				other := map[string]string{"old": "new", "new": "old"}[name]
				s.say = func(_ *claim, question bool) bool {
					mu.Lock()
					defer mu.Unlock()
					if !question {
						last = name
						announcements++
					}
					if gained[other] && gone != other {
						// On another goroutine, as the network is.
						go func() {
							if !question {
								nodes[other].heard(c[other], mac[name], true)
							} else if nodes[other].isHeld(c[other]) {
								s.heard(c[name], mac[other], false)
							}
						}()
					}
					return true
				}
			}
			nodes["old"].gain([]*claim{c["old"]})
			nodes["old"].until(20 * time.Second)
			mu.Lock()
			gained["new"] = true
			mu.Unlock()
			nodes["new"].gain([]*claim{c["new"]})
			nodes["old"].until(80 * time.Second)
			if last != "new" || announcements > 16 {
				t.Errorf("the %s owner has the last word, after %d announcements", last, announcements)
			}
			if len(nodes["old"].conflicts()) != 1 || len(nodes["new"].conflicts()) != 1 {
				t.Error("one of the nodes knows of no conflict")
			}
			mu.Lock()
			gone = leaves
			mu.Unlock()
			nodes[leaves].lose([]*claim{c[leaves]})
			nodes["old"].until(100 * time.Second)
			if last == leaves {
				t.Errorf("the %s owner went, and the clients still have it", leaves)
			}
			if len(nodes["old"].conflicts())+len(nodes["new"].conflicts()) != 0 {
				t.Error("the conflict has no end")
			}
		})
	}
}

func (h *herald) isHeld(c *claim) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !c.lost
}

// TestForged has somebody claim 1,000 addresses over and over under changing
// hardware addresses, and expects bounded traffic and a bounded log.
func TestForged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		var claims []*claim
		for i := range 1000 {
			claims = append(claims, newClaim(fmt.Sprintf("10.0.%d.%d", i/250, i%250)))
		}
		for i := range 600 {
			for n, c := range claims {
				s.heard(c, hardware{2, 0, byte(i >> 8), byte(i), byte(n >> 8), byte(n)}, true)
			}
			time.Sleep(100 * time.Millisecond)
		}
		said := s.until(61 * time.Second)
		if most := 61*1000 + 200; len(said) > most {
			t.Errorf("%d things were said, at most %d", len(said), most)
		}
		if n := strings.Count(s.log.String(), "\n"); n > conflictBurst+7 || n == 0 {
			t.Errorf("%d lines were logged", n)
		}
		if n := len(s.conflicts()); n != 1000 {
			t.Errorf("%d conflicts, want 1000", n)
		}
	})
}
