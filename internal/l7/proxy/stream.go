package proxy

import (
	"bytes"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/accesslog"
)

// replayed is a connection whose first bytes have been read already.
type replayed struct {
	*socket
	first []byte
}

// Read returns those first.
func (r *replayed) Read(p []byte) (int, error) {
	if len(r.first) == 0 {
		return r.socket.Read(p)
	}
	n := copy(p, r.first)
	if r.first = r.first[n:]; len(r.first) == 0 {
		r.first = nil
	}
	return n, nil
}

// passed passes the connection on to an endpoint as it is, if Streams say so, until both
// sides have ended; it reports whether that is so. If not, nothing has been taken off it.
// What Streams say at the beginning holds until its end.
func (c *conn) passed() bool {
	s, spec := c.listener.current()
	if spec == nil || spec.Streams == nil && spec.Protocol != l7.TCP {
		return false
	}
	p := &passage{conn: c, state: s, begin: c.proxy.clock.now()}
	if spec.Protocol == l7.HTTPS {
		c.work = c.proxy.take()
		name, err := c.hello(&c.work.in)
		p.name, p.first, p.stream = name, c.work.in.bytes(), spec.Stream(name)
		if err != nil || p.stream == nil {
			// Whether it is TLS at all, and what is wrong with it, is said by what ends it.
			c.secure(&replayed{socket: c.socket, first: bytes.Clone(p.first)})
			c.release()
			return false
		}
	} else {
		p.stream = spec.Stream("")
	}
	c.socket.arm(0)
	p.run()
	return true
}

// misdirected refuses a request within TLS that ends here for a host whose TLS must not
// (RFC 9110, section 15.5.20), as its backend decides by the handshake who is let in. It
// reports whether it has.
func (x *exchange) misdirected(spec *l7.Listener) bool {
	if x.listener.tls == nil || spec.Stream(x.query.Host) == nil {
		return false
	}
	x.answer(421, "the connection is not for this host")
	return true
}

// hello reads as much of what the client sends as it takes to know which name it asks
// for.
func (c *conn) hello(in *buffer) (name string, err error) {
	for more := recordHead; more > 0; {
		for in.len() < more {
			space := in.space(maxHello + maxHelloRecords*recordHead)
			if len(space) == 0 {
				return "", errHello
			}
			n, err := c.socket.Read(space)
			if in.end += n; err != nil {
				return "", err
			}
		}
		if name, more, err = readHello(in.bytes()); err != nil {
			return "", err
		}
	}
	return name, nil
}

// passage is a connection that is passed on as it is.
type passage struct {
	*conn
	state  *state
	stream *l7.Stream
	// name is what the client asked for, first what has come of it already.
	name  string
	first []byte
	begin int64
	meter *streamMeter
	tries []accesslog.Try
	from  *backend
	with  *endpoint // which has the connection, once there is one
	// entered is set while it is one of those that the limits of from count, alone if these
	// are connections too.
	entered, alone bool
	up             *socket
	idle           time.Duration
	// forth and back are how many bytes have been passed on.
	forth, back atomic.Int64
}

// The statuses of passages are those of nginx's module stream.
const (
	passedOn      = 200
	passedNobody  = 403
	passedGone    = statusGone // which is nginx's for HTTP
	passedUnable  = 502
	passedNowhere = 503
)

// run passes the connection on, and notes what came of that.
func (p *passage) run() {
	p.meter = p.proxy.tally.stream(p.stream)
	p.meter.open.Add(1)
	defer p.meter.open.Add(-1)
	defer func() {
		p.exit()
		if p.with != nil {
			p.with.active.Add(-1)
		}
		if p.up != nil {
			_ = p.up.Close() // if it is not yet, there was a bug
		}
	}()
	status, reason := p.connect()
	if status == passedOn {
		reason = p.carry()
	} else {
		p.refuse(status)
	}
	now := p.proxy.clock.now()
	p.meter.count(status, now-p.begin, now)
	p.write(status, reason, now)
}

// connect makes the connection to an endpoint, and tells it who the client is if it is to
// know.
func (p *passage) connect() (status int, reason string) {
	client, local := p.ends()
	switch {
	case p.stream == nil:
		return passedNowhere, "there is no stream for the connection"
	case !p.stream.Allows(client.Addr()):
		return passedNobody, "the client is not let in"
	}
	p.from, _ = p.state.backends.Get(draw(p.stream.Backends))
	if p.from == nil {
		return passedNowhere, "the backend does not exist"
	}
	switch err := p.enter(); {
	case errors.Is(err, errGone):
		return passedGone, "the client has given up"
	case err != nil:
		return passedNowhere, "the backend has as many connections as its Service allows"
	}
	err := errAbsent
	var failed *endpoint
	tries := p.proxy.settings().Tries
	if p.listener.protocol == l7.TCP {
		tries = p.proxy.settings().StreamTries
	}
	for range tries {
		e := p.from.chooseFor(client.Addr(), p.proxy.algorithm(p.from), failed, p.proxy.clock.now())
		if e == nil {
			break
		}
		if p.proxy.leadsBack(p.state, e.address) {
			err = errForbidden
			break
		}
		if err = p.try(e); err == nil {
			e.active.Add(1)
			p.with = e
			break
		}
		failed = e
	}
	switch {
	case errors.Is(err, errAbsent):
		return passedNowhere, "the backend has no endpoint that is ready"
	case err != nil:
		_, reason = unreachable(err)
		return passedUnable, reason
	}
	head := p.first
	if v := p.stream.ProxyProtocol; v != 0 {
		head = append(appendPreamble(nil, v, client, local), p.first...)
	}
	p.up.arm(after(p.proxy.clock.now(), p.proxy.settings().WriteTimeout))
	if _, err := p.up.wait(head); err != nil {
		return passedUnable, "the connection to the backend broke"
	}
	p.moved(&p.forth, &p.meter.received, int64(len(p.first)))
	p.first = nil
	p.release()
	return passedOn, ""
}

// try connects to an endpoint.
func (p *passage) try(e *endpoint) error {
	begin := p.proxy.clock.now()
	t := accesslog.Try{Asked: time.Duration(begin - p.begin), Address: e.address, Host: e.host, Port: e.port, Connect: -1, Header: -1}
	up, err := p.proxy.dial(e, nil, orDefault(p.stream.Connect, p.proxy.settings().ConnectTimeout))
	t.Took = time.Duration(p.proxy.clock.now() - begin)
	if err == nil {
		p.up, t.Connect, t.Status = up.socket, t.Took, passedOn
	} else {
		t.Status = passedUnable
		if k, blamed := kindOf(err); blamed {
			p.from.meter.failures[k].Add(1)
		}
	}
	p.tries = append(p.tries, t)
	p.proxy.noteConnect(p.from, e, err)
	return err
}

// refuse tells a client of TLS that there will be no handshake (RFC 8446, section 6):
// access_denied or internal_error.
func (p *passage) refuse(status int) {
	if p.up != nil {
		_ = p.up.Close()
	}
	if p.listener.tls == nil {
		return
	}
	description := byte(80)
	if status == passedNobody {
		description = 49
	}
	p.socket.arm(after(p.proxy.clock.now(), lingerTimeout))
	_, _ = p.socket.Write([]byte{21, 3, 3, 0, 2, 2, description})
}

// carry passes on both directions until both have ended. It returns why they did not end
// by themselves.
func (p *passage) carry() (reason string) {
	defer func() { _ = p.up.Close() }()
	p.idle = orDefault(p.stream.Idle, p.patience())
	done := make(chan error, 2)
	go func() { done <- p.half(p.up, p.socket, &p.forth, &p.meter.received) }()
	mine := p.half(p.socket, p.up, &p.back, &p.meter.sent)
	for _, err := range []error{mine, <-done} {
		var bug *panicked
		switch {
		case errors.As(err, &bug):
			panic(bug)
		case timedOut(err):
			reason = "nothing moved for too long"
		case err != nil && reason == "":
			reason = "the connection broke"
		}
	}
	return reason
}

// half passes on one direction, and says its end. If it breaks, the other one does too:
// each side has to see that what it got is not all.
func (p *passage) half(to, from *socket, moved *atomic.Int64, counted *atomic.Uint64) error {
	f := flow{passage: p, to: to, from: from, moved: moved, counted: counted}
	err := guard(f.run)
	if err != nil {
		for _, s := range []*socket{p.up, p.socket} {
			_ = s.SetLinger(0)
			_ = s.TCPConn.Close()
		}
	}
	return err
}

// moved notes that bytes were passed on, which puts off the end.
func (p *passage) moved(by *atomic.Int64, counted *atomic.Uint64, n int64) {
	by.Add(n)
	counted.Add(uint64(n))
	idle := orDefault(p.idle, p.patience())
	at := after(p.proxy.clock.now(), idle)
	p.socket.arm(at)
	p.up.arm(at)
}

// patience is how long nothing may move if the Stream does not say.
func (p *passage) patience() time.Duration {
	if p.listener.protocol == l7.TCP {
		return p.proxy.settings().StreamTimeout
	}
	return p.proxy.settings().TunnelTimeout
}

// flow is one direction.
type flow struct {
	*passage
	to, from *socket
	moved    *atomic.Int64
	counted  *atomic.Uint64
	// much is set if so much comes that the kernel should move it, err once the end has come.
	much bool
	err  error
}

// run passes on until the end has come.
func (f *flow) run() error {
	f.passage.moved(f.moved, f.counted, 0)
	serve := f.serve
	for {
		f.much = false
		if err := f.from.Each(serve); err != nil {
			return err
		}
		switch {
		case errors.Is(f.err, io.EOF):
			return f.to.CloseWrite()
		case f.err != nil:
			return f.err
		}
		if err := f.splice(); err != nil {
			return err
		}
	}
}

// serve passes on what has come, and reports whether to wait for more. It is called within
// Each, so that memory is needed only while something moves.
func (f *flow) serve() bool {
	bulk := f.proxy.bulks.Get().(*[bulkSize]byte)
	defer f.proxy.bulks.Put(bulk)
	for {
		n, err := f.from.Read(bulk[:])
		switch {
		case errors.Is(err, errNothing):
			return true
		case err != nil:
			f.err = err
			return false
		}
		if _, err := f.to.wait(bulk[:n]); err != nil {
			f.err = err
			return false
		}
		f.passage.moved(f.moved, f.counted, int64(n))
		if n == len(bulk) {
			f.much = true
			return false
		}
	}
}

// splice has the kernel move what has come in the meantime, if that is much. It never
// waits for more, so that what moves is always seen.
func (f *flow) splice() error {
	n := f.from.waiting()
	if !f.much || n < bulkSize {
		return nil
	}
	moved, err := f.to.TCPConn.ReadFrom(&io.LimitedReader{R: f.from.TCPConn, N: n})
	f.passage.moved(f.moved, f.counted, moved)
	if f.to.premature(err) || f.from.premature(err) {
		return nil
	}
	return err
}
