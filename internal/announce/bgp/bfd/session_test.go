package bfd

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// link carries packets between two sessions, on a clock of its own.
type link struct {
	t     *testing.T
	now   time.Time
	ends  [2]*session
	delay time.Duration
	// lose tells whether the packet that an end sends is lost.
	lose  func(from int) bool
	air   []flight
	sent  [2]int
	spans [2][]time.Duration // between packets that nobody asked for
	last  [2]time.Time
}

type flight struct {
	to int
	at time.Time
	packet
}

func newLink(t *testing.T, a, b Peer) *link {
	random := rand.New(rand.NewPCG(1, 2))
	l := &link{t: t, now: time.Unix(1000, 0), delay: time.Millisecond, lose: func(int) bool { return false }}
	for i, p := range []Peer{a, b} {
		l.ends[i] = newSession(l.now, p, uint32(i+1), random.Float64)
	}
	return l
}

func (l *link) send(from int, p packet) {
	l.sent[from]++
	if !l.lose(from) {
		// What cannot be read back is no packet.
		read, err := parse(p.append(nil))
		if err != nil || read != p {
			l.t.Fatalf("%+v reads %+v, %v", p, read, err)
		}
		l.air = append(l.air, flight{1 - from, l.now.Add(l.delay), p})
	}
}

// run lets some time pass, from one event to the next.
func (l *link) run(d time.Duration) {
	for end := l.now.Add(d); ; l.now = l.next(end) {
		air := l.air
		l.air = nil
		for _, f := range air {
			if l.now.Before(f.at) {
				l.air = append(l.air, f)
			} else if l.ends[f.to].hear(l.now, f.packet) {
				l.send(f.to, l.ends[f.to].packet(true))
			}
		}
		for i, s := range l.ends {
			s.judge(l.now)
			if s.due(l.now) {
				l.spans[i] = append(l.spans[i], l.now.Sub(l.last[i]))
				l.last[i] = l.now
				l.send(i, s.packet(false))
			}
		}
		if !l.now.Before(end) {
			return
		}
	}
}

// next is when something happens, or end.
func (l *link) next(end time.Time) time.Time {
	next := end
	for _, f := range l.air {
		if f.at.Before(next) {
			next = f.at
		}
	}
	for i, s := range l.ends {
		at := s.wakes()
		if !at.IsZero() && !at.After(l.now) {
			l.t.Fatalf("end %d wakes at %s, which is over", i, at)
		}
		if !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	return next
}

func (l *link) expect(states ...State) {
	l.t.Helper()
	for i, want := range states {
		if s := l.ends[i]; s.state != want {
			l.t.Fatalf("end %d is %s, want %s (%s)", i, s.state, want, s.why)
		}
	}
}

func times(receive, transmit int, multiplier uint8) Peer {
	return Peer{Receive: time.Duration(receive) * time.Millisecond, Transmit: time.Duration(transmit) * time.Millisecond, Multiplier: multiplier}
}

// TestUp: two ends with all kinds of times find each other, keep the slower pace of
// the two, lose each other within the detection time, and find each other again.
func TestUp(t *testing.T) {
	for _, c := range [][2]Peer{
		{times(50, 50, 3), times(50, 50, 3)}, {times(300, 300, 3), times(50, 50, 3)},
		{times(10, 10, 2), times(1000, 1000, 2)}, {times(100, 2000, 3), times(100, 100, 5)},
		{times(60000, 60000, 2), times(10, 10, 255)},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			l := newLink(t, c[0], c[1])
			pace := [2]time.Duration{max(c[0].Transmit, c[1].Receive), max(c[1].Transmit, c[0].Receive)}
			slowest := max(pace[0], pace[1], slow)
			l.run(4 * slowest)
			l.expect(Up, Up)
			l.spans = [2][]time.Duration{}
			l.run(10 * slowest)
			l.expect(Up, Up)
			for i, spans := range l.spans {
				for _, span := range spans[1:] {
					if span > pace[i]+time.Millisecond || span < pace[i]*3/4 {
						t.Fatalf("end %d sends after %s, its pace is %s", i, span, pace[i])
					}
				}
				if s := l.ends[i]; s.downs != 0 || s.ups != 1 {
					t.Fatalf("end %d: %d ups, %d downs", i, s.ups, s.downs)
				}
				if want := time.Duration(c[1-i].Multiplier) * max(c[i].Receive, c[1-i].Transmit); l.ends[i].detection() != want {
					t.Fatalf("end %d detects in %s, want %s", i, l.ends[i].detection(), want)
				}
			}
			l.lose = func(int) bool { return true }
			l.run(max(l.ends[0].detection(), l.ends[1].detection()) + 10*time.Millisecond)
			l.expect(Down, Down)
			if s := l.ends[0]; s.diagnostic != DetectionExpired || s.remote != 0 || s.why == "" {
				t.Errorf("got %+v", s)
			}
			l.lose = func(int) bool { return false }
			l.run(4 * slowest)
			l.expect(Up, Up)
		})
	}
}

// TestSlow: while there is no session nothing is sent more often than each second.
func TestSlow(t *testing.T) {
	l := newLink(t, times(10, 10, 3), times(10, 10, 3))
	l.lose = func(int) bool { return true }
	l.run(20 * time.Second)
	if l.sent[0] < 20 || l.sent[0] > 28 {
		t.Errorf("%d packets in 20 s", l.sent[0])
	}
}

// TestLoss: what may be missing may be missing, and one direction alone is not
// enough.
func TestLoss(t *testing.T) {
	l := newLink(t, times(50, 50, 4), times(50, 50, 4))
	l.run(3 * time.Second)
	var n [2]int
	l.lose = func(from int) bool { n[from]++; return n[from]%3 != 0 }
	l.run(time.Minute)
	l.expect(Up, Up)
	l.lose = func(from int) bool { return from == 1 }
	for range 1000 {
		if l.run(time.Millisecond); l.ends[1].state == Down {
			break
		}
	}
	l.expect(Down, Down)
	if l.ends[0].diagnostic != DetectionExpired || l.ends[1].diagnostic != NeighborDown {
		t.Errorf("%d and %d", l.ends[0].diagnostic, l.ends[1].diagnostic)
	}
	if want := "the router says that it does not hear this node any more (its detection time has expired)"; l.ends[1].why != want {
		t.Errorf("got %q", l.ends[1].why)
	}
	l.run(10 * time.Second)
	if l.ends[0].ups != 1 || l.ends[1].ups != 1 {
		t.Errorf("up with packets in one direction alone: %+v, %+v", l.ends[0], l.ends[1])
	}
}

// TestPassive: a passive end waits for the other.
func TestPassive(t *testing.T) {
	passive := times(50, 50, 3)
	passive.Passive = true
	l := newLink(t, passive, times(50, 50, 3))
	l.run(3 * time.Second)
	l.expect(Up, Up)
	// The other end is another process now.
	l.ends[1] = newSession(l.now, times(50, 50, 3), 77, rand.Float64)
	l.run(4 * time.Second)
	l.expect(Up, Up)
	l = newLink(t, passive, passive)
	l.run(10 * time.Second)
	l.expect(Down, Down)
	if l.sent != [2]int{} {
		t.Errorf("%d packets", l.sent)
	}
}

// TestTimesChange: a session stays up while its times change, and keeps the new ones.
func TestTimesChange(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	l := newLink(t, times(50, 50, 3), times(50, 50, 3))
	l.run(4 * time.Second)
	for range 200 {
		end := random.IntN(2)
		l.ends[end].configure(l.now, times(10+random.IntN(600), 10+random.IntN(600), uint8(2+random.IntN(4))))
		l.run(time.Duration(1+random.IntN(3000)) * time.Millisecond)
		l.expect(Up, Up)
	}
	l.run(3 * time.Second)
	for i, s := range l.ends {
		if s.polling || s.sending != s.peer.Transmit || s.listening != s.peer.Receive || s.ups != 1 || s.downs != 0 {
			t.Errorf("end %d: %+v", i, s)
		}
	}
}

// TestFarewell: an end that goes on purpose is no fault.
func TestFarewell(t *testing.T) {
	l := newLink(t, times(50, 50, 3), times(50, 50, 3))
	l.run(3 * time.Second)
	l.send(1, l.ends[1].farewell())
	l.lose = func(int) bool { return true }
	l.run(10 * time.Millisecond)
	s := l.ends[0]
	if s.state != Down || s.remoteState != AdminDown || s.why != "the router has switched BFD off" || s.downs != 1 {
		t.Errorf("got %+v", s)
	}
}

// TestDemand: an end that wants no packets gets none, but answers.
func TestDemand(t *testing.T) {
	l := newLink(t, times(50, 50, 3), times(50, 50, 3))
	l.run(3 * time.Second)
	p := l.ends[1].packet(false)
	p.demand, p.poll = true, true
	if !l.ends[0].hear(l.now, p) {
		t.Error("a poll is not answered")
	}
	if !l.ends[0].silent() {
		t.Error("packets are sent in demand mode")
	}
	p.demand, p.receive = false, 0
	l.ends[0].hear(l.now, p)
	if !l.ends[0].silent() {
		t.Error("packets are sent though none are wanted")
	}
}

// TestRandom: whatever an end hears it stays in one of its states, and does not wake
// in the past.
func TestRandom(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	now := time.Unix(1000, 0)
	s := newSession(now, times(50, 50, 3), 1, random.Float64)
	for range 100000 {
		now = now.Add(time.Duration(random.IntN(100)) * time.Millisecond)
		s.hear(now, packet{
			state: State(random.IntN(4)), diagnostic: Diagnostic(random.IntN(32)), poll: random.IntN(2) == 0, final: random.IntN(2) == 0,
			demand: random.IntN(5) == 0, multiplier: uint8(1 + random.IntN(255)), mine: 1 + random.Uint32N(5), yours: random.Uint32N(3),
			transmit: time.Duration(random.Uint32()) * time.Microsecond, receive: time.Duration(random.Uint32()) * time.Microsecond,
		})
		s.judge(now)
		s.due(now)
		if at := s.wakes(); !at.IsZero() && at.Before(now) {
			t.Fatalf("wakes at %s, now is %s: %+v", at, now, s)
		}
		if s.state == AdminDown || s.state > Up || s.detection() < 0 {
			t.Fatalf("%+v", s)
		}
	}
}
