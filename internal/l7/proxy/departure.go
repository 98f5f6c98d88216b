package proxy

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/http1"
)

// departure returns what is closed once the client does not want the answer any more, and
// what ends that.
func (d *interest) departure() (gone <-chan struct{}, end func()) {
	left := make(chan struct{})
	d.guard.Lock()
	defer d.guard.Unlock()
	if d.left = sync.OnceFunc(func() { close(left) }); d.gone.Load() {
		d.left()
	}
	return left, func() {
		d.guard.Lock()
		defer d.guard.Unlock()
		d.left = nil
	}
}

// departure does the same for the peer of a connection, during a time. Nobody else may write
// in the meantime. Once the peer has closed its side, silent is asked whether it has gone for
// that.
func (s *socket) departure(within time.Duration, silent func() bool) (gone <-chan struct{}, end func()) {
	left, over := make(chan struct{}), make(chan error, 1)
	var ended atomic.Bool
	until := after(s.clock.now(), within)
	look := func() {
		found := s.attend(until, false, &ended)
		if found == clientSilent && !silent() {
			found = s.attend(until, true, &ended)
		}
		if found != clientWaits {
			close(left)
		}
	}
	go func() { over <- guard(func() error { look(); return nil }) }()
	return left, func() {
		ended.Store(true)
		_ = s.TCPConn.SetWriteDeadline(time.Unix(1, 0))
		err := <-over
		if _ = s.TCPConn.SetWriteDeadline(time.Time{}); err != nil {
			panic(err)
		}
	}
}

// departure implements leaver.
func (x *exchange) departure(within time.Duration) (gone <-chan struct{}, end func()) {
	if x.inbound != nil {
		return x.inbound.departure()
	}
	return x.socket.departure(within, x.ignored)
}

// ignored has a client of HTTP/1.1 that has closed its side show whether it has gone, or
// only sends nothing more: then it ignores a response that says nothing, as it must (RFC
// 9110, section 15.2); else it resets the connection for it. Clients of HTTP/1.0 know none
// (section 15.2), so they are taken to be there. It reports whether it is known by now
// that the client has gone.
func (x *exchange) ignored() bool {
	nothing := http1.Response{Status: 100, Reason: []byte("Continue")}
	return x.request.Minor > 0 && !x.client.head(&nothing, http1.Answer{Framing: http1.NoBody})
}

// departure implements leaver. A client that has closed its side before any handshake of
// TLS has gone; of one of TCP it may have been all that it had to say.
func (p *passage) departure(within time.Duration) (gone <-chan struct{}, end func()) {
	return p.socket.departure(within, func() bool { return p.listener.protocol == l7.HTTPS })
}
