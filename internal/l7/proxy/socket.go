package proxy

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// stream is what the engine needs of a client's connection, so that another way of
// I/O, or TLS, can stand behind it.
type stream interface {
	io.ReadWriter
	// Each calls serve whenever there is something to read, until that returns false.
	// Within serve, Read does not wait: it returns errNothing instead.
	Each(serve func() bool) error
}

var (
	// errNothing is that nothing can be read at the moment.
	errNothing error = nothing{}
	// errStale is that a connection was closed, or spoken on, while it was idle.
	errStale = errors.New("the idle connection cannot be used")
)

// socket is a TCP connection that Go's network poller waits for, and for which
// the calls that move bytes are made directly: they never block, so the scheduler
// need not know of them. One goroutine reads, and one at a time writes.
type socket struct {
	*net.TCPConn
	raw syscall.RawConn
	// clock pokes the connection when its deadline has passed.
	clock    *clock
	deadline atomic.Int64
	// watcher is called every tick; the clock guards it.
	watcher func(now int64)
	// poll is (*socket).ready, made once.
	poll func(fd uintptr) bool

	// fd is set within serve.
	fd    int
	serve func() bool
	// out is what is still to be sent before in is read into; n and err are what came of
	// it. With suspicious, something to read beforehand is an error.
	out, in    []byte
	n          int
	err        error
	suspicious bool
	// message and vector are memory for gather.
	message unix.Msghdr
	vector  [maxParts]unix.Iovec
	// stalled is how many nanoseconds have been waited for the peer to take bytes, since it
	// was last set to 0.
	stalled int64
}

func newSocket(conn *net.TCPConn, clock *clock) (*socket, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &socket{TCPConn: conn, raw: raw, clock: clock, fd: -1}
	s.poll = s.ready
	if !clock.add(s) {
		return nil, net.ErrClosed
	}
	return s, nil
}

// Close closes the connection; it can be called more than once.
func (s *socket) Close() error {
	s.clock.remove(s)
	return s.TCPConn.Close()
}

// arm sets when the next operation has to be over; 0 means never.
func (s *socket) arm(at int64) { s.deadline.Store(at) }

// watch has f called every tick from now on; nil ends that.
func (s *socket) watch(f func(now int64)) {
	s.clock.mu.Lock()
	defer s.clock.mu.Unlock()
	s.watcher = f
}

// premature reports whether an operation was ended by a deadline that no longer
// holds: the clock may poke a connection just when it has moved on.
func (s *socket) premature(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	if at := s.deadline.Load(); at != 0 && at <= s.clock.now() {
		return false
	}
	return s.TCPConn.SetDeadline(time.Time{}) == nil
}

// run waits until ready has finished.
func (s *socket) run() error {
	for {
		err := s.raw.Read(s.poll)
		if err == nil {
			return s.err
		}
		if !s.premature(err) {
			return err
		}
	}
}

// ready goes on with what the socket is to do, and reports whether it is finished;
// else it is called again when the connection has become readable. After bytes were
// sent it waits at once: what is read next is the answer, which takes a while.
func (s *socket) ready(fd uintptr) bool {
	if s.serve != nil {
		s.fd = int(fd)
		again := s.serve()
		s.fd = -1
		return !again
	}
	if s.suspicious {
		s.suspicious = false
		if _, errno := receive(int(fd), s.in[:1]); errno != unix.EAGAIN {
			s.err = errStale
			return true
		}
	}
	if len(s.out) > 0 {
		n, errno := send(int(fd), s.out)
		s.out = s.out[n:]
		if errno != 0 && errno != unix.EAGAIN {
			s.err = errno
			return true
		}
		return len(s.out) > 0
	}
	n, errno := receive(int(fd), s.in)
	switch {
	case errno == unix.EAGAIN:
		return false
	case errno != 0:
		s.err = errno
	case n == 0:
		s.err = io.EOF
	}
	s.n = n
	return true
}

// Each implements stream.
func (s *socket) Each(serve func() bool) error {
	s.serve, s.err = serve, nil
	err := s.run()
	s.serve = nil
	return err
}

// Read implements stream.
func (s *socket) Read(p []byte) (int, error) {
	if s.fd < 0 {
		s.in, s.n, s.err = p, 0, nil
		err := s.run()
		return s.n, err
	}
	n, errno := receive(s.fd, p)
	switch {
	case errno == unix.EAGAIN:
		return 0, errNothing
	case errno != 0:
		return 0, errno
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// Exchange sends out and then reads into in. With suspicious it first makes sure
// that nothing has come in, and returns errStale if something has; nothing has been
// sent then.
func (s *socket) Exchange(out, in []byte, suspicious bool) (int, error) {
	s.out, s.in, s.n, s.err, s.suspicious = out, in, 0, nil, suspicious
	err := s.run()
	if err == nil && len(s.out) > 0 {
		rest := s.out
		s.out = nil
		if _, err = s.wait(rest); err == nil {
			err = s.run()
		}
	}
	s.out = nil
	return s.n, err
}

// Try reads what is there at the moment; errNothing is that nothing is.
func (s *socket) Try(p []byte) (int, error) {
	var (
		n     int
		errno unix.Errno
	)
	if err := s.raw.Control(func(fd uintptr) { n, errno = receive(int(fd), p) }); err != nil {
		return 0, err
	}
	switch {
	case errno == unix.EAGAIN:
		return 0, errNothing
	case errno != 0:
		return 0, errno
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// Write implements stream.
func (s *socket) Write(p []byte) (int, error) {
	if s.fd < 0 {
		return s.wait(p)
	}
	n, errno := send(s.fd, p)
	if n == len(p) {
		return n, nil
	}
	if errno != 0 && errno != unix.EAGAIN {
		return n, errno
	}
	rest, err := s.wait(p[n:])
	return n + rest, err
}

// wait sends p, however long that takes within the deadline.
func (s *socket) wait(p []byte) (int, error) {
	n, begin := 0, s.clock.now()
	for {
		m, err := s.TCPConn.Write(p[n:])
		if n += m; err == nil || !s.premature(err) {
			s.stalled += s.clock.now() - begin
			return n, err
		}
	}
}

func receive(fd int, p []byte) (int, unix.Errno) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			return int(n), 0
		case unix.EINTR:
			continue
		}
		return 0, errno
	}
}

func send(fd int, p []byte) (int, unix.Errno) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			return int(n), 0
		case unix.EINTR:
			continue
		}
		return 0, errno
	}
}

// waiting returns how many bytes have come that nobody has read.
func (s *socket) waiting() int64 {
	n := 0
	_ = s.raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	return int64(n)
}
