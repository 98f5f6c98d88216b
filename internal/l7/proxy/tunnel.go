package proxy

import (
	"io"

	"github.com/fairlead-net/fairlead/internal/l7/http1"
)

// tunnel tells the client that the protocol changes, and from then on passes on
// whatever comes from either side, until both have ended or nothing moves for too
// long (RFC 9110, section 7.8).
func (x *exchange) tunnel(up *upstream) {
	x.status, x.closes, x.replied = 101, true, true
	in := &x.work.in
	x.out = http1.AppendResponse(x.out[:0], &x.response, http1.Answer{Framing: http1.NoBody, Upgrade: true})
	x.record.sentHead += int64(len(x.out))
	x.out = append(x.out, x.up.bytes()...)
	if !x.send(x.out) {
		return
	}
	if in.len() > 0 {
		up.arm(after(x.proxy.clock.now(), x.proxy.settings().WriteTimeout))
		if _, err := up.Write(in.bytes()); err != nil {
			return
		}
	}
	if up.secured != nil && up.secured.tunnel() != nil {
		return
	}
	t := tunnel{conn: x.conn, up: up}
	t.moved()
	t.run(in.b, x.work.up.b)
	x.record.body += t.forth
	x.record.sent += t.back
	x.got(t.back)
	in.reset()
}

// tunnel is an upgraded connection.
type tunnel struct {
	*conn
	up *upstream
	// forth and back are how much has been passed on.
	forth, back int64
}

// run passes on both directions.
func (t *tunnel) run(forth, back []byte) {
	done := make(chan error, 1)
	go func() {
		err := guard(func() error {
			t.pump(t.up.stream(), t.in, forth, &t.forth)
			return nil
		})
		if err != nil {
			t.cut()
		}
		done <- err
	}()
	t.pump(t.in, t.up.stream(), back, &t.back)
	if bug := <-done; bug != nil {
		panic(bug)
	}
}

// cut ends both directions.
func (t *tunnel) cut() {
	_ = t.up.Close()
	t.socket.TCPConn.Close()
}

// moved puts off the end of the tunnel.
func (t *tunnel) moved() {
	at := after(t.proxy.clock.now(), t.proxy.settings().TunnelTimeout)
	t.socket.arm(at)
	t.up.arm(at)
}

// pump passes on one direction until its end, and then says so. If it breaks, the
// other one does too.
func (t *tunnel) pump(to io.Writer, from io.Reader, buffer []byte, moved *int64) {
	for {
		n, err := from.Read(buffer)
		t.moved()
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				break
			}
			*moved += int64(n)
			if n == len(buffer) {
				n, err := t.splice(to, from)
				*moved += n
				if err != nil {
					break
				}
			}
		}
		if err == io.EOF {
			if to, ok := to.(interface{ CloseWrite() error }); ok && to.CloseWrite() == nil {
				return
			}
		}
		if err != nil {
			break
		}
	}
	t.cut()
}

// splice has the kernel move what has come, if that is much and nothing is encrypted.
// It never waits for more, so that what moves is always seen.
func (t *tunnel) splice(to io.Writer, from io.Reader) (int64, error) {
	dst, ok1 := to.(*socket)
	src, ok2 := from.(*socket)
	if !ok1 || !ok2 {
		return 0, nil
	}
	n := src.waiting()
	if n < bufferSize {
		return 0, nil
	}
	return dst.TCPConn.ReadFrom(&io.LimitedReader{R: src.TCPConn, N: n})
}
