package proxy

import (
	"errors"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7/http2"
)

const (
	// streamWindow and sessionWindow are how much of bodies is held before it is sent on.
	streamWindow, sessionWindow = 128 << 10, 1 << 20
	// restAfter is when a connection without requests gives its buffers back.
	restAfter = 2 * time.Second
)

var (
	errSlow = errors.New("the peer does not take what it is sent")
	errIdle = errors.New("the connection is not needed any more")
	// errPanic is that the proxy has a bug.
	errPanic = errors.New("the proxy has failed")
)

// session is a client's connection of HTTP/2.
type session struct {
	mux
	conn *conn
	// bulk holds what has been received, up to end; nil if nothing has.
	bulk *[bulkSize]byte
	end  int
	// fresh are streams that have just been opened.
	fresh []*http2.Stream
	// since is when what has come in part began, quiet when the last request ended; 0 if
	// nothing has, or there is one.
	since, quiet int64
	// announced is when the client was told that the connection will end.
	announced int64
	// over ends the connection.
	over bool
}

// http2 serves the connection until its end, as HTTP/2. What has been received of it
// already is in first.
func (c *conn) http2(first []byte) {
	c.idle.Store(false)
	c.socket.arm(0)
	m := &session{conn: c}
	config := c.proxy.settings()
	h2 := http2.NewServer(http2.Limits{
		Head: config.MaxHead, Fields: config.MaxFields, Streams: config.MaxStreams, StreamWindow: streamWindow, ConnWindow: sessionWindow,
		Connect: config.carries(),
	})
	h2.Opened = func(s *http2.Stream) { m.fresh = append(m.fresh, s) }
	h2.Reset = func(s *http2.Stream) {
		if d, ok := s.Owner.(*inbound); ok {
			d.lost()
		}
	}
	write := c.socket.wait
	if s, ok := c.in.(*secure); ok {
		write = s.Conn.Write
		s.busy = func() bool { return m.bulk != nil }
	}
	m.mux.begin(c.proxy, c.socket, write, h2)
	defer m.rescue()
	m.since = c.tick()
	c.socket.watch(m.watch)
	m.take(first)
	c.release()
	for !m.over {
		if err := c.in.Each(m.serve); err != nil {
			m.over = true
		}
	}
	m.finish()
}

// take handles what was received before.
func (m *session) take(first []byte) {
	if len(first) > 0 {
		m.bulk = m.proxy.bulks.Get().(*[bulkSize]byte)
		m.end = copy(m.bulk[:], first)
	}
	m.handle()
}

// serve reads what has come and has it handled. It reports whether to wait for more.
func (m *session) serve() bool {
	for !m.over {
		if m.bulk == nil {
			m.bulk = m.proxy.bulks.Get().(*[bulkSize]byte)
		}
		space := m.bulk[m.end:]
		n, err := m.conn.in.Read(space)
		if errors.Is(err, errNothing) {
			m.rest()
			return true
		}
		if err != nil {
			m.over = true
			break
		}
		m.end += n
		m.handle()
		if n < len(space) {
			m.rest()
			return !m.over
		}
	}
	return false
}

// rest gives the buffer back if it is empty.
func (m *session) rest() {
	if m.bulk != nil && m.end == 0 {
		m.proxy.bulks.Put(m.bulk)
		m.bulk = nil
	}
}

// handle handles the frames in the buffer, and has new requests answered.
func (m *session) handle() {
	m.mu.Lock()
	defer m.mu.Unlock()
	moved := false
	if m.bulk != nil {
		n, err := m.h2.Feed(m.bulk[:m.end])
		if err != nil {
			m.over = true
		}
		if reason := (*http2.Error)(nil); errors.As(err, &reason) {
			m.proxy.tally.refuse(400)
		}
		m.end = copy(m.bulk[:], m.bulk[n:m.end])
		moved = n > 0
	}
	switch whole := m.h2.Whole(); {
	case whole && m.end == 0:
		m.since = 0
	case whole && moved, m.since == 0: // another frame than before is there in part
		m.since = m.proxy.clock.now()
	}
	for _, s := range m.fresh {
		m.open(s)
	}
	clear(m.fresh)
	m.fresh = m.fresh[:0]
	m.flushLater()
	m.throttle(maxOwed) // a client that asks for answers has to take them
}

// open has a request answered, unless there are too many in all.
func (m *session) open(s *http2.Stream) {
	m.quiet = 0
	if s.Err != nil {
		m.h2.Release(s) // reset at once
		return
	}
	if !m.proxy.ask(m.conn.guest) {
		m.h2.Cancel(s, http2.RefusedStream)
		m.h2.Release(s)
		return
	}
	m.proxy.serving.Add(1)
	j := job{m, s}
	select {
	case m.proxy.jobs <- j:
	default:
		go m.proxy.work(j)
	}
}

// job is a request of HTTP/2 to be answered.
type job struct {
	session *session
	stream  *http2.Stream
}

// maxWaiting bounds the goroutines that wait for a job: their stacks have grown to what
// it takes.
const maxWaiting = 128

// work does a job, and then others.
func (p *Proxy) work(j job) {
	for {
		j.session.answer(j.stream)
		j = job{}
		if p.waiting.Add(1) > maxWaiting {
			p.waiting.Add(-1)
			return
		}
		select {
		case j = <-p.jobs:
			p.waiting.Add(-1)
		case <-p.ctx.Done():
			return
		}
	}
}

// finish ends what is left. The client may still be sending, so it is waited for a
// while, lest it loses the last answers.
func (m *session) finish() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.flush()
	for m.writing && !m.dead {
		m.changed.Wait() // somebody else is at it
	}
	m.socket.watch(nil)
	_ = m.h2.Fail(errIdle)
	m.rest()
	m.conn.linger = !m.dead
}

// watch is called every tick: it ends the connection when a time is up, and tells the
// client before it ends for another reason (RFC 9113, section 6.8).
func (m *session) watch(now int64) {
	defer m.rescue()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mux.watch(now)
	c, config := m.conn, m.proxy.settings()
	active := m.h2.Active() > 0
	switch {
	case active:
		m.quiet = 0
	case m.quiet == 0:
		m.quiet = now
	case now-m.quiet > int64(restAfter) && !m.writing:
		m.spare = nil
		m.h2.Rest()
	}
	drains := c.listener.draining.Load() || m.proxy.closing.Load()
	switch {
	case m.dead:
	case m.since != 0 && now-m.since > int64(config.HeadTimeout), m.quiet != 0 && now-m.quiet > int64(config.IdleTimeout):
		m.h2.Stop()
		m.poke()
	case drains && m.announced == 0:
		m.announced = now
		m.h2.Announce()
		m.h2.Ping()
	case m.announced != 0 && (m.h2.Pongs > 0 || now-m.announced > int64(patience)):
		if m.h2.Stop(); !active {
			m.poke()
		}
	}
	m.flushLater()
}

// poke has the read that waits for the client end at the next tick.
func (m *session) poke() { m.socket.arm(1) }
