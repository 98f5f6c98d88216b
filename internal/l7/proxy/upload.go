package proxy

import (
	"errors"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7/http1"
)

// look is how long an upstream may not take any of a request before it is looked
// whether it has answered already.
const look = time.Second

// upload sends a request whose body is still coming. It ends early if the upstream
// answers before it has everything: then the rest is not sent, and both connections
// end with the answer.
func (x *exchange) upload(up *upstream) error {
	if up.used {
		if _, err := up.Try(x.up.space(x.limits.Head)); !errors.Is(err, errNothing) {
			return errors.Join(errRetry, errStale)
		}
	}
	if x.request.Continue {
		if err := x.await(up); err != nil || x.early {
			return err
		}
	}
	body := &x.body
	*body = bodyOf(&x.request, x.maxBody())
	// The header is sent with what has come of the body, or without.
	done, err := false, error(nil)
	for {
		if x.out, done, err = x.client.receive(x.out, body); err != nil {
			return err
		}
		if err := x.deliver(up, x.out, done); err != nil || x.early || done {
			return err
		}
		x.out = x.out[:0]
	}
}

// await sends the header and waits for leave to send the body, or for an answer
// without it (RFC 9110, section 10.1.1). An upstream that says neither gets it.
func (x *exchange) await(up *upstream) error {
	up.arm(after(x.proxy.clock.now(), x.sendTimeout()))
	if _, err := up.wait(x.out); err != nil {
		return x.broken(err, false)
	}
	x.out = x.out[:0]
	up.arm(after(x.proxy.clock.now(), x.proxy.settings().ContinueTimeout))
	n, err := up.Read(x.up.space(x.limits.Head))
	x.up.end += n
	for waits := true; ; {
		if timedOut(err) && waits && x.up.len() > 0 {
			// It is just saying what to do; the body must not come in between.
			waits = false
			err = x.more(up)
		}
		if err != nil {
			break
		}
		if n, err = x.response.Parse(x.up.bytes(), &x.limits); err != nil {
			return errors.Join(errAnswer, err)
		}
		switch {
		case n > 0 && !x.response.Interim():
			x.early = true // header reads it once more
			x.response.Reset()
			return nil
		case n > 0:
			x.up.begin += n
			if x.response.Status == 100 {
				return x.leave()
			}
			if err := x.interim(); err != nil {
				return err
			}
		default:
			n, err = up.Read(x.up.space(x.limits.Head))
			x.up.end += n
		}
	}
	if !timedOut(err) || x.up.len() > 0 {
		return x.broken(err, false)
	}
	return x.leave()
}

// leave tells the client to send the body.
func (x *exchange) leave() error {
	if !x.client.head(&http1.Response{Status: 100, Reason: []byte("Continue")}, http1.Answer{Framing: http1.NoBody}) {
		return errClient
	}
	return nil
}

// deliver sends a part of a request, perhaps the last, unless the upstream answers
// instead of taking it.
func (x *exchange) deliver(up *upstream, b []byte, last bool) error {
	moved := x.proxy.clock.now()
	for {
		now := x.proxy.clock.now()
		up.arm(after(now, min(look, x.sendTimeout())))
		n, err := up.wait(b)
		if n > 0 {
			moved = now
		}
		b = b[n:]
		m, problem := up.Try(x.up.space(x.limits.Head))
		x.up.end += m
		if m > 0 {
			final, err := x.answered()
			if err != nil {
				return err
			}
			if final {
				x.early = len(b) > 0 || !last
				return nil
			}
			problem = errNothing
		}
		switch {
		case err == nil && !errors.Is(problem, errNothing):
			return problem
		case err == nil:
			return nil
		case !timedOut(err), now-moved > int64(x.sendTimeout()):
			return err
		}
	}
}

// answered reports whether the header of the final answer has come, and passes on
// the responses before it.
func (x *exchange) answered() (bool, error) {
	for {
		n, err := x.response.Parse(x.up.bytes(), &x.limits)
		switch {
		case err != nil:
			return false, errors.Join(errAnswer, err)
		case n == 0:
			return false, nil
		case !x.response.Interim():
			x.response.Reset()
			return true, nil
		}
		x.up.begin += n
		if err := x.interim(); err != nil {
			return false, err
		}
	}
}
