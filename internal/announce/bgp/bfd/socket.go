package bfd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// The ports of RFC 5881, section 4, and RFC 5883, section 5.
	portSingle = 3784
	portMulti  = 4784
	// Source ports of RFC 5881, section 4.
	firstSource = 49152
	sources     = 65536 - firstSource
	hopLimit    = 255
	// networkControl is DSCP CS6 (RFC 2474, section 4.2.2), by which networks that are
	// overloaded tell what holds them together.
	networkControl = 0xc0
	receiveBuffer  = 1 << 20
	// maxRead is more than any packet without authentication has.
	maxRead = 64
)

// kind is what a socket listens for.
type kind struct{ multiHop, ipv6 bool }

func (k kind) port() int {
	if k.multiHop {
		return portMulti
	}
	return portSingle
}

func (k kind) network() string {
	if k.ipv6 {
		return "udp6"
	}
	return "udp4"
}

// listener receives all packets of its kind.
type listener struct {
	kind   kind
	conn   *net.UDPConn
	raw    syscall.RawConn
	closed atomic.Bool
}

// arrival is a packet with what the kernel says of it.
type arrival struct {
	from           netip.Addr // without a zone
	interfaceIndex int
	hops           int
	length         int
}

func listen(k kind) (*listener, error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) { failed = prepare(int(fd), k.ipv6) })
		return errors.Join(err, failed)
	}}
	conn, err := config.ListenPacket(context.Background(), k.network(), ":"+strconv.Itoa(k.port()))
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, fmt.Errorf("another program of this node (FRR or BIRD, perhaps) has UDP port %d, which BFD needs; stop it, or take spec.bfdProfile from the BGPPeers", k.port())
	}
	if err != nil {
		return nil, fmt.Errorf("listen for BFD packets at UDP port %d: %w", k.port(), err)
	}
	l := &listener{kind: k, conn: conn.(*net.UDPConn)}
	if l.raw, err = l.conn.SyscallConn(); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("listen for BFD packets at UDP port %d: %w", k.port(), err)
	}
	return l, nil
}

// prepare asks for the hop limit and the interface of each packet. A larger buffer is
// good to have, and only CAP_NET_ADMIN may exceed the system's limit.
func prepare(fd int, ipv6 bool) error {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	}
	if ipv6 {
		return errors.Join(unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1),
			unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1))
	}
	return errors.Join(unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVTTL, 1),
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1))
}

// receive waits for a packet.
func (l *listener) receive(b []byte) (arrival, error) {
	var a arrival
	var failed error
	err := l.raw.Read(func(fd uintptr) bool {
		a, failed = l.read(int(fd), b)
		return !errors.Is(failed, unix.EAGAIN)
	})
	if err == nil {
		err = failed
	}
	return a, err
}

// poll returns a packet if there is one. It works beside a receive that waits.
func (l *listener) poll(b []byte) (arrival, bool) {
	var a arrival
	failed := error(unix.EAGAIN)
	err := l.raw.Control(func(fd uintptr) { a, failed = l.read(int(fd), b) })
	return a, err == nil && failed == nil
}

func (l *listener) read(fd int, b []byte) (arrival, error) {
	var control [256]byte
	n, controls, _, from, err := unix.Recvmsg(fd, b, control[:], unix.MSG_DONTWAIT)
	if err != nil {
		return arrival{}, err
	}
	a := arrival{length: n}
	switch from := from.(type) {
	case *unix.SockaddrInet4:
		a.from = netip.AddrFrom4(from.Addr)
	case *unix.SockaddrInet6:
		a.from = netip.AddrFrom16(from.Addr).Unmap()
	}
	messages, err := unix.ParseSocketControlMessage(control[:controls])
	if err != nil {
		return a, nil // without a hop limit it counts for nothing
	}
	for _, m := range messages {
		a.note(m)
	}
	return a, nil
}

// note takes in what the kernel says of a packet. Both structures begin or end with
// native integers.
func (a *arrival) note(m unix.SocketControlMessage) {
	switch h := m.Header; {
	case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_TTL && len(m.Data) >= 4,
		h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_HOPLIMIT && len(m.Data) >= 4:
		a.hops = native(m.Data)
	case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(m.Data) >= 4:
		a.interfaceIndex = native(m.Data)
	case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(m.Data) >= 20:
		a.interfaceIndex = native(m.Data[16:])
	}
}

func (l *listener) close() {
	l.closed.Store(true)
	_ = l.conn.Close()
}

// dial returns a socket that sends to a router, from a source port that nobody else
// has.
func dial(p Peer) (*net.UDPConn, error) {
	dialer := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) { failed = dress(int(fd), p.Address.Is6()) })
		return errors.Join(err, failed)
	}}
	to := netip.AddrPortFrom(p.Address, uint16(kind{multiHop: p.MultiHop}.port())).String()
	var conn net.Conn
	err := error(unix.EADDRINUSE)
	for try := 0; try < 20 && errors.Is(err, unix.EADDRINUSE); try++ {
		local := &net.UDPAddr{Port: firstSource + rand.IntN(sources)}
		if p.Source.IsValid() {
			local.IP, local.Zone = p.Source.AsSlice(), p.Source.Zone()
		}
		dialer.LocalAddr = local
		conn, err = dialer.Dial("udp", to)
	}
	if err != nil {
		return nil, fmt.Errorf("BFD packets to %s: %w", p.Address, err)
	}
	return conn.(*net.UDPConn), nil
}

// write sends a packet at once or not at all: an interface whose queue is full must not
// keep the sessions of others waiting.
func write(conn syscall.Conn, b []byte) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		_, failed = unix.SendmsgN(int(fd), b, nil, nil, unix.MSG_DONTWAIT)
		return true
	})
	return errors.Join(err, failed)
}

// dress sets the hop limit that the other end demands, and the class.
func dress(fd int, ipv6 bool) error {
	if ipv6 {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, networkControl)
		return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, hopLimit)
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TOS, networkControl)
	return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TTL, hopLimit)
}
