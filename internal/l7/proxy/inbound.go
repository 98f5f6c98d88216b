package proxy

import (
	"errors"
	"os"

	"github.com/fairlead-net/fairlead/internal/l7/http1"
	"github.com/fairlead-net/fairlead/internal/l7/http2"
)

// inbound is a request of HTTP/2: the downstream of its exchange.
type inbound struct {
	*session
	s    *http2.Stream
	work *work
	// block is how much of what is in work.out is the header block of the answer, if
	// waits is set; the rest is of its body.
	block int
	waits bool

	// interest is guarded by the session's lock.
	interest
	// pace is how fast the client takes the answer.
	pace pace
	// stopped is set when no more of the body is wanted.
	stopped bool
}

// answer answers a request.
func (m *session) answer(s *http2.Stream) {
	p := m.proxy
	defer p.serving.Done()
	defer p.answered(m.conn.guest)
	defer m.rescue()
	w := p.take()
	d := &w.inbound
	*d = inbound{session: m, s: s, work: w, interest: interest{version: http20, guard: &m.mu, body: d}}
	m.mu.Lock()
	s.Owner = d
	d.gone.Store(s.Err != nil)
	m.mu.Unlock()
	x := &w.exchange
	*x = exchange{conn: m.conn, work: w, client: d, inbound: &d.interest}
	_, err := w.request.Parse(s.Head, &w.limits)
	w.toHEAD = string(w.request.Method) == "HEAD"
	w.record.head = int64(len(s.Head))
	m.conn.served.Add(1)
	switch {
	case s.TooLarge:
		err = &http1.Error{Status: 431, Reason: "the header is too large"}
		fallthrough
	case err != nil:
		m.conn.refuseOne(w, d, err)
	case s.Carries && !x.carry():
		m.conn.refuseOne(w, d, errProtocol)
	default:
		d.gather()
		x.run()
	}
	m.leave(s, x)
	*d = inbound{}
	w.reset()
	p.works.Put(w)
}

// leave lets go of a stream whose request is over.
func (m *session) leave(s *http2.Stream, x *exchange) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.Owner = nil
	if x.aborted {
		m.h2.Cancel(s, orDefault(x.code, http2.Internal))
	}
	m.h2.Release(s)
	m.flush()
}

// refuseOne answers what is no request, one of many of a connection.
func (c *conn) refuseOne(w *work, to downstream, err error) {
	var reason *http1.Error
	if !errors.As(err, &reason) {
		reason = &http1.Error{Status: 400, Reason: err.Error()}
	}
	c.proxy.tally.refuse(reason.Status)
	w.request.Minor, w.toHEAD, w.trailer = 1, false, w.trailer[:0]
	w.sayPage(to, reason.Status, reason.Reason, false)
	c.writeRefusal(w, reason.Status, reason.Reason)
}

// gather takes over a body that has come whole and is small: it can be sent at once,
// with its length, and again.
func (d *inbound) gather() {
	r, in := &d.work.request, &d.work.in
	d.mu.Lock()
	defer d.mu.Unlock()
	body := d.s.Body()
	if r.Bodyless() || !d.s.Ended || len(body) > len(in.b) {
		return
	}
	in.begin, in.end = 0, copy(in.b, body)
	d.h2.Consume(d.s, len(body))
	r.Chunked, r.Continue, r.Length = false, false, int64(in.end)
}

// head implements downstream.
func (d *inbound) head(r *http1.Response, a http1.Answer) bool {
	w := d.work
	if r.Interim() {
		block := http2.AppendResponse(nil, r, a)
		d.mu.Lock()
		defer d.mu.Unlock()
		w.record.sent += int64(len(block))
		w.record.sentHead += int64(len(block))
		d.h2.SendHeader(d.s, block, false)
		d.flush()
		return d.s.Err == nil
	}
	w.out = http2.AppendResponse(w.out[:0], r, a)
	d.block, d.waits = len(w.out), true
	w.record.sentHead += int64(len(w.out))
	w.record.sent += int64(len(w.out))
	return a.Framing != http1.NoBody || d.data(nil, last)
}

// data implements downstream.
func (d *inbound) data(b []byte, how part) bool {
	w := d.work
	w.record.sent += int64(len(b))
	if how == held {
		w.out = append(w.out, b...)
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	block, before := w.out[:d.block], w.out[d.block:]
	end := how == last && len(w.trailer) == 0
	if d.waits {
		d.h2.SendHeader(d.s, block, end && len(before)+len(b) == 0)
	}
	if !d.waits || len(before)+len(b) > 0 {
		timeout, pace := d.proxy.settings().WriteTimeout, &d.pace
		if d.carries {
			timeout, pace = d.proxy.settings().TunnelTimeout, nil
		}
		if !d.send(d.s, before, end && len(b) == 0, timeout, pace) || len(b) > 0 && !d.send(d.s, b, end, timeout, pace) {
			return false
		}
	}
	if how == last && !end {
		d.h2.SendHeader(d.s, http2.AppendTrailer(w.out[:0], w.trailer), true)
	}
	w.out, d.block, d.waits = w.out[:0], 0, false
	d.flush()
	return d.s.Err == nil
}

// receive implements downstream.
func (d *inbound) receive(dst []byte, b *body) (out []byte, done bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.s
	for {
		if data := s.Body(); len(data) > 0 || s.Ended {
			b.pace.add(len(data), 0)
			// The Conn has seen to it that the length is the one announced.
			if b.chunked {
				dst, err = b.append(dst, data)
			} else {
				dst = append(dst, data...)
				b.remaining -= int64(len(data))
			}
			d.h2.Consume(s, len(data))
			d.flush()
			if done = s.Over(); done && err == nil {
				dst = b.end(dst)
			}
			return dst, done, err
		}
		if d.stopped {
			return dst, false, errStopped
		}
		if s.Err != nil {
			return dst, false, errors.Join(errClient, s.Err)
		}
		if d.dead {
			return dst, false, errClient
		}
		now := d.proxy.clock.now()
		s.GotBy = after(now, d.patience(b, d.proxy.settings()))
		d.wait(s.Got)
		then := d.proxy.clock.now()
		b.pace.add(len(s.Body()), then-now)
		late := then >= s.GotBy
		if s.GotBy = 0; late && len(s.Body()) == 0 && !s.Ended {
			return dst, false, errors.Join(errClient, os.ErrDeadlineExceeded)
		}
	}
}

// trailer implements requestBody.
func (d *inbound) trailer() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.s.Ended {
		return nil
	}
	return d.s.Trailer
}

// stop implements requestBody.
func (d *inbound) stop(now bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = now
	d.s.Wake()
}
