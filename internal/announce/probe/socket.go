package probe

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// room is the size of each buffer of a socket, in bytes: for one that is too
	// small the packets of nodes that are gone, which wait for a hardware address,
	// would take the place of others.
	room = 4 << 20
	// networkControl is DSCP CS6 (RFC 2474, section 4.2.2), by which networks that are
	// overloaded tell what holds them together.
	networkControl = 0xc0
	priority       = 6
)

// socket sends and receives at one address.
type socket struct {
	conn   *net.UDPConn
	raw    syscall.RawConn
	closed atomic.Bool
}

func listen(at netip.AddrPort) (*socket, error) {
	family := "udp4"
	if at.Addr().Is6() {
		family = "udp6"
	}
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { prepare(int(fd), at.Addr().Is6()) })
	}}
	conn, err := config.ListenPacket(context.Background(), family, at.String())
	if err != nil {
		return nil, err
	}
	s := &socket{conn: conn.(*net.UDPConn)}
	if s.raw, err = s.conn.SyscallConn(); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("socket at %s: %w", at, err)
	}
	return s, nil
}

// prepare asks for what probes are better off with, and works without. Only
// CAP_NET_ADMIN may have larger buffers than the system's limit.
func prepare(fd int, ipv6 bool) {
	set := func(level, option, value int) error { return unix.SetsockoptInt(fd, level, option, value) }
	if set(unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, room) != nil {
		_ = set(unix.SOL_SOCKET, unix.SO_SNDBUF, room)
	}
	if set(unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, room) != nil {
		_ = set(unix.SOL_SOCKET, unix.SO_RCVBUF, room)
	}
	if ipv6 {
		_ = set(unix.IPPROTO_IPV6, unix.IPV6_TCLASS, networkControl)
	} else {
		_ = set(unix.IPPROTO_IP, unix.IP_TOS, networkControl)
	}
	_ = set(unix.SOL_SOCKET, unix.SO_PRIORITY, priority) // after the class, which sets it too
}

// send never waits: where there is no room the packet is lost, as it could be on
// its way.
func (s *socket) send(b []byte, to netip.AddrPort) error {
	var address unix.Sockaddr
	if to.Addr().Is4() {
		address = &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	} else {
		address = &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	}
	var failed error
	err := s.raw.Write(func(fd uintptr) bool {
		failed = unix.Sendto(int(fd), b, unix.MSG_DONTWAIT, address)
		return true
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return fmt.Errorf("to %s: %w", to, err)
	}
	return nil
}

// receive waits for a packet and returns its length.
func (s *socket) receive(b []byte) (int, error) {
	n, _, err := s.conn.ReadFromUDPAddrPort(b)
	return n, err
}

// poll returns the length of a packet if there is one. It works beside a receive
// that waits.
func (s *socket) poll(b []byte) (int, bool) {
	n := -1
	err := s.raw.Control(func(fd uintptr) {
		if got, _, err := unix.Recvfrom(int(fd), b, unix.MSG_DONTWAIT); err == nil {
			n = got
		}
	})
	return n, err == nil && n >= 0
}

func (s *socket) close() {
	s.closed.Store(true)
	s.conn.Close()
}
