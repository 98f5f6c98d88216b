package nft

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// TCP connections to backends that left: those that go on stay where they are, so
// that a backend can finish what it has begun. Those that are over must not take new
// ones from the same port of the client along. What a client's SYN does in each state
// of conntrack (net/netfilter/nf_conntrack_proto_tcp.c, tcp_conntracks and what
// nf_conntrack_tcp_packet does besides):
//
//	TIME_WAIT   the rules decide anew: both sides had closed
//	CLOSE       the rules decide anew if the client had sent the RST, or a FIN had
//	            been seen; if the backend had, the SYN goes to it, and its answer, or
//	            its next RST, keeps the connection for 10 seconds more
//	SYN_SENT    is a repetition, and goes to the same backend
//	SYN_RECV, ESTABLISHED, FIN_WAIT, CLOSE_WAIT, LAST_ACK
//	            goes to the same backend; data, or repetitions of it, may still come
//
// So CLOSE is forgotten, and SYN_SENT if no answer came in time: the client's next
// repetition goes to another backend.

// States of a TCP connection (TCP_CONNTRACK_*).
const (
	tcpSynSent = 1
	tcpClose   = 8
)

const (
	// synAnswer is how long a SYN waits for an answer before the client repeats it
	// (RFC 6298, section 2).
	synAnswer = time.Second
	// firstRest and longestRest are between two looks at the connections; the first
	// one comes at once. CLOSE lasts 10 seconds.
	firstRest, longestRest = time.Second, 4 * time.Second
	// restRatio is how many times as long as the last look a rest is at least.
	restRatio = 20
	// endsWithin is for how long the connections of a backend that left are looked
	// at: twice the grace that pods have unless they say otherwise.
	endsWithin = time.Minute
)

// ended is what looks at TCP connections need. They may have to pass a million
// entries by, and Apply does not wait for them.
type ended struct {
	// stale is guarded by the Plane's mutex.
	stale stale
	wake  chan struct{}
	// socket is one of its own, as that of the Plane is for Apply.
	socket *socket
}

func newEnded() (*ended, error) {
	s, err := openSocket()
	if err != nil {
		return nil, err
	}
	return &ended{stale: noneStale(), wake: make(chan struct{}, 1), socket: s}, nil
}

// notify makes a look due, unless nobody left.
func (e *ended) notify() {
	if e.stale.empty() {
		return
	}
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// forgetEnded looks at TCP connections after backends have left: at once, and again
// for as long as one of theirs is there that may end, but not for longer than
// endsWithin.
func (p *Plane) forgetEnded(ctx context.Context) {
	rest := longestRest
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.ended.wake:
			rest = firstRest
		case <-again:
			rest = min(2*rest, longestRest)
		}
		start := time.Now()
		more, err := p.lookForEnded(start)
		if err != nil {
			p.log.Warn("forgetting TCP connections to backends that left", "error", err)
		}
		// However often backends leave, looks take but a part of the time.
		least := time.NewTimer(max(firstRest, restRatio*time.Since(start)))
		select {
		case <-ctx.Done():
			least.Stop()
			return
		case <-least.C:
		}
		again = nil
		if more {
			again = time.After(rest - min(rest, firstRest))
		}
	}
}

// lookForEnded looks once, and tells whether to look again.
func (p *Plane) lookForEnded(now time.Time) (more bool, err error) {
	p.mu.Lock()
	if !p.written {
		defer p.mu.Unlock()
		return !p.ended.stale.empty(), nil // others removed the table, which is restored soon
	}
	s := p.ended.stale
	s.frontends, s.nodes = maps.Clone(s.frontends), slices.Clone(s.nodes)
	have := &state{entries: p.have.entries, node: p.have.node, ranges: p.have.ranges}
	p.mu.Unlock()

	filter := newStaleFilter(s, have, desired.TCP)
	left := map[lb.Frontend]bool{}
	which := func(f flow) bool {
		frontend, stale := filter.matches(f)
		if !stale {
			return false
		}
		if f.state == tcpClose || f.state == tcpSynSent && now.Sub(s.since(frontend)) >= synAnswer {
			return true
		}
		left[frontend] = true
		return false
	}
	var failed []error
	for _, six := range []bool{false, true} {
		if s.concerns(six) {
			failed = append(failed, p.forgetFamily(p.ended.socket, six, filter.protocol, statusDNAT, which))
		}
	}
	err = errors.Join(failed...)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended.stale.settle(now, func(f lb.Frontend, since time.Time) bool {
		return since.Equal(s.frontends[f]) && !left[f] && err == nil
	}, s.all, len(left) == 0 && err == nil)
	return !p.ended.stale.empty(), err
}

// since returns when a frontend was noted.
func (s *stale) since(f lb.Frontend) time.Time {
	if at, noted := s.frontends[f]; noted {
		return at
	}
	return s.all
}

// settle drops what is done, and what was noted too long ago.
func (s *stale) settle(now time.Time, done func(lb.Frontend, time.Time) bool, all time.Time, allDone bool) {
	maps.DeleteFunc(s.frontends, func(f lb.Frontend, since time.Time) bool {
		return done(f, since) || now.Sub(since) >= endsWithin
	})
	if s.all.Equal(all) && allDone || now.Sub(s.all) >= endsWithin {
		s.all = time.Time{}
	}
	if s.empty() {
		s.nodes = nil
	}
}
