package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// receiveBuffer is how many bytes of queries the kernel may hold for a socket,
// within net.core.rmem_max.
const receiveBuffer = 1 << 20

// listenUDP opens one of several UDP sockets on an address. If that is not one
// address only, it tells for every packet which one it was sent to.
func listenUDP(ctx context.Context, address netip.AddrPort) (*net.UDPConn, error) {
	config := net.ListenConfig{Control: control(func(fd int) error {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			return err
		}
		if !address.Addr().IsUnspecified() {
			return nil
		}
		if address.Addr().Is4() {
			return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		}
		// On a socket for both families this covers IPv4 too: addresses come and
		// go in mapped form.
		return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
	})}
	conn, err := config.ListenPacket(ctx, variant("udp", address), address.String())
	if err != nil {
		return nil, err
	}
	udp := conn.(*net.UDPConn)
	_ = udp.SetReadBuffer(receiveBuffer) // more is better, but any size will do
	return udp, nil
}

// leave takes a UDP socket out of those that share its address with
// SO_REUSEPORT: the kernel gives a connected socket nothing but what its peer
// sends, and here that is a port of this machine from which nothing comes
// (reuseport_detach_sock, called when connect(2) changes a socket's address, and
// the check of its state in reuseport_select_sock_by_hash). What has been
// received stays, and replies can still be sent to anybody. If it fails, queries
// of the last moment may be lost.
func leave(fd int) {
	nowhere := unix.Sockaddr(&unix.SockaddrInet6{Port: discard, Addr: netip.IPv6Loopback().As16()})
	if domain, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN); domain == unix.AF_INET {
		nowhere = &unix.SockaddrInet4{Port: discard, Addr: [4]byte{127, 0, 0, 1}}
	}
	_ = unix.Connect(fd, nowhere)
}

// discard is the port of a service (RFC 863) that would not answer either.
const discard = 9

// listenTCP opens the TCP listener of an address. SO_REUSEPORT lets the next
// version of the program listen before this one ends.
func listenTCP(ctx context.Context, address netip.AddrPort) (*net.TCPListener, error) {
	config := net.ListenConfig{Control: control(func(fd int) error {
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	})}
	listener, err := config.Listen(ctx, variant("tcp", address), address.String())
	if err != nil {
		return nil, err
	}
	return listener.(*net.TCPListener), nil
}

// variant returns the network that binds exactly the address, or, for [::],
// both families.
func variant(network string, address netip.AddrPort) string {
	switch {
	case address.Addr().Is4():
		return network + "4"
	case address.Addr().IsUnspecified():
		return network
	}
	return network + "6"
}

func control(set func(fd int) error) func(string, string, syscall.RawConn) error {
	return func(_, _ string, raw syscall.RawConn) error {
		var failure error
		if err := raw.Control(func(fd uintptr) { failure = set(int(fd)) }); err != nil {
			return err
		}
		return failure
	}
}

// explainBind adds to an error of binding what to do about it.
func explainBind(network string, address netip.AddrPort, err error) error {
	advice := "check dns.listen"
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		advice = "another program serves this port here; stop it, or set dns.listen to another address"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		advice = "ports below 1024 need the capability NET_BIND_SERVICE; grant it, or set dns.listen to a higher port"
	case errors.Is(err, unix.EADDRNOTAVAIL):
		advice = "no interface has this address; set dns.listen to one that exists"
	case errors.Is(err, unix.EAFNOSUPPORT):
		advice = "the kernel does not know this address family; set dns.listen to 0.0.0.0:53"
	}
	switch network {
	case "TLS":
		advice = strings.NewReplacer("dns.listen", "dns.tls.listen", ":53", ":853").Replace(advice)
	case "HTTPS":
		advice = strings.NewReplacer("dns.listen", "dns.https.listen", ":53", ":443").Replace(advice)
	}
	return fmt.Errorf("cannot listen on %s over %s: %s: %w", address, network, advice, err)
}
