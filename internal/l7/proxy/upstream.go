package proxy

import (
	"io"
	"sync/atomic"
)

// upstream is a connection to an endpoint: a socket, or TLS over it.
type upstream struct {
	*socket
	// secured is nil if there is no TLS.
	secured *secured
	// pool is where it waits for requests.
	pool *pool
	// used is set once a request has been answered on it, idle since when it waits, until
	// how long it may; 0: for ever.
	used        bool
	idle, until int64
	// counted is a number that it is one of, until it is closed; nil: of none.
	counted atomic.Pointer[atomic.Int64]
}

// Close closes the connection; it can be called more than once.
func (u *upstream) Close() error {
	if n := u.counted.Swap(nil); n != nil {
		n.Add(-1)
	}
	return u.socket.Close()
}

// old reports whether it is not to be used any more.
func (u *upstream) old(now int64) bool { return u.until != 0 && u.until <= now }

// stream returns what bytes are read from and written to.
func (u *upstream) stream() interface {
	io.ReadWriter
	CloseWrite() error
} {
	if u.secured != nil {
		return u.secured
	}
	return u.socket
}

// Exchange is that of a socket.
func (u *upstream) Exchange(out, in []byte, suspicious bool) (int, error) {
	if u.secured != nil {
		return u.secured.Exchange(out, in, suspicious)
	}
	return u.socket.Exchange(out, in, suspicious)
}

// Try is that of a socket.
func (u *upstream) Try(p []byte) (int, error) {
	if u.secured != nil {
		return u.secured.Try(p)
	}
	return u.socket.Try(p)
}

// Read waits for bytes, within the deadline.
func (u *upstream) Read(p []byte) (int, error) {
	if u.secured != nil {
		return u.secured.Read(p)
	}
	return u.socket.Read(p)
}

// Write sends all of p, within the deadline.
func (u *upstream) Write(p []byte) (int, error) { return u.wait(p) }

// wait sends p, and returns how much of it has been sent when the deadline passes;
// what is left has to be given again.
func (u *upstream) wait(p []byte) (int, error) {
	if u.secured != nil {
		return u.secured.wait(p)
	}
	return u.socket.wait(p)
}
