package bfd

import (
	"fmt"
	"time"
)

// slow is how often a session that is not up sends (RFC 5880, section 6.8.3).
const slow = time.Second

// session is one session. It has no clock, sends nothing and reads nothing; its
// caller must not use it from several goroutines at once.
type session struct {
	peer Peer
	// jitter returns a number in [0, 1).
	jitter func() float64

	// The variables of RFC 5880, section 6.8.1.
	state, remoteState State
	local, remote      uint32 // discriminators
	diagnostic         Diagnostic
	transmit, receive  time.Duration // as packets say
	remoteReceive      time.Duration
	remoteTransmit     time.Duration
	remoteMultiplier   uint8
	remoteDemand       bool
	remoteDiagnostic   Diagnostic
	polling            bool
	// While a poll is not answered the times before it count, where the new ones
	// would have the other end wait longer or this one wait less (section 6.8.3).
	sending, listening time.Duration

	heard, next time.Time // the last packet, and when one is due
	since       time.Time
	why         string
	ups, downs  uint64
}

func newSession(now time.Time, p Peer, discriminator uint32, jitter func() float64) *session {
	s := &session{
		peer: p, jitter: jitter, state: Down, remoteState: Down, local: discriminator,
		transmit: max(p.Transmit, slow), receive: p.Receive, remoteReceive: time.Microsecond,
		next: now, since: now, why: "the router has sent no BFD packet yet",
	}
	s.sending, s.listening = s.transmit, s.receive
	return s
}

// configure changes the times of a session, which stays up.
func (s *session) configure(now time.Time, p Peer) {
	s.peer = p
	s.times(now, p.Receive)
}

// times makes packets say what they are to say in this state, and asks the other
// end to confirm it where it changes.
func (s *session) times(now time.Time, receive time.Duration) {
	transmit := s.peer.Transmit
	if s.state != Up {
		transmit = max(transmit, slow)
	}
	if transmit == s.transmit && receive == s.receive {
		return
	}
	s.transmit, s.receive = transmit, receive
	if s.state == Up {
		s.polling, s.next = true, now
		s.sending, s.listening = min(s.sending, transmit), max(s.listening, receive)
		return
	}
	s.sending, s.listening = transmit, receive
}

// hear takes in a packet that is for this session. It tells whether an answer is
// due at once.
func (s *session) hear(now time.Time, p packet) bool {
	s.heard = now
	before := s.pace()
	s.remote, s.remoteState, s.remoteDemand, s.remoteDiagnostic = p.mine, p.state, p.demand, p.diagnostic
	s.remoteReceive, s.remoteTransmit, s.remoteMultiplier = p.receive, p.transmit, p.multiplier
	if s.polling && p.final {
		s.polling, s.sending, s.listening = false, s.transmit, s.receive
	}
	switch {
	case p.state == AdminDown:
		if s.state != Down {
			s.become(now, Down, NeighborDown, "the router has switched BFD off")
		}
	case s.state == Down && p.state == Down:
		s.become(now, Init, NoDiagnostic, "the router does not answer yet")
	case s.state == Down && p.state == Init, s.state == Init && (p.state == Init || p.state == Up):
		s.become(now, Up, NoDiagnostic, "")
	case s.state == Up && p.state == Down:
		s.become(now, Down, NeighborDown, "the router says that it does not hear this node any more"+s.says())
	}
	// A shorter interval counts at once (section 6.8.3).
	if pace := s.pace(); pace < before && s.next.After(now.Add(pace)) {
		s.next = now.Add(pace)
	}
	return p.poll
}

// says adds what the other end gave as its reason.
func (s *session) says() string {
	switch s.remoteDiagnostic {
	case DetectionExpired:
		return " (its detection time has expired)"
	case NoDiagnostic, NeighborDown:
		return ""
	}
	return fmt.Sprintf(" (diagnostic %d of RFC 5880)", s.remoteDiagnostic)
}

func (s *session) become(now time.Time, state State, d Diagnostic, why string) {
	switch {
	case state == Up:
		s.ups++
	case s.state == Up:
		s.downs++
	}
	if s.state == Up || state == Up {
		s.since = now
	}
	s.state, s.diagnostic, s.why = state, d, why
	if state != Up {
		s.polling = false
	}
	s.times(now, s.peer.Receive)
	s.next = now // so that the other end learns of it
}

// judge notices that the router has been silent for too long. Then nothing that it
// said counts any more: it may be another process by now, which knows nothing of the
// numbers of the one before.
func (s *session) judge(now time.Time) {
	if s.remote == 0 || now.Before(s.deadline()) {
		return
	}
	why := fmt.Sprintf("no BFD packet of the router for %s", s.detection())
	s.remote, s.remoteReceive, s.remoteDemand = 0, time.Microsecond, false
	if s.state != Down {
		s.become(now, Down, DetectionExpired, why)
	}
}

// detection is how long the router may be silent (RFC 5880, section 6.8.4).
func (s *session) detection() time.Duration {
	return time.Duration(s.remoteMultiplier) * max(s.listening, s.remoteTransmit)
}

func (s *session) deadline() time.Time { return s.heard.Add(s.detection()) }

// pace is the longest time between two packets (RFC 5880, section 6.8.7).
func (s *session) pace() time.Duration { return max(s.sending, s.remoteReceive) }

// silent tells whether no packets are to be sent without a question: a passive end
// waits for the other, and the other may ask for none.
func (s *session) silent() bool {
	return s.peer.Passive && s.remote == 0 || s.remoteReceive == 0 ||
		s.remoteDemand && s.state == Up && s.remoteState == Up && !s.polling
}

// wakes is when the session next has something to do; zero if never.
func (s *session) wakes() time.Time {
	var at time.Time
	if !s.silent() {
		at = s.next
	}
	if s.remote != 0 {
		if d := s.deadline(); at.IsZero() || d.Before(at) {
			at = d
		}
	}
	return at
}

// due tells whether a packet is to be sent now, and when the next one will be.
// Packets of several senders must not fall into step (RFC 5880, section 6.8.7).
func (s *session) due(now time.Time) bool {
	if s.silent() || now.Before(s.next) {
		return false
	}
	s.next = now.Add(time.Duration(float64(s.pace()) * (1 - 0.25*s.jitter())))
	return true
}

// packet returns what the session has to say.
func (s *session) packet(final bool) packet {
	return packet{
		diagnostic: s.diagnostic, state: s.state, poll: s.polling && !final, final: final, multiplier: s.peer.Multiplier,
		mine: s.local, yours: s.remote, transmit: s.transmit, receive: s.receive,
	}
}

// farewell returns a packet by which the other end learns that this one ends the
// session on purpose, which is no fault (RFC 5880, section 6.8.16).
func (s *session) farewell() packet {
	p := s.packet(false)
	p.state, p.diagnostic, p.poll = AdminDown, AdministrativeDown, false
	return p
}
