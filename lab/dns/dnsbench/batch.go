package main

import (
	"errors"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batch is how many packets one system call sends or receives.
const batch = 64

// maxReply is larger than any reply without EDNS.
const maxReply = 512

// message is a struct mmsghdr of Linux.
type message struct {
	header unix.Msghdr
	length uint32
	_      [4]byte
}

// socket is a connected UDP socket that never blocks.
type socket struct {
	fd            int
	out, in       [batch]message
	parts, spaces [batch]unix.Iovec
	packets       [batch][maxReply]byte
	replies       [batch][maxReply]byte
}

func dial(to netip.AddrPort) (*socket, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	s := &socket{fd: fd}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<20)
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	for i := range batch {
		s.parts[i].Base, s.spaces[i].Base = &s.packets[i][0], &s.replies[i][0]
		s.spaces[i].SetLen(maxReply)
		s.out[i].header.Iov, s.in[i].header.Iov = &s.parts[i], &s.spaces[i]
		s.out[i].header.SetIovlen(1)
		s.in[i].header.SetIovlen(1)
	}
	return s, nil
}

// set makes a query one to send, with an ID.
func (s *socket) set(i int, query []byte, id uint16) {
	n := copy(s.packets[i][:], query)
	s.packets[i][0], s.packets[i][1] = byte(id>>8), byte(id)
	s.parts[i].SetLen(n)
}

// send sends the first n packets that were set, and returns how many the kernel
// took.
func (s *socket) send(n int) (int, error) { return s.call(unix.SYS_SENDMMSG, &s.out, n) }

// receive returns how many replies have come.
func (s *socket) receive() (int, error) { return s.call(unix.SYS_RECVMMSG, &s.in, batch) }

// reply returns one that has come.
func (s *socket) reply(i int) []byte { return s.replies[i][:s.in[i].length] }

func (s *socket) call(number uintptr, messages *[batch]message, n int) (int, error) {
	if n == 0 {
		return 0, nil
	}
	done, _, errno := unix.Syscall6(number, uintptr(s.fd), uintptr(unsafe.Pointer(messages)), uintptr(n), unix.MSG_DONTWAIT, 0, 0)
	switch errno {
	case 0:
		return int(done), nil
	case unix.EAGAIN, unix.EINTR, unix.ENOBUFS:
		return 0, nil
	}
	return 0, errno
}
