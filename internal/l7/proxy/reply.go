package proxy

import (
	"net/http"
	"strconv"

	"github.com/fairlead-net/fairlead/internal/l7/http1"
)

// answer replies to the request without an upstream. A body that is not in the
// buffer is not waited for: the connection ends instead.
func (x *exchange) answer(status int, reason string) {
	x.status = status
	x.closes = x.closes || !x.skipBody()
	x.reply(status, reason, x.closes)
}

// skipBody takes the request's body off the buffer, and reports whether all of it
// was there.
func (x *exchange) skipBody() bool {
	r := &x.request
	if r.Bodyless() {
		return true
	}
	if r.Chunked || r.Length > int64(x.in().len()) {
		return false
	}
	x.in().begin += int(r.Length)
	return true
}

// in is the buffer of what the client sent.
func (x *exchange) in() *buffer { return &x.work.in }

// reply sends a page of one line that says what is wrong. It holds nothing that the
// client sent, and nothing of what lies behind the proxy.
func (c *conn) reply(status int, reason string, closes bool) {
	w := c.work
	name := http.StatusText(status)
	b := http1.AppendStatus(w.out[:0], status, []byte(name))
	length := 3 + 1 + len(name) + 2 + len(reason) + 1
	b = append(b, "Content-Type: text/plain; charset=utf-8\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(length), 10)
	b = append(b, "\r\n"...)
	b = w.appendAdded(b, status)
	b = http1.AppendPersistence(b, w.request.Minor, closes)
	b = append(b, "\r\n"...)
	if !w.head {
		b = strconv.AppendInt(b, int64(status), 10)
		b = append(b, ' ')
		b = append(b, name...)
		b = append(b, ": "...)
		b = append(b, reason...)
		b = append(b, '\n')
	}
	c.send(b)
	w.out = b[:0]
	if closes {
		c.done, c.linger = true, true
	}
}

// send writes to the client, and ends the connection if it does not take it in time.
func (c *conn) send(b []byte) bool {
	c.socket.arm(after(c.proxy.clock.now(), c.proxy.config.WriteTimeout))
	if _, err := c.in.Write(b); err != nil {
		c.abort()
		return false
	}
	return true
}
