package proxy

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7/acme"
	"github.com/fairlead-net/fairlead/internal/l7/http1"
	"github.com/fairlead-net/fairlead/internal/l7/http2"
)

// conn is a client's connection.
type conn struct {
	listener *listener
	proxy    *Proxy
	socket   *socket
	// in is the socket, or TLS over it.
	in   stream
	hop  *http1.Hop
	from netip.AddrPort
	// said are the client and what it connected to, if another than the peer is the client.
	said  *[2]netip.AddrPort
	guest *guest // who has the connection among those that it counts for
	shard int
	// work is there while a request is.
	work *work
	// idle is set while the client owes nothing: the connection may end then.
	idle atomic.Bool
	// at is what time it was when that was last asked; it costs to ask.
	at int64
	// until is when an idle connection has been idle for too long.
	until int64
	// pace is how fast the client takes the answer.
	pace pace
	// vouched is what was found of the client's certificate.
	vouched atomic.Pointer[vouched]
	// done ends the connection; waits is set if the request at the head of the buffer
	// needs more of the client than is there, which cannot be read within Each; linger is
	// set if the client may still be sending, aborted if an answer cannot be completed.
	done, waits, linger, aborted bool
	// asked is set once a request of HTTP/1.1 has come, second if what came instead is
	// the preface of HTTP/2.
	asked, second bool
	// facts are those of TLS, served is how many requests have come.
	facts  *facts
	served atomic.Int64
}

func newConn(l *listener, s *socket, count int) *conn {
	c := &conn{listener: l, proxy: l.proxy, socket: s, in: s, shard: count}
	if l.tls != nil {
		c.secure(s)
	}
	c.from = peerOf(s.TCPConn)
	c.meet(c.from, uint16(s.LocalAddr().(*net.TCPAddr).Port))
	return c
}

// peerOf returns who is at the other end of a connection.
func peerOf(c *net.TCPConn) netip.AddrPort {
	peer := c.RemoteAddr().(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port())
}

// secure has the connection within TLS, which is read from and written to under.
func (c *conn) secure(under net.Conn) {
	c.in = &secure{Conn: tls.Server(under, c.listener.tls), busy: func() bool { return c.work != nil }}
}

// meet notes who the client is, and which port it connected to.
func (c *conn) meet(client netip.AddrPort, port uint16) {
	scheme := "http"
	if c.listener.tls != nil {
		scheme = "https"
	}
	c.hop = http1.NewHop(client.Addr(), scheme, port, c.proxy.settings().trusts)
}

// run serves the connection until its end.
func (c *conn) run() {
	defer c.release()
	defer c.rescue()
	c.socket.arm(after(c.proxy.clock.now(), c.proxy.settings().HeadTimeout))
	if !c.introduce() || c.passed() {
		return
	}
	if s, ok := c.in.(*secure); ok && !c.shake(s) {
		return
	}
	if c.begin() {
		c.http1()
	}
	switch {
	case c.linger:
		c.lingering()
	case c.aborted:
		// What was sent is not whole, and the client must not take it for that.
		_ = c.socket.SetLinger(0)
	default:
		if s, ok := c.in.(*secure); ok {
			_ = s.CloseWrite()
		}
	}
}

// shake does the handshake of TLS, and reports whether it came to its end. What it needs of
// the stack is given back: run's is there for as long as the connection is.
func (c *conn) shake(s *secure) bool {
	err := s.HandshakeContext(c.proxy.ctx)
	if c.listener.meter.shake(s, err); err != nil {
		return false
	}
	c.learn(s.ConnectionState())
	return true
}

// begin reports whether the client speaks HTTP/1.1, or may do so.
func (c *conn) begin() bool {
	s, ok := c.in.(*secure)
	if !ok {
		return true
	}
	switch s.ConnectionState().NegotiatedProtocol {
	case "h2":
		c.http2(nil)
		return false
	case acme.ALPN:
		return false // the handshake was all (RFC 8737, section 3)
	}
	return true
}

// http1 serves the connection until its end, as HTTP/1.1 if the client does not say
// otherwise.
func (c *conn) http1() {
	c.tick()
	c.rest()
	serve := c.serve
	for !c.done {
		err := c.in.Each(serve)
		switch {
		case err != nil && c.patient(err):
		case err != nil:
			c.fail(err)
		case c.second:
			first := c.work.in.bytes()
			c.http2(first)
			c.done = true
		case c.waits:
			c.waits = false
			c.idle.Store(false)
			c.keep()
			c.handle(c.work)
			c.next()
		}
	}
}

// tick notes what time it is.
func (c *conn) tick() int64 {
	c.at = c.proxy.clock.now()
	return c.at
}

// rest begins the wait for the next request.
func (c *conn) rest() {
	if !c.idle.Load() {
		c.idle.Store(true)
	}
	c.until = after(c.at, c.proxy.settings().IdleTimeout)
	c.socket.arm(min(c.until, after(c.at, lookAgain)))
}

// lookAgain is when it is looked whether a client has closed its idle connection.
// Usually the poller says so; but if that came together with a request, it has said
// all it will when the request is read.
const lookAgain = 250 * time.Millisecond

// patient reports whether a deadline has passed only for the client to be looked at.
func (c *conn) patient(err error) bool {
	if !c.idle.Load() || !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	until := c.until
	if c.listener.draining.Load() {
		until = min(until, after(c.listener.drained.Load(), patience))
	}
	c.socket.arm(until)
	return c.tick() < until
}

// release gives memory back.
func (c *conn) release() {
	if c.work != nil {
		c.work.reset()
		c.proxy.works.Put(c.work)
		c.work = nil
	}
}

// serve reads what has come, and handles requests for which that is enough. It
// reports whether to wait for more.
func (c *conn) serve() bool {
	for c.requests() {
		if c.work == nil {
			c.work = c.proxy.take()
		}
		w := c.work
		space := w.in.space(w.limits.Head)
		if len(space) == 0 {
			// The parser refuses what is that large; to read nothing would go on for ever.
			c.refuse(&http1.Error{Status: 431, Reason: "the header is too large"})
			return false
		}
		n, err := c.in.Read(space)
		switch {
		case errors.Is(err, errNothing):
			if w.in.len() == 0 {
				c.release()
			}
			return true
		case err != nil:
			c.fail(err)
			return false
		}
		w.in.end += n
		// Having filled less than there was space for, the next read would find nothing.
		if n < len(space) {
			return c.requests()
		}
	}
	return false
}

// requests handles those that are in the buffer, and reports whether to go on
// reading within Each.
func (c *conn) requests() bool {
	for c.parse() {
		if c.waits || c.second {
			return false
		}
		c.handle(c.work)
		c.next()
	}
	if c.work != nil && c.work.in.len() > 0 && c.idle.Load() {
		// A part of a request: its header has to be complete in time.
		c.idle.Store(false)
		c.socket.arm(after(c.tick(), c.proxy.settings().HeadTimeout))
	}
	return !c.done
}

// parse reads the next request in the buffer, and reports whether it is there.
func (c *conn) parse() bool {
	if c.done || c.work == nil {
		return false
	}
	w := c.work
	if w.in.len() == 0 {
		return false
	}
	if !c.asked && c.listener.tls == nil {
		// HTTP/2 with prior knowledge begins like no request (RFC 9113, section 3.3).
		switch in := text(w.in.bytes()); {
		case strings.HasPrefix(in, http2.Preface):
			c.second = true
			return true
		case strings.HasPrefix(http2.Preface, in):
			return false
		}
	}
	n, err := w.request.Parse(w.in.bytes(), &w.limits)
	if err != nil {
		c.refuse(err)
		return false
	}
	if n == 0 {
		return false
	}
	w.in.begin += n
	w.record.head = int64(n)
	c.served.Add(1)
	c.asked = true
	r := &w.request
	w.toHEAD = string(r.Method) == "HEAD"
	c.waits = r.Chunked || r.Continue || r.Length > int64(w.in.len()) || r.Upgrade() != nil
	return true
}

// next goes on after a request has been answered.
func (c *conn) next() {
	if c.done {
		return
	}
	w := c.work
	w.request.Reset()
	if w.in.len() == 0 {
		c.release()
		c.rest()
		return
	}
	c.idle.Store(true) // until it turns out that there is but a part
}

// refuse answers a message that is none.
func (c *conn) refuse(err error) {
	var reason *http1.Error
	if !errors.As(err, &reason) {
		reason = &http1.Error{Status: 400, Reason: err.Error()}
	}
	c.proxy.tally.refuse(reason.Status)
	c.work.request.Minor, c.work.toHEAD = 1, false
	c.reply(reason.Status, reason.Reason, true)
	c.writeRefusal(c.work, reason.Status, reason.Reason)
}

// fail ends the connection after an error of reading. A client that was slow with a
// request is told so.
func (c *conn) fail(err error) {
	c.done = true
	if c.work != nil && c.work.in.len() > 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		c.proxy.tally.refuse(408)
		c.work.request.Minor, c.work.toHEAD = 1, false
		c.reply(408, "the request took too long to arrive", true)
		c.writeRefusal(c.work, 408, "the request took too long to arrive")
	}
}

// lingering closes a connection on which the client may still be sending: the
// kernel would reset it, and the answer could be lost with that (RFC 9112, section
// 9.6).
func (c *conn) lingering() {
	closer, ok := c.in.(interface{ CloseWrite() error })
	if !ok || closer.CloseWrite() != nil {
		return
	}
	c.socket.arm(after(c.proxy.clock.now(), lingerTimeout))
	if c.work == nil {
		c.work = c.proxy.take()
	}
	for {
		if _, err := c.in.Read(c.work.in.b); err != nil {
			return
		}
	}
}

// lingerTimeout bounds that in all.
const lingerTimeout = 2 * time.Second

// abort ends the connection in the middle of an answer.
func (c *conn) abort() { c.done, c.aborted = true, true }
