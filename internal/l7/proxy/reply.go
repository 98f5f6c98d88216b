package proxy

import (
	"net/http"
	"strconv"

	"github.com/fairlead-net/fairlead/internal/l7/http1"
)

// answer replies to the request without an upstream. A body that is not in the
// buffer is not waited for: the connection ends instead.
func (x *exchange) answer(status int, reason string) {
	x.record.reason = reason
	x.closes = x.closes || !x.skipBody()
	if x.replaces(status) && !isGRPC(&x.request) && x.errorPage(status) {
		return
	}
	x.status = status
	if isGRPC(&x.request) {
		x.sayStatus(x.client, status, reason, x.closes)
	} else {
		x.sayPage(x.client, status, reason, x.closes)
	}
	x.linger = x.linger || x.closes
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
	x.record.body = r.Length
	return true
}

// in is the buffer of what the client sent.
func (x *exchange) in() *buffer { return &x.work.in }

// reply answers what is no request, or none yet.
func (c *conn) reply(status int, reason string, closes bool) {
	c.work.sayPage(c, status, reason, closes)
	if closes {
		c.done, c.linger = true, true
	}
}

// sayPage sends a page of one line that says what is wrong. It holds nothing that the
// client sent, and nothing of what lies behind the proxy.
func (w *work) sayPage(to downstream, status int, reason string, closes bool) {
	name := http.StatusText(status)
	b := strconv.AppendInt(w.page[:0], int64(status), 10)
	b = append(b, ' ')
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, reason...)
	w.page = append(b, '\n')
	w.response.Make(status, name)
	w.response.Add("Content-Type", "text/plain; charset=utf-8")
	w.response.Length = int64(len(w.page))
	w.say(to, w.page, closes)
}

// say sends the response that has been made, with a body.
func (w *work) say(to downstream, body []byte, closes bool) {
	w.change()
	w.noteAnswer(false)
	a := http1.Answer{Framing: http1.ByLength, Length: int64(len(body)), Minor: w.request.Minor, Close: closes}
	if w.toHEAD || len(body) == 0 {
		a.Framing = http1.NoBody
	}
	if to.head(&w.response, a) && a.Framing != http1.NoBody {
		to.data(body, last)
	}
}
