package proxy

import (
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

const (
	// answeredIdle is how long a session lasts on which nothing moves once the client has
	// an answer, drainIdle that of any while the listener drains.
	answeredIdle = time.Minute
	drainIdle    = 2 * time.Second
	// drainMost is how long a listener goes on that is wanted no more, whatever moves.
	drainMost = 10 * time.Second
	// sampled is how many sessions are looked at for one that makes room for another, at
	// most: of eligible ones sampledFor.
	sampled, sampledFor = 64, 8
)

// flowKey is what datagrams of one session have in common.
type flowKey struct {
	client netip.AddrPort
	to     destination
}

// flowSession is a client of a UDP listener that speaks with an endpoint.
type flowSession struct {
	listener *datagrams
	key      flowKey
	who      netip.Addr // whom it counts for
	up       *net.UDPConn
	raw      syscall.RawConn
	endpoint *endpoint
	meter    *streamMeter
	begin    int64
	// state is the one by which the endpoint was last found to be right; only the listener's
	// goroutine uses it.
	state *state
	// moved is when a datagram was last passed on; answered is set if the last one was the
	// endpoint's.
	moved    atomic.Int64
	answered atomic.Bool
}

// pass passes on what a client has sent. What cannot be is dropped, as datagrams are.
func (l *datagrams) pass(key flowKey, b []byte) {
	now, spec := l.current()
	stream := spec.Stream("")
	l.mu.Lock()
	s := l.sessions[key]
	l.mu.Unlock()
	if s != nil && s.state != now {
		if from := now.backendOf(stream); from == nil || !slices.Contains(from.all, s.endpoint) {
			l.end(s) // what it spoke with is there no more
			s = nil
		} else {
			s.state = now
		}
	}
	if s == nil {
		if s = l.begin(key, now, stream); s == nil {
			l.proxy.tally.shed.Add(1)
			return
		}
	}
	s.answered.Store(false)
	s.moved.Store(l.proxy.clock.now())
	s.meter.received.Add(uint64(len(b)))
	_ = s.raw.Write(func(fd uintptr) bool {
		_, _ = send(int(fd), b)
		return true
	})
}

// backendOf returns the backend of a Stream of UDP; nil if there is none.
func (s *state) backendOf(stream *l7.Stream) *backend {
	if stream == nil || len(stream.Backends) == 0 {
		return nil
	}
	b, _ := s.backends.Get(stream.Backends[0].Backend)
	return b
}

// begin begins a session; nil: there can be none.
func (l *datagrams) begin(key flowKey, now *state, stream *l7.Stream) *flowSession {
	p, client := l.proxy, key.client.Addr().Unmap()
	from := now.backendOf(stream)
	if from == nil || l.draining.Load() || !stream.Allows(client) {
		return nil
	}
	e := from.ofClient(key.client)
	if e == nil || e.host != "" || p.leadsBack(now, e.address) {
		return nil
	}
	who := filter.Client(client)
	if !p.flows.take(who) && !(l.makeRoom(who) && p.flows.take(who)) {
		return nil
	}
	up, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(e.address))
	if err != nil {
		p.flows.give(who)
		return nil
	}
	s := &flowSession{listener: l, key: key, who: who, up: up, endpoint: e, state: now, meter: p.tally.stream(stream), begin: p.clock.now()}
	if s.raw, err = up.SyscallConn(); err != nil {
		_ = up.Close()
		p.flows.give(who)
		return nil
	}
	s.moved.Store(s.begin)
	l.mu.Lock()
	l.sessions[key] = s
	l.mu.Unlock()
	l.meter.accepted.Add(1)
	l.meter.open.Add(1)
	s.meter.open.Add(1)
	p.serving.Go(func() { p.shield(s.answers) })
	return s
}

// ofClient returns the endpoint for a client: always the same one as long as it is there,
// so that a session which was forgotten goes on where it was (rendezvous hashing).
func (b *backend) ofClient(client netip.AddrPort) *endpoint {
	all := b.usable.Load().endpoints
	if len(all) == 0 {
		return nil
	}
	text := client.Addr().AsSlice()
	return preferred(all, xxhash.Sum64(append(text, byte(client.Port()>>8), byte(client.Port()))), 1, nil)
}

// answers passes on what the endpoint sends, until the session ends. Memory is needed
// only while something moves.
func (s *flowSession) answers() {
	l, p := s.listener, s.listener.proxy
	defer l.end(s)
	for {
		var (
			b     *[bulkSize]byte
			n     int
			errno unix.Errno
		)
		err := s.raw.Read(func(fd uintptr) bool {
			b = p.bulks.Get().(*[bulkSize]byte)
			if n, errno = receive(int(fd), b[:]); errno == unix.EAGAIN {
				p.bulks.Put(b)
				b = nil
			}
			return b != nil
		})
		if b != nil && err == nil && errno == 0 {
			s.answered.Store(true)
			s.moved.Store(p.clock.now())
			s.meter.sent.Add(uint64(n))
			_, _, _ = l.socket.WriteMsgUDPAddrPort(b[:n], s.key.to.message[:s.key.to.length], s.key.client)
		}
		if b != nil {
			p.bulks.Put(b)
		}
		if err != nil || errno != 0 { // closed, or the endpoint's host has said that nobody is there
			return
		}
	}
}

// end forgets a session; it can be called more than once.
func (l *datagrams) end(s *flowSession) {
	l.mu.Lock()
	is := l.sessions[s.key] == s
	if is {
		delete(l.sessions, s.key)
	}
	l.mu.Unlock()
	_ = s.up.Close()
	if !is {
		return
	}
	l.proxy.flows.give(s.who)
	l.meter.open.Add(-1)
	s.meter.open.Add(-1)
	now := l.proxy.clock.now()
	s.meter.count(passedOn, now-s.begin, now)
}

// prune ends the sessions on which nothing has moved for too long, and returns how many
// are left.
func (l *datagrams) prune(now int64) int {
	most := l.proxy.settings().StreamTimeout
	answered := min(most, answeredIdle)
	if l.draining.Load() {
		most, answered = min(most, drainIdle), min(most, drainIdle)
	}
	var over []*flowSession
	l.mu.Lock()
	for _, s := range l.sessions {
		limit := most
		if s.answered.Load() {
			limit = answered
		}
		if now-s.moved.Load() > int64(limit) {
			over = append(over, s)
		}
	}
	left := len(l.sessions) - len(over)
	l.mu.Unlock()
	for _, s := range over {
		l.end(s)
	}
	return left
}

// makeRoom ends the session that has been quiet longest of some: of the same client's if
// it has any among them, else of all. It reports whether there was one.
func (l *datagrams) makeRoom(who netip.Addr) bool {
	var own, any *flowSession
	quieter := func(s, than *flowSession) bool { return than == nil || s.moved.Load() < than.moved.Load() }
	looks, owned := 0, 0
	l.mu.Lock()
	for _, s := range l.sessions { // in no order
		if s.who == who {
			owned++
			if quieter(s, own) {
				own = s
			}
		}
		if looks < sampledFor && quieter(s, any) {
			any = s
		}
		if looks++; looks == sampled || owned == sampledFor {
			break
		}
	}
	l.mu.Unlock()
	if own == nil && !l.proxy.flows.has(who) { // else it has its share, at another listener
		own = any
	}
	if own == nil {
		return false
	}
	l.end(own)
	return true
}
