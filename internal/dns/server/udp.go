package server

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxQuery is more than any query needs; the kernel cuts off the rest.
	maxQuery = 4096
	// maxControl has room for one control message with an IPv6 address.
	maxControl = 64
	// quiet is how long no packet may come before a closing socket is done,
	// quietRounds how often it waits for that.
	quiet       = 50 * time.Millisecond
	quietRounds = 20
	// errorPause keeps a socket that fails without end from using up a core.
	errorPause = 10 * time.Millisecond
)

// udpSocket is one of the UDP sockets of an address.
type udpSocket struct {
	plane    *Plane
	conn     *net.UDPConn
	tally    *tally
	draining atomic.Bool
}

// serve reads and answers until the socket is drained.
func (s *udpSocket) serve() {
	packet, control := make([]byte, maxQuery), make([]byte, maxControl)
	rounds, received := 0, 0
	for {
		n, controls, flags, from, err := s.conn.ReadMsgUDPAddrPort(packet, control)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && s.draining.Load():
			if received == 0 && rounds > 0 || rounds == quietRounds {
				return
			}
			rounds, received = rounds+1, 0
			s.conn.SetReadDeadline(time.Now().Add(quiet))
			continue
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			// An earlier reply could not be delivered, or memory is short.
			time.Sleep(errorPause)
			continue
		}
		received++
		if flags&unix.MSG_TRUNC != 0 {
			s.tally.ignored.Add(1)
			continue
		}
		s.answer(packet[:n], replyFrom(control[:controls]), from)
	}
}

// answer handles one query and sends the reply, at once or later.
func (s *udpSocket) answer(packet, control []byte, from netip.AddrPort) {
	f := ipv6
	if from.Addr().Unmap().Is4() {
		f = ipv4
	}
	reply, later := s.plane.handle(packet, s.tally, overUDP, f)
	if later == nil {
		s.send(reply, control, from)
		return
	}
	control = append([]byte(nil), control...)
	s.plane.pending.Go(func() { s.send(later.forward(s.plane.ctx), control, from) })
}

func (s *udpSocket) send(reply, control []byte, to netip.AddrPort) {
	if reply == nil {
		return
	}
	if _, _, err := s.conn.WriteMsgUDPAddrPort(reply, control, to); err != nil {
		s.plane.config.Log.Debug("reply cannot be sent", "to", to, "error", err)
	}
}

// drain makes serve answer what has arrived and then return.
func (s *udpSocket) drain() {
	s.draining.Store(true)
	s.conn.SetReadDeadline(time.Now())
}

// replyFrom turns the control message that tells to which address a query was
// sent into one that makes the reply leave from there. It changes it in place.
// The interface is left to the routing table, which knows better where the
// client is, except for addresses that mean nothing without one.
func replyFrom(control []byte) []byte {
	header, data, _, err := unix.ParseOneSocketControlMessage(control)
	switch {
	case err != nil:
		return nil
	case header.Level == unix.IPPROTO_IPV6 && header.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
		if !netip.AddrFrom16([16]byte(data)).IsLinkLocalUnicast() {
			clear(data[16:unix.SizeofInet6Pktinfo])
		}
	case header.Level == unix.IPPROTO_IP && header.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
		clear(data[:4])
	default:
		return nil
	}
	return control
}
