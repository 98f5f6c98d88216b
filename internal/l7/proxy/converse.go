package proxy

import (
	"errors"
	"io"
	"os"
	"syscall"

	"github.com/fairlead-net/fairlead/internal/l7/http1"
)

// maxInterim bounds the responses that come before the final one.
const maxInterim = 16

// converse sends the request and takes the answer to the client. It reports whether
// the connection to the upstream can be used again.
func (x *exchange) converse(up *upstream) (reusable bool, err error) {
	r := &x.request
	x.up.reset()
	x.response.Reset()
	x.out = http1.AppendRequest(x.out[:0], r, x.hop, x.onward())
	if x.whole = x.atOnce(); x.whole {
		err = x.send1(up)
	} else {
		err = x.upload(up)
	}
	if err == nil {
		err = x.header(up)
	}
	if err != nil {
		return false, err
	}
	x.heard()
	if x.response.Status == 101 {
		if !x.upgrade || x.early || !x.carriedAsAsked() {
			return false, errAnswer
		}
		if x.carries {
			x.carryOn(up)
		} else {
			x.tunnel(up)
		}
		return false, nil
	}
	switch status := x.response.Status; {
	case x.carries && status < 300:
		return false, errNotCarried // the client would take it for leave to go on
	case x.tries > 0 && x.retries(status):
		return false, errors.Join(errRetry, errNext)
	case x.replaces(status):
		return false, errReplaced
	case !x.answerPasses():
		return false, errWithheld
	}
	x.noteAnswer(true)
	x.revise()
	return x.relay(up)
}

// atOnce reports whether all of the request is in the buffer.
func (x *exchange) atOnce() bool {
	r := &x.request
	return r.Bodyless() || !r.Chunked && !r.Continue && r.Length <= int64(x.work.in.len())
}

// send1 sends a request with its body in one piece and reads what comes first of the
// answer.
func (x *exchange) send1(up *upstream) error {
	r, in := &x.request, &x.work.in
	body := int(max(r.Length, 0))
	x.out = append(x.out, in.bytes()[:body]...)
	now := x.at
	up.arm(after(now, x.readTimeout()))
	n, err := up.Exchange(x.out, x.up.space(x.limits.Head), up.used)
	if err != nil {
		return x.broken(err, x.repeatable())
	}
	in.begin += body
	x.record.body = int64(body)
	x.up.end += n
	return nil
}

// broken says what an error before any byte of an answer means. A request that may
// be repeated (RFC 9110, section 9.2.2), or of which nothing was sent, is.
func (x *exchange) broken(err error, repeatable bool) error {
	if errors.Is(err, errStale) || repeatable && closed(err) {
		return errors.Join(errRetry, err)
	}
	return err
}

// closed reports whether an error is that the peer has closed the connection.
func closed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// header reads the header of the final answer, and passes on those before it.
func (x *exchange) header(up *upstream) error {
	for {
		n, err := x.response.Parse(x.up.bytes(), &x.limits)
		if err != nil {
			return errors.Join(errAnswer, err)
		}
		if n > 0 {
			x.up.begin += n
			if !x.response.Interim() {
				return nil
			}
			if err := x.interim(); err != nil {
				return err
			}
			continue
		}
		if err := x.more(up); err != nil {
			return err
		}
	}
}

// more reads more of the answer.
func (x *exchange) more(up *upstream) error {
	up.arm(after(x.proxy.clock.now(), x.readTimeout()))
	n, err := up.Read(x.up.space(x.limits.Head))
	x.up.end += n
	return err
}

// interim passes on a response that is not the final one (RFC 9110, section 15.2),
// but leave to send a body that has been sent already.
func (x *exchange) interim() error {
	if x.interims++; x.interims > maxInterim {
		return errAnswer
	}
	if x.response.Status == 100 || x.request.Minor == 0 {
		return nil
	}
	if !x.client.head(&x.response, http1.Answer{Framing: http1.NoBody}) {
		return errClient
	}
	return nil
}

// timedOut reports whether an error is that of a deadline.
func timedOut(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
