package proxy

import (
	"sync"
	"sync/atomic"

	"github.com/fairlead-net/fairlead/internal/l7/http2"
)

// interest is that of a client which has many requests under way, in the answer to one
// of them: it may give that up while the exchange waits for an upstream. A nil interest
// is that of a connection of HTTP/1.1, which is not looked at in the meantime.
type interest struct {
	// version is which of the protocols the client speaks.
	version int
	// guard guards up and call.
	guard *sync.Mutex
	// up is the connection to an upstream, call the stream of one, that the exchange
	// waits for; gone is set when the client does not want the answer any more.
	up   *socket
	call *http2.Stream
	gone atomic.Bool
	// left, if it is not nil, tells an exchange that waits for its time that the client is
	// gone. It can be called more than once.
	left func()
	// carries is set once the stream carries another protocol: it may then be quiet for as
	// long as a tunnel may.
	carries bool
	// body is the request's.
	body requestBody
}

// requestBody is the body of a request and what follows it.
type requestBody interface {
	// stop has receive wait no more, or again.
	stop(now bool)
	// trailer returns the text of the fields after the body, if that has come whole.
	trailer() []byte
}

// trailer returns the text of the fields after the body. The trailers of HTTP/1.1 end
// here.
func (d *interest) trailer() []byte {
	if d == nil {
		return nil
	}
	return d.body.trailer()
}

// lost ends what the exchange waits for, since its client is gone. The lock is held.
func (d *interest) lost() {
	d.gone.Store(true)
	if d.up != nil {
		_ = d.up.TCPConn.Close()
	}
	if d.call != nil {
		d.call.Wake()
	}
	if d.left != nil {
		d.left()
	}
}

// statusGone is what is counted for a request whose client has given it up; nginx has
// the number.
const statusGone = 499

// wanted reports whether the client still waits for the answer, as far as one knows.
func (d *interest) wanted() bool {
	return d == nil || !d.gone.Load()
}

// hold notes what the exchange waits for, or that it waits no more, and reports whether
// the client still wants an answer.
func (d *interest) hold(up *socket, call *http2.Stream) bool {
	if d == nil {
		return true
	}
	d.guard.Lock()
	defer d.guard.Unlock()
	d.up, d.call = up, call
	return !d.gone.Load()
}
