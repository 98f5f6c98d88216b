package server

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
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
	address  netip.AddrPort // which it is bound to
	raw      syscall.RawConn
	tally    *tally
	hot      *hot
	draining atomic.Bool

	in      *inbox
	out     outbox
	replies []byte // memory for the replies of a batch, size each
	size    int
	// sampled is the reply to the packet of a batch, picked by turns, that stands for
	// all of it when names are counted; nil if that is not there yet.
	sampled []byte
	turn    int
}

func newUDPSocket(p *Plane, conn *net.UDPConn, t *tally) (*udpSocket, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &udpSocket{plane: p, conn: conn, address: unmapped(conn.LocalAddr()), raw: raw, tally: t, hot: newHot(p, t), in: newInbox(), out: newOutbox(batchSize)}
	s.makeRoom()
	return s, nil
}

// makeRoom makes memory for replies as large as they may be.
func (s *udpSocket) makeRoom() {
	if size := s.plane.live.Load().maxUDP + hotSlack; size > s.size {
		s.size, s.replies = size, make([]byte, batchSize*size)
	}
}

// serve reads and answers until the socket is drained.
func (s *udpSocket) serve() {
	receive, send := s.in.receive, s.out.send // made once: each would allocate
	rounds, received := 0, 0
	for {
		err := s.raw.Read(receive)
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
		case err != nil || s.in.failure != 0:
			// An earlier reply could not be delivered, or memory is short.
			time.Sleep(errorPause)
			continue
		}
		received += s.in.got
		now := time.Now()
		s.answer(now)
		if s.out.n > 0 {
			s.flush(&s.out, send)
		}
		s.plane.top.note(s.sampled, s.in.got, now)
	}
}

// answer handles the packets of the inbox and puts the replies that can be given
// at once into the outbox.
func (s *udpSocket) answer(now time.Time) {
	s.out.n, s.out.next, s.out.failure = 0, 0, 0
	s.turn++
	s.sampled = nil
	s.makeRoom()
	usual, sample := 0, s.turn%max(s.in.got, 1)
	for i := range s.in.got {
		header := &s.in.headers[i]
		if header.Flags&unix.MSG_TRUNC != 0 {
			s.tally.ignored.Add(1)
			continue
		}
		from, packet, buffer := client{address: s.in.sender(i), now: now, port: s.in.port(i)}, s.in.packet(i), s.replies[i*s.size:][:0:s.size]
		reply, ok := s.hot.answer(packet, buffer, overUDP, from)
		switch {
		case ok:
			usual++
		case s.in.pressed && !s.plane.trusts(packet, from):
			s.tally.refused.Add(1)
			reply = refuse(packet, buffer)
		default:
			var later *exchange
			from.server = s.server(i)
			if reply, later = s.plane.handle(packet, s.tally, overUDP, from); later != nil {
				if i == sample {
					later.standsFor = s.in.got
				}
				reply = s.later(later, i)
			}
		}
		s.out.add(reply, header)
		if i == sample {
			s.sampled = reply
		}
	}
	if usual > 0 {
		s.tally.took(uint64(usual), time.Since(now))
	}
}

// later waits for an upstream's answer to packet i in the background and sends
// the reply then, unless there is one at once.
func (s *udpSocket) later(x *exchange, i int) []byte {
	if refused, ok := x.reserve(); !ok {
		return refused
	}
	to := s.in.destination(i)
	s.plane.pending.Go(func() {
		defer x.free()
		out, reply := newOutbox(1), x.forward(s.plane.ctx)
		out.add(reply, &to.header)
		s.flush(&out, out.send)
		s.plane.top.note(reply, x.standsFor, time.Now())
	})
	return nil
}

// flush sends an outbox, by its method send.
func (s *udpSocket) flush(out *outbox, send func(uintptr) bool) {
	if err := s.raw.Write(send); err != nil {
		s.plane.config.Log.Debug("replies cannot be sent", "error", err)
	} else if out.failure != 0 {
		s.plane.config.Log.Debug("a reply cannot be sent", "error", out.failure)
	}
}

// drain makes serve answer what has arrived and then return. What arrives from
// now on goes to the other sockets of the address, if there are any.
func (s *udpSocket) drain() {
	s.draining.Store(true)
	if err := s.raw.Control(func(fd uintptr) { leave(int(fd)) }); err != nil {
		s.plane.config.Log.Debug("a closing socket is closed already", "error", err)
	}
	s.conn.SetReadDeadline(time.Now())
}

// replyFrom turns the control message that tells to which address a query was
// sent into one that makes the reply leave from there. It changes it in place.
// The interface is left to the routing table, which knows better where the
// client is, except for addresses that mean nothing without one.
func replyFrom(control []byte) []byte {
	if len(control) < unix.SizeofCmsghdr {
		return nil
	}
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
