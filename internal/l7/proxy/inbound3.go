package proxy

import (
	"errors"
	"io"
	"iter"
	"net/http"
	"net/textproto"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/fairlead-net/fairlead/internal/l7/http1"
	"github.com/fairlead-net/fairlead/internal/l7/http2"
)

// writePiece is how much of an answer is written at once, within the time for a part.
const writePiece = 32 << 10

// inbound3 is a request of HTTP/3: the downstream of its exchange.
type inbound3 struct {
	interest
	mu      sync.Mutex
	conn    *conn
	work    *work
	to      http.ResponseWriter
	control *http.ResponseController
	from    io.Reader
	// ended is set when the body has come whole, failure is why it has not; stopped is set
	// while no more of it is wanted.
	ended   bool
	failure error
	stopped bool
	// headed is set once the answer has begun, broken if it cannot be completed.
	headed, broken bool
	// pace is how fast the client takes the answer.
	pace pace
}

func newInbound3(c *conn, w http.ResponseWriter, r *http.Request) *inbound3 {
	d := &inbound3{conn: c, work: c.proxy.take(), to: w, control: http.NewResponseController(w), from: r.Body}
	d.version, d.guard, d.body = http30, &d.mu, d
	return d
}

// leave notes that the client has given the request up.
func (d *inbound3) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lost()
}

// guarded answers the request, and returns with what code to end the stream; 0 if there is
// nothing to end. After a panic its memory is not used again.
func (d *inbound3) guarded(r *http.Request) (code http3.ErrCode) {
	p := d.conn.proxy
	defer func() {
		if v := recover(); v != nil {
			p.mourn(v)
			if code = http3.ErrCodeInternalError; !d.headed {
				d.to.WriteHeader(http.StatusInternalServerError)
				code = 0
			}
		}
	}()
	code = d.answer(r)
	d.work.reset()
	p.works.Put(d.work)
	return code
}

// answer answers the request, and returns with what code to end the stream if that does
// not work; 0 if it does.
func (d *inbound3) answer(r *http.Request) http3.ErrCode {
	w := d.work
	end := d.first(r)
	head, tooLarge, ok := http2.AppendHead(nil, fieldsOf(r), http2.Limits{Head: w.limits.Head, Fields: w.limits.Fields, Connect: true}, end)
	if !ok {
		d.conn.proxy.tally.refuse(400)
		return http3.ErrCodeMessageError
	}
	x := &w.exchange
	*x = exchange{conn: d.conn, work: w, client: d, inbound: &d.interest}
	_, err := w.request.Parse(head, &w.limits)
	w.toHEAD = string(w.request.Method) == "HEAD"
	w.record.head = int64(len(head))
	switch {
	case tooLarge:
		d.conn.refuseOne(w, d, &http1.Error{Status: 431, Reason: "the header is too large"})
	case err != nil:
		d.conn.refuseOne(w, d, err)
	case r.Method == http.MethodConnect && !x.carry(): // http1 has refused any other
		d.conn.refuseOne(w, d, errProtocol)
	default:
		d.gather()
		x.run()
	}
	if x.aborted || d.broken || !d.headed {
		return http3.ErrCodeInternalError
	}
	return 0
}

// fieldsOf is the header list of a request. What http3 has taken out of it and put
// together is put back, so that it is read by the rules that HTTP/2 has; http3 does not
// say which :scheme there was.
func fieldsOf(r *http.Request) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		if r.Method == http.MethodConnect && r.ProtoMajor == 3 && strings.HasPrefix(r.Proto, "HTTP/") {
			if !yield(":method", r.Method) || !yield(":authority", r.Host) {
				return
			}
		} else if !yield(":method", r.Method) || !yield(":scheme", "https") || !yield(":authority", r.Host) || !yield(":path", r.RequestURI) {
			return
		} else if r.Method == http.MethodConnect && !yield(":protocol", r.Proto) {
			return
		}
		for name, values := range r.Header {
			name = strings.ToLower(name)
			for _, value := range values {
				if !yield(name, value) {
					return
				}
			}
		}
	}
}

// first reports whether the request has no body. One without a length may have none
// nevertheless; if its method seldom has one, it is waited for.
func (d *inbound3) first(r *http.Request) (end bool) {
	if r.ContentLength >= 0 {
		d.ended = r.ContentLength == 0
		return d.ended
	}
	switch r.Method {
	case "GET", "HEAD", "OPTIONS", "DELETE", "TRACE":
		b := body{chunked: true}
		for d.work.in.len() == 0 && !d.ended && d.failure == nil {
			d.failure = d.fill(&b)
		}
	}
	return d.ended && d.work.in.len() == 0
}

// gather waits for a small body, so that it can be sent at once, and again. If it does
// not come, receive will say so.
func (d *inbound3) gather() {
	r, in := &d.work.request, &d.work.in
	if r.Bodyless() || r.Chunked || r.Continue || r.Length > int64(len(in.b)) {
		return
	}
	b := bodyOf(r, -1)
	for int64(in.len()) < r.Length && d.failure == nil {
		if d.failure = d.fill(&b); d.failure == nil && d.ended && int64(in.len()) < r.Length {
			d.failure = errors.Join(errClient, io.ErrUnexpectedEOF)
		}
	}
}

// fill reads a part of the body into the buffer.
func (d *inbound3) fill(b *body) error {
	config, clock := d.conn.proxy.settings(), d.conn.proxy.clock
	now := clock.now()
	d.mu.Lock()
	if d.stopped {
		d.mu.Unlock()
		return errStopped
	}
	_ = d.control.SetReadDeadline(time.Now().Add(d.patience(b, config)))
	d.mu.Unlock()
	in := &d.work.in
	n, err := d.from.Read(in.space(bufferSize))
	in.end += n
	b.pace.add(n, clock.now()-now)
	switch {
	case errors.Is(err, io.EOF):
		d.ended = true
	case err != nil && n == 0:
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.stopped && errors.Is(err, os.ErrDeadlineExceeded) {
			return errStopped
		}
		return errors.Join(errClient, err)
	}
	return nil
}

// receive implements downstream.
func (d *inbound3) receive(dst []byte, b *body) (out []byte, done bool, err error) {
	in := &d.work.in
	for in.len() == 0 && !d.ended {
		if d.failure != nil {
			return dst, false, d.failure
		}
		if err := d.fill(b); err != nil {
			return dst, false, err
		}
	}
	data := in.bytes()
	if b.chunked {
		dst, err = b.append(dst, data)
		done = d.ended
	} else {
		dst = append(dst, data...)
		b.remaining -= int64(len(data))
		done = b.remaining == 0
		if d.ended && b.remaining > 0 {
			err = errors.Join(errClient, io.ErrUnexpectedEOF)
		}
	}
	in.reset()
	if done && err == nil {
		dst = b.end(dst)
	}
	return dst, done, err
}

// trailer implements requestBody. Calls of gRPC, which need them, do not come by HTTP/3.
func (d *inbound3) trailer() []byte { return nil }

// stop implements requestBody.
func (d *inbound3) stop(now bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped = now; now {
		_ = d.control.SetReadDeadline(time.Unix(1, 0))
	}
}

// head implements downstream.
func (d *inbound3) head(r *http1.Response, a http1.Answer) bool {
	if d.headed {
		return false // that which has begun has failed
	}
	w, h := d.work, d.to.Header()
	size := int64(0)
	for i := range r.Fields {
		f := &r.Fields[i]
		// A field Trailer would have http3 take others for trailers.
		if name := text(f.Lower); !f.Hop() && name != "trailer" && name != "content-length" {
			size += int64(len(f.Lower) + len(f.Value))
			name = textproto.CanonicalMIMEHeaderKey(name)
			h[name] = append(h[name], string(f.Value))
		}
	}
	w.record.sentHead += size
	w.record.sent += size
	if r.Interim() {
		d.patient()
		d.to.WriteHeader(r.Status)
		clear(h)
		return d.wanted()
	}
	// http3 adds nothing of its own where there is a field, be it without a value.
	for _, name := range []string{"Date", "Content-Type", "Content-Length"} {
		if _, ok := h[name]; !ok {
			h[name] = nil
		}
	}
	if a.Framing == http1.ByLength {
		h["Content-Length"] = []string{strconv.FormatInt(a.Length, 10)}
	} else if a.Framing == http1.NoBody && r.Length >= 0 && r.Status != 204 {
		h["Content-Length"] = []string{strconv.FormatInt(r.Length, 10)}
	}
	w.out = w.out[:0]
	d.headed = true
	d.to.WriteHeader(r.Status)
	return a.Framing != http1.NoBody || d.data(nil, last)
}

// data implements downstream.
func (d *inbound3) data(b []byte, how part) bool {
	w := d.work
	w.record.sent += int64(len(b))
	if how == held {
		w.out = append(w.out, b...)
		return true
	}
	ok := d.write(w.out) && d.write(b)
	w.out = w.out[:0]
	if how == last {
		for line := range strings.SplitSeq(text(w.trailer), "\r\n") {
			if name, value, ok := strings.Cut(line, ": "); ok {
				d.to.Header().Add(http.TrailerPrefix+strings.Clone(name), strings.Clone(value))
			}
		}
	}
	d.patient()
	ok = ok && d.control.Flush() == nil
	d.broken = d.broken || !ok
	return ok
}

// patient sets until when the client has to take what comes next.
func (d *inbound3) patient() {
	config := d.conn.proxy.settings()
	patience := d.pace.patience(config.WriteTimeout, config.MinRate)
	if d.carries {
		patience = config.TunnelTimeout
	}
	_ = d.control.SetWriteDeadline(time.Now().Add(patience))
}

// write writes a part of the answer.
func (d *inbound3) write(b []byte) bool {
	clock := d.conn.proxy.clock
	for len(b) > 0 {
		d.patient()
		now := clock.now()
		n, err := d.to.Write(b[:min(len(b), writePiece)])
		d.pace.add(n, clock.now()-now)
		if b = b[n:]; err != nil {
			return false
		}
	}
	return true
}
