package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// socket talks to netfilter in the kernel. It is not safe for concurrent use.
type socket struct {
	fd     int
	sends  int // size of the send buffer
	buffer []byte
}

// receives is the size of the receive buffer: enough for an error about each of
// some thousand messages, none of which may be lost.
const receives = 8 << 20

func openSocket() (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("opening a netlink socket: %w", err)
	}
	s := &socket{fd: fd, buffer: make([]byte, 1<<18)}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receives),
		// The messages themselves are not sent back with errors about them.
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1),
		// The kernel answers before send returns; this only guards against waiting forever.
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 60}),
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}),
	)
	if err != nil {
		s.close()
		return nil, fmt.Errorf("preparing a netlink socket (CAP_NET_ADMIN is needed): %w", err)
	}
	return s, nil
}

func (s *socket) close() { _ = unix.Close(s.fd) }

// send hands messages over in one system call, which a transaction needs.
func (s *socket) send(data []byte) error {
	// The buffer must hold the messages and the kernel's own bookkeeping.
	if need := len(data) + 1<<16; need > s.sends {
		if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, need); err != nil {
			return fmt.Errorf("making the netlink socket's buffer larger: %w", err)
		}
		s.sends = need
	}
	for {
		err := unix.Sendto(s.fd, data, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// reply is one message from the kernel.
type reply struct {
	kind, flags uint16
	number      uint32
	data        []byte // after the netlink header
}

// errno returns what an error message says; zero is success.
func (r reply) errno() unix.Errno {
	if len(r.data) < 4 {
		return unix.EBADMSG
	}
	return unix.Errno(-int32(binary.NativeEndian.Uint32(r.data)))
}

// receive calls visit for each message until it returns false.
func (s *socket) receive(flags int, visit func(reply) bool) error {
	for {
		n, _, err := unix.Recvfrom(s.fd, s.buffer, flags)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return os.NewSyscallError("receive from netlink", err)
		}
		for data := s.buffer[:n]; len(data) >= unix.SizeofNlMsghdr; {
			length := int(binary.NativeEndian.Uint32(data))
			if length < unix.SizeofNlMsghdr || length > len(data) {
				return fmt.Errorf("netlink message of %d bytes: %w", length, unix.EBADMSG)
			}
			r := reply{
				kind: binary.NativeEndian.Uint16(data[4:]), flags: binary.NativeEndian.Uint16(data[6:]),
				number: binary.NativeEndian.Uint32(data[8:]), data: data[unix.SizeofNlMsghdr:length],
			}
			if !visit(r) {
				return nil
			}
			data = data[min(len(data), (length+unix.NLMSG_ALIGNTO-1)&^(unix.NLMSG_ALIGNTO-1)):]
		}
	}
}

// drain throws away what was not read.
func (s *socket) drain() {
	for {
		if err := s.receive(unix.MSG_DONTWAIT, func(reply) bool { return true }); err != nil && !errors.Is(err, unix.ENOBUFS) {
			return
		}
	}
}

// errInterrupted says that what was read changed meanwhile.
var errInterrupted = errors.New("the list changed while it was read")

// query sends one request and calls visit with the attributes of each answer.
func (s *socket) query(m *messages, visit func(data []byte)) error {
	s.drain()
	if err := s.send(m.data); err != nil {
		return err
	}
	var failed error
	err := s.receive(0, func(r reply) bool {
		if r.flags&unix.NLM_F_DUMP_INTR != 0 {
			failed = errInterrupted
		}
		switch r.kind {
		case unix.NLMSG_DONE:
			return false
		case unix.NLMSG_ERROR:
			if errno := r.errno(); errno != 0 {
				failed = errno
			}
			return false
		}
		if len(r.data) >= 4 {
			visit(r.data[4:])
		}
		return true
	})
	return errors.Join(err, failed)
}

// dump is query, repeated while the list changes under it. visit starts anew
// after each call of restart.
func (s *socket) dump(m *messages, restart func(), visit func(data []byte)) error {
	pause := time.Millisecond
	for {
		restart()
		err := s.query(m, visit)
		if !errors.Is(err, errInterrupted) || pause > time.Second {
			return err
		}
		time.Sleep(pause)
		pause *= 2
	}
}
