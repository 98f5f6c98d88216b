package proxy

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/l7"
)

// lookAround is how often a listener of UDP looks which sessions have come to their end.
const lookAround = time.Second

// datagrams is a listener of UDP.
type datagrams struct {
	listening
	socket *net.UDPConn

	mu       sync.Mutex
	sessions map[flowKey]*flowSession
}

// listenUDP opens and closes listeners of UDP so that they are those of the Table.
func (p *Proxy) listenUDP(ctx context.Context, now *state) (failures []error) {
	for name, l := range p.udp {
		if l.in(now) != nil {
			l.last.Store(now)
			continue
		}
		delete(p.udp, name)
		l.drain()
	}
	for name, spec := range now.table.Listeners {
		if spec.Protocol != l7.UDP || p.udp[name] != nil {
			continue
		}
		l, err := p.newDatagrams(ctx, name, spec)
		if err != nil {
			failures = append(failures, fmt.Errorf("listener %s: %w", name, err))
			continue
		}
		p.udp[name] = l
		p.serving.Go(l.serve)
	}
	return failures
}

// newDatagrams opens the port of a Listener.
func (p *Proxy) newDatagrams(ctx context.Context, name string, spec *l7.Listener) (*datagrams, error) {
	address := netip.AddrPortFrom(p.config.Address, spec.Port)
	network := "udp"
	if address.Addr().Is4() {
		network = "udp4"
	}
	open, err := reusing().ListenPacket(ctx, network, address.String())
	if errors.Is(err, unix.EAFNOSUPPORT) && address.Addr() == netip.IPv6Unspecified() {
		address = netip.AddrPortFrom(netip.IPv4Unspecified(), spec.Port)
		open, err = reusing().ListenPacket(ctx, "udp4", address.String())
	}
	if err != nil {
		return nil, explain(address, err)
	}
	l := &datagrams{socket: open.(*net.UDPConn), sessions: map[flowKey]*flowSession{}}
	l.set(p, name, spec)
	if err := l.tellDestinations(); err != nil {
		_ = l.socket.Close()
		return nil, explain(address, err)
	}
	p.config.Log.Info("proxy is listening", "listener", name, "address", l.address(), "protocol", "UDP")
	return l, nil
}

func (l *datagrams) address() netip.AddrPort { return l.socket.LocalAddr().(*net.UDPAddr).AddrPort() }

// tellDestinations has the kernel say with each datagram which address it was sent to:
// answers have to come from there.
func (l *datagrams) tellDestinations() error {
	raw, err := l.socket.SyscallConn()
	if err != nil {
		return err
	}
	level, option := unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
	if l.address().Addr().Is4() {
		level, option = unix.IPPROTO_IP, unix.IP_PKTINFO
	}
	var failure error
	if err := raw.Control(func(fd uintptr) { failure = unix.SetsockoptInt(int(fd), level, option, 1) }); err != nil {
		return err
	}
	return failure
}

// drain makes serve return once no session is left; there are no new ones.
func (l *datagrams) drain() {
	l.draining.Store(true)
	_ = l.socket.SetReadDeadline(time.Now())
}

// serve passes on what clients send, until the listener is drained or the proxy ends.
func (l *datagrams) serve() {
	stop := context.AfterFunc(l.proxy.ctx, func() { _ = l.socket.Close() })
	defer stop()
	defer l.close()
	control := make([]byte, unix.CmsgSpace(unix.SizeofInet6Pktinfo))
	b := make([]byte, bulkSize)
	next, ends := int64(0), int64(0)
	for {
		if now := l.proxy.clock.now(); now >= next {
			next = after(now, lookAround)
			left := l.prune(now)
			if l.draining.Load() {
				// Another socket may have the port by now, which would lack what comes here.
				if ends = orDefault(ends, after(now, drainMost)); left == 0 || now >= ends {
					return
				}
			}
			_ = l.socket.SetReadDeadline(time.Now().Add(lookAround))
		}
		n, m, _, from, err := l.socket.ReadMsgUDPAddrPort(b, control)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			next = 0
		case errors.Is(err, net.ErrClosed):
			return
		case err == nil:
			l.proxy.shield(func() { l.pass(flowKey{from, destinationOf(control[:m])}, b[:n]) })
		}
	}
}

// close ends all sessions.
func (l *datagrams) close() {
	_ = l.socket.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.sessions {
		_ = s.up.Close()
	}
}

// destination is which address a datagram was sent to, as the kernel said it and as it
// wants to be told where an answer comes from: a control message.
type destination struct {
	message [40]byte
	length  int
}

// destinationOf keeps a control message, without the interface: an answer may take
// another one, but where an address means nothing without.
func destinationOf(message []byte) (d destination) {
	head := unix.CmsgLen(0)
	if len(message) > len(d.message) || len(message) < head+unix.SizeofInet4Pktinfo {
		return d
	}
	d.length = copy(d.message[:], message)
	level := binary.NativeEndian.Uint32(message[head-8:])
	switch {
	case level == unix.IPPROTO_IP: // struct in_pktinfo begins with it
		clear(d.message[head : head+4])
	case len(message) < head+unix.SizeofInet6Pktinfo:
		return destination{}
	default: // in struct in6_pktinfo it follows the address
		at := netip.AddrFrom16([16]byte(message[head:]))
		if at.IsMulticast() {
			return destination{}
		}
		if !at.IsLinkLocalUnicast() {
			clear(d.message[head+16 : head+20])
		}
	}
	return d
}
