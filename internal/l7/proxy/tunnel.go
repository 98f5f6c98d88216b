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
	x.out = append(x.out, x.up.bytes()...)
	if !x.send(x.out) {
		return
	}
	if in.len() > 0 {
		up.arm(after(x.proxy.clock.now(), x.proxy.config.WriteTimeout))
		if _, err := up.Write(in.bytes()); err != nil {
			return
		}
	}
	t := tunnel{conn: x.conn, up: up}
	t.moved()
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.pump(up, x.conn.in, in.b)
	}()
	t.pump(x.conn.in, up, x.work.up.b)
	<-done
	in.reset()
}

// tunnel is an upgraded connection.
type tunnel struct {
	*conn
	up *upstream
}

// moved puts off the end of the tunnel.
func (t *tunnel) moved() {
	at := after(t.proxy.clock.now(), t.proxy.config.TunnelTimeout)
	t.socket.arm(at)
	t.up.arm(at)
}

// pump passes on one direction until its end, and then says so. If it breaks, the
// other one does too.
func (t *tunnel) pump(to io.Writer, from io.Reader, buffer []byte) {
	for {
		n, err := from.Read(buffer)
		t.moved()
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				break
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
	t.up.Close()
	t.socket.TCPConn.Close()
}
