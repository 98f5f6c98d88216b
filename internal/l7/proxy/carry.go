package proxy

import (
	"errors"
	"os"

	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/http1"
	"github.com/fairlead-net/fairlead/internal/l7/http2"
)

// overHTTP2 reports whether endpoints of a Route are spoken with in HTTP/2.
func overHTTP2(route *l7.Route) bool {
	return route.Upstream.Protocol == l7.UpstreamGRPC || route.Upstream.Protocol == l7.UpstreamGRPCS
}

// call has one endpoint answer, over HTTP/2.
func (x *exchange) call(e *endpoint) error {
	secure, err := x.secure(e)
	if err != nil {
		return err
	}
	from, scheme := e.plain, "http"
	if secure != nil {
		from, scheme = secure.pool, "https"
	}
	t, s, err := x.open(e, secure, from)
	if err != nil {
		return errors.Join(errRetry, err)
	}
	defer t.release(s)
	x.tick()
	x.connected()
	c := carriage{exchange: x, trunk: t, s: s}
	if err = c.run(scheme); err != nil {
		x.sends++
	}
	x.tick()
	return err
}

// carriage is a request on its way over a trunk.
type carriage struct {
	*exchange
	trunk *trunk
	s     *http2.Stream
	// poured is set once a part of the body has been taken that cannot be taken again.
	poured bool
	// sent is how much of what is in the buffer has been sent.
	sent int
	// parsed is how much of the stream's Head has been read.
	parsed int
}

// run sends the request and takes the answer to the client.
func (c *carriage) run(scheme string) error {
	if !c.inbound.hold(nil, c.s) {
		return errClient
	}
	defer c.inbound.hold(nil, nil)
	r, t := &c.request, c.trunk
	c.work.up.reset()
	c.response.Reset()
	c.out = http1.AppendRequest(c.out[:0], r, c.hop, c.onward())
	block := http2.AppendRequest(c.work.up.b[:0], c.out, scheme)
	c.out = c.out[:0]
	if announced := r.Get("trailer"); len(announced) > 0 && c.inbound != nil {
		block = http2.AppendField(block, "trailer", announced)
	}
	if c.whole = c.atOnce(); !c.whole {
		return c.stream(block)
	}
	body := c.work.in.bytes()[:max(r.Length, 0)]
	trailer := c.requestTrailer()
	t.locked(func() {
		t.h2.SendHeader(c.s, block, len(body)+len(trailer) == 0)
		if len(body) > 0 {
			t.send(c.s, body, len(trailer) == 0, c.sendTimeout(), nil) // the answer says if it has not worked
		}
		if len(trailer) > 0 {
			t.h2.SendHeader(c.s, http2.AppendTrailer(nil, trailer), true)
		}
		t.flush()
	})
	c.sent = len(body)
	return c.relay()
}

// stream sends a request whose body is still coming. The answer of one of HTTP/2 may
// come at the same time; a connection of HTTP/1.1 is written to when the body is over,
// or not taken any more.
func (c *carriage) stream(block []byte) error {
	t := c.trunk
	t.locked(func() {
		t.h2.SendHeader(c.s, block, false)
		t.flush()
	})
	if c.inbound == nil {
		if c.request.Continue && !c.client.head(&http1.Response{Status: 100, Reason: []byte("Continue")}, http1.Answer{Framing: http1.NoBody}) {
			return errClient
		}
		if err := c.pour(); err != nil {
			return err
		}
		return c.relay()
	}
	poured := make(chan error, 1)
	c.inbound.body.stop(false)
	go func() { poured <- guard(c.pour) }()
	err := c.relay()
	c.inbound.body.stop(true)
	t.locked(func() { t.h2.Cancel(c.s, http2.Cancel) })
	failure := <-poured
	if bug := (*panicked)(nil); errors.As(failure, &bug) {
		panic(bug)
	}
	if err != nil && failure != nil && !errors.Is(failure, errStopped) {
		err = failure // why the endpoint was not answered, or gave no answer
	}
	if errors.Is(err, errRetry) && c.poured {
		err = errPoured
	}
	return err
}

var (
	// errStopped is that a body is not wanted any more.
	errStopped = errors.New("the rest of the body is not wanted")
	// errPoured is that a request cannot be sent again, since a part of it is gone.
	errPoured = errors.New("the connection broke while the body was sent")
)

// pour sends the body as it comes.
func (c *carriage) pour() error {
	t, buffer := c.trunk, []byte(nil)
	b := &c.work.body
	*b = bodyOf(&c.request, c.maxBody())
	b.framed, b.call = false, true
	defer func() { c.record.body += b.received() }()
	for {
		out, done, err := c.client.receive(buffer[:0], b)
		if buffer = out; len(out) > 0 {
			c.poured = true
		}
		var trailer []byte
		if done {
			trailer = c.requestTrailer()
		}
		ok := false
		t.locked(func() {
			if err != nil {
				t.h2.Cancel(c.s, http2.Cancel)
			} else if ok = t.send(c.s, out, done && len(trailer) == 0, c.sendTimeout(), nil); len(trailer) > 0 {
				t.h2.SendHeader(c.s, http2.AppendTrailer(nil, trailer), true)
			}
			t.flush()
		})
		if err != nil {
			return err
		}
		if done || !ok {
			if c.inbound == nil {
				c.early = c.early || !done
			}
			return nil
		}
	}
}

// answered waits for the answer, and sees whether the client gets it.
func (c *carriage) answered() error {
	if err := c.header(); err != nil {
		return err
	}
	if c.whole {
		c.work.in.begin += c.sent
		c.record.body = int64(c.sent)
	}
	switch status := c.response.Status; {
	case c.tries > 0 && c.retries(status):
		return errors.Join(errRetry, errNext)
	case c.replaces(status):
		return errReplaced
	case !c.answerPasses():
		return errWithheld
	}
	c.noteAnswer(true)
	c.revise()
	return nil
}

// relay takes the answer to the client.
func (c *carriage) relay() error {
	if err := c.answered(); err != nil {
		return err
	}
	t, s, response := c.trunk, c.s, &c.response
	nothing, come := false, false
	t.locked(func() { nothing, come = s.Over() && len(s.Trailer) == 0, len(s.Body()) > 0 || s.Ended })
	framing := response.Framing(c.toHEAD)
	if nothing {
		framing = http1.NoBody
	}
	if framing == http1.UntilClose {
		framing = http1.ByChunks
	}
	if announced := response.Get("trailer"); len(announced) > 0 && c.inbound != nil {
		response.Append(http1.NewField("Trailer", string(announced)))
	}
	a := c.answerWith(framing)
	c.change()
	c.noteAnswer(false)
	c.client.head(response, a)
	c.replied = true
	if framing == http1.NoBody {
		return nil
	}
	if !come && !c.client.data(nil, whole) {
		return errClient
	}
	bulk := c.proxy.bulks.Get().(*[bulkSize]byte)
	defer c.proxy.bulks.Put(bulk)
	for {
		var (
			err  error
			n    int
			over bool
		)
		t.locked(func() {
			err = c.await(func() bool { return len(s.Body()) > 0 || s.Ended })
			n = copy(bulk[:], s.Body())
			t.h2.Consume(s, n)
			t.flush()
			if over = s.Over(); over {
				c.trailer = append(c.trailer[:0], s.Trailer...)
			}
		})
		if err != nil {
			return err
		}
		c.got(int64(n))
		if !c.client.data(bulk[:n], partOf(over)) {
			return errClient
		}
		if over {
			return nil
		}
	}
}

// header reads the header of the final answer, and passes on those before it.
func (c *carriage) header() error {
	t, s := c.trunk, c.s
	for {
		var (
			err  error
			head []byte
		)
		t.locked(func() {
			err = c.await(func() bool { return len(s.Head) > c.parsed })
			head = s.Head[c.parsed:]
		})
		if err != nil {
			return err
		}
		n, err := c.response.Parse(head, &c.limits)
		if err != nil || n == 0 {
			return errors.Join(errAnswer, err)
		}
		c.parsed += n
		if !c.response.Interim() {
			c.heard()
			return nil
		}
		if err := c.interim(); err != nil {
			return err
		}
	}
}

// await waits until something has come of the answer. The trunk's lock is held, but
// not while waiting.
func (c *carriage) await(come func() bool) error {
	t, s := c.trunk, c.s
	for {
		switch {
		case come():
			return nil
		case s.Err != nil:
			return c.broken(s.Err)
		case t.dead:
			return c.broken(errPanic) // for else the stream would have ended
		case !c.inbound.wanted():
			return errClient
		}
		s.GotBy = after(t.proxy.clock.now(), c.readTimeout())
		t.wait(s.Got)
		late := t.proxy.clock.now() >= s.GotBy
		if s.GotBy = 0; late && !come() && s.Err == nil {
			return os.ErrDeadlineExceeded
		}
	}
}

// broken says what it means that the stream has ended before the answer. What the
// endpoint has not looked at can be sent again (RFC 9113, section 8.7), and what may
// be repeated if the connection broke.
func (c *carriage) broken(err error) error {
	var reset *http2.StreamError
	if errors.As(err, &reset) {
		c.code = reset.Code
		if reset.Unprocessed && !c.replied {
			return errors.Join(errRetry, err)
		}
		return err
	}
	if c.replied || c.parsed > 0 {
		return err
	}
	return c.exchange.broken(err, c.repeatable())
}
