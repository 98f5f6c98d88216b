package proxy

import (
	"errors"

	"github.com/fairlead-net/fairlead/internal/l7/http1"
)

// downstream is the side of an exchange that asked. An exchange says what is to be sent;
// how that is framed, and when more of the request comes, is the client's matter.
type downstream interface {
	// head begins an answer. Its body follows with data, unless a.Framing is NoBody:
	// then the head is sent at once. Nothing is sent before, so that an answer which
	// turns out to be broken can still be replaced. It reports whether the client is there.
	head(r *http1.Response, a http1.Answer) bool
	// data goes on with the body of the answer.
	data(b []byte, how part) bool
	// receive appends to dst what has come of the request's body, as b says, and waits if
	// nothing has. It reports whether that was the end.
	receive(dst []byte, b *body) (out []byte, done bool, err error)
}

// part says how a part of a body is sent.
type part uint8

const (
	held  part = iota // with the next one, which follows at once
	whole             // now
	last              // now, and nothing follows
)

// body is what is still to come of a request's body, and how it goes to the upstream.
type body struct {
	remaining, total, limit int64
	// length is what remaining was at first.
	length int64
	// chunked is set if its length is not known, framed if it goes in chunks.
	chunked, framed bool
	// chunks are how far it has been read.
	chunks http1.Chunks
	// pace is how fast the client sends it; call is set where it need not be fast: calls of
	// gRPC may last for as long as both sides like, with a message now and then.
	pace pace
	call bool
}

// least is the rate that the client has to keep, of that for any.
func (b *body) least(rate int) int {
	if b.call {
		return -1
	}
	return rate
}

func bodyOf(r *http1.Request, limit int64) body {
	return body{remaining: r.Length, length: r.Length, limit: limit, chunked: r.Chunked, framed: r.Chunked}
}

// append adds a part of a body whose length is not known.
func (b *body) append(dst, data []byte) ([]byte, error) {
	if b.total += int64(len(data)); b.limit >= 0 && b.total > b.limit {
		return dst, errBody
	}
	if !b.framed {
		return append(dst, data...), nil
	}
	return http1.AppendChunk(dst, data), nil
}

// received is how much of it has come.
func (b *body) received() int64 {
	if b.chunked {
		return b.total
	}
	return max(b.length, 0) - max(b.remaining, 0)
}

// end adds what says that nothing follows.
func (b *body) end(dst []byte) []byte {
	if b.framed {
		dst = append(dst, http1.LastChunk...)
	}
	return dst
}

// head implements downstream.
func (c *conn) head(r *http1.Response, a http1.Answer) bool {
	w := c.work
	if r.Interim() {
		// What is being sent to the upstream is in out.
		interim := http1.AppendResponse(nil, r, a)
		w.record.sentHead += int64(len(interim))
		return c.send(interim)
	}
	w.out = http1.AppendResponse(w.out[:0], r, a)
	w.framing = a.Framing
	w.record.sentHead += int64(len(w.out))
	if a.Framing != http1.NoBody {
		return true
	}
	return c.flush()
}

// data implements downstream.
func (c *conn) data(b []byte, how part) bool {
	w := c.work
	switch {
	case w.framing == http1.ByChunks:
		w.out = http1.AppendChunk(w.out, b)
		if how == last {
			w.out = append(w.out, http1.LastChunk...)
		}
	case how != held && len(w.out) == 0:
		return len(b) == 0 || c.send(b)
	case how != held && len(b) >= bufferSize/2:
		return c.behind(b) // to copy it costs more
	default:
		w.out = append(w.out, b...)
	}
	return how == held || c.flush()
}

// flush sends what has been gathered.
func (c *conn) flush() bool {
	w := c.work
	if len(w.out) == 0 {
		return true
	}
	ok := c.send(w.out)
	w.out = w.out[:0]
	return ok
}

// behind sends what has been gathered, and parts behind it.
func (c *conn) behind(parts ...[]byte) bool {
	all := [maxParts][]byte{c.work.out}
	ok := c.send(all[:1+copy(all[1:], parts)]...)
	c.work.out = c.work.out[:0]
	return ok
}

// send writes to the client, and ends the connection if it does not take it in time. There
// are at most maxParts.
func (c *conn) send(parts ...[]byte) bool {
	c.pace.waited = c.socket.stalled
	c.socket.arm(after(c.proxy.clock.now(), c.pace.patience(c.proxy.settings().WriteTimeout, c.proxy.settings().MinRate)))
	n, err := c.write(parts)
	c.pace.add(n, 0)
	if c.work != nil {
		c.work.record.sent += int64(n)
	}
	if err != nil {
		c.abort()
		return false
	}
	return true
}

// receive implements downstream.
func (c *conn) receive(dst []byte, b *body) (out []byte, done bool, err error) {
	w := c.work
	for {
		if dst, done, err = w.take(dst, b); err != nil || done || len(dst) > 0 {
			return dst, done, err
		}
		now := c.proxy.clock.now()
		c.socket.arm(after(now, b.pace.patience(c.proxy.settings().BodyTimeout, b.least(c.proxy.settings().MinRate))))
		n, err := c.in.Read(w.in.space(bufferSize))
		b.pace.add(n, c.proxy.clock.now()-now)
		if err != nil {
			return dst, false, errors.Join(errClient, err)
		}
		c.socket.arm(0)
		w.in.end += n
	}
}

// take appends to dst what is in the buffer of the body, and reports whether that is
// the end of it.
func (w *work) take(dst []byte, b *body) (out []byte, done bool, err error) {
	in := &w.in
	if !b.chunked {
		n := min(b.remaining, int64(in.len()))
		dst = append(dst, in.bytes()[:n]...)
		in.begin += int(n)
		b.remaining -= n
		return dst, b.remaining == 0, nil
	}
	for in.len() > 0 && !b.chunks.Done() {
		data, n, err := b.chunks.Next(in.bytes())
		if err != nil {
			return dst, false, errors.Join(errClient, err)
		}
		if dst, err = b.append(dst, data); err != nil {
			return dst, false, err
		}
		in.begin += n
	}
	if b.chunks.Done() {
		dst = b.end(dst)
	}
	return dst, b.chunks.Done(), nil
}
