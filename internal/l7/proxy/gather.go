package proxy

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxParts is how many texts in a row go with one call.
const maxParts = 3

// write sends parts to the client, the one behind the other: with one call where no TLS
// makes records of them, as two calls cost more of the kernel's time than one.
func (c *conn) write(parts [][]byte) (n int, err error) {
	if len(parts) > 1 && c.in == stream(c.socket) {
		return c.socket.WriteAll(parts)
	}
	for _, b := range parts {
		m, err := c.in.Write(b)
		if n += m; err != nil {
			return n, err
		}
	}
	return n, nil
}

// WriteAll is Write of at most maxParts, the one behind the other.
func (s *socket) WriteAll(parts [][]byte) (n int, err error) {
	if s.fd >= 0 {
		var errno unix.Errno
		if n, errno = s.gather(parts); errno != 0 && errno != unix.EAGAIN {
			return 0, errno
		}
	}
	skip := n
	for _, b := range parts {
		part := min(skip, len(b))
		if skip -= part; part == len(b) {
			continue
		}
		m, err := s.wait(b[part:])
		if n += m; err != nil {
			return n, err
		}
	}
	return n, nil
}

// gather sends what the kernel takes of parts.
func (s *socket) gather(parts [][]byte) (int, unix.Errno) {
	for i, b := range parts {
		s.vector[i].Base = unsafe.SliceData(b)
		s.vector[i].SetLen(len(b))
	}
	defer func() { s.vector = [maxParts]unix.Iovec{} }() // pooled memory is not to be kept
	s.message.Iov = &s.vector[0]
	s.message.SetIovlen(len(parts))
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.message)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		switch errno {
		case 0:
			return int(n), 0
		case unix.EINTR:
			continue
		}
		return 0, errno
	}
}
