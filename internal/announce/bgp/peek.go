package bgp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"

	wire "github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"golang.org/x/sys/unix"
)

const (
	// peekTime is all that a look at a router may take.
	peekTime  = 10 * time.Second
	peekTries = 3
	peekPause = 700 * time.Millisecond
	// courtesy is how long a router is waited for before it is spoken to.
	courtesy = 2 * time.Second
	// maxMessage is the size of an OPEN or NOTIFICATION at most (RFC 8654, section 4).
	maxMessage = 4096
)

// sight is what a router says of itself to whoever connects.
type sight struct {
	as uint32 // 0 if it said nothing
	// refusal is its answer to this node's OPEN, if that was sent and it did.
	refusal *notification
}

// peek connects to a router beside the session, and reads what it says; GoBGP keeps
// that to itself. It makes no session: it never sends the KEEPALIVE that would take
// one. With speak it says who this node is, and waits for the answer.
func peek(ctx context.Context, n neighbor, routerID netip.Addr, speak bool) (s sight, err error) {
	ctx, cancel := context.WithTimeout(ctx, peekTime)
	defer cancel()
	conn, err := connect(ctx, n)
	if err != nil {
		return s, err
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	if speak {
		if err := introduce(conn, n, routerID); err != nil {
			return s, err
		}
	} else if err := listenUntil(ctx, conn, time.Now().Add(courtesy)); err != nil {
		return s, err
	}
	for {
		message, err := safeMessage(conn)
		if errors.Is(err, os.ErrDeadlineExceeded) && !speak && ctx.Err() == nil {
			// It waits for the other end to begin.
			speak = true
			if err := errors.Join(listenUntil(ctx, conn, time.Time{}), introduce(conn, n, routerID)); err != nil {
				return s, err
			}
			continue
		}
		if err != nil {
			return s, err
		}
		switch body := message.Body.(type) {
		case *wire.BGPOpen:
			if s.as = asOf(body); !speak {
				return s, nil
			}
		case *wire.BGPNotification:
			s.refusal = &notification{body.ErrorCode, body.ErrorSubcode, body.Data}
			return s, nil
		default:
			return s, nil
		}
	}
}

// listenUntil lets a connection be read until a time, or with the zero time until ctx ends. If
// that was before, this has undone what it did to the deadline, hence the look at it.
func listenUntil(ctx context.Context, conn net.Conn, until time.Time) error {
	if err := conn.SetReadDeadline(until); err != nil {
		return err
	}
	return ctx.Err()
}

// peekAgain peeks more than once if the router says nothing of itself: after a failure
// some take no connection for a moment.
func peekAgain(ctx context.Context, n neighbor, routerID netip.Addr, speak bool) (s sight, err error) {
	for range peekTries {
		if s, err = peek(ctx, n, routerID, speak); s.as != 0 || s.refusal != nil && s.refusal.code != wire.BGP_ERROR_CEASE {
			return s, err
		}
		select {
		case <-ctx.Done():
			return s, err
		case <-time.After(peekPause):
		}
	}
	return s, err
}

// connect makes the connection that a session has.
func connect(ctx context.Context, n neighbor) (net.Conn, error) {
	dialer := net.Dialer{Timeout: peekTime / 2, KeepAlive: -1, Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) { failed = n.prepare(int(fd)) })
		return errors.Join(err, failed)
	}}
	if n.source.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(n.source, 0))
	}
	return dialer.DialContext(ctx, "tcp", net.JoinHostPort(n.key(), strconv.Itoa(int(n.port))))
}

func (n neighbor) prepare(fd int) error {
	if n.password == "" {
		return nil
	}
	var key unix.TCPMD5Sig
	key.Keylen = uint16(copy(key.Key[:], n.password))
	if n.address.Is4() {
		a := n.address.As4()
		key.Addr.Family = unix.AF_INET
		copy(key.Addr.Data[2:], a[:])
	} else {
		a := n.address.As16()
		key.Addr.Family = unix.AF_INET6
		copy(key.Addr.Data[6:], a[:])
	}
	return unix.SetsockoptTCPMD5Sig(fd, unix.IPPROTO_TCP, unix.TCP_MD5SIG, &key)
}

// introduce says who this node is.
func introduce(conn net.Conn, n neighbor, routerID netip.Addr) error {
	capabilities := []wire.ParameterCapabilityInterface{wire.NewCapFourOctetASNumber(n.local)}
	for family, enabled := range map[wire.Family]bool{wire.RF_IPv4_UC: n.v4, wire.RF_IPv6_UC: n.v6} {
		if enabled {
			capabilities = append(capabilities, wire.NewCapMultiProtocol(family))
		}
	}
	as := uint16(wire.AS_TRANS)
	if n.local <= 0xffff {
		as = uint16(n.local)
	}
	open, err := wire.NewBGPOpenMessage(as, uint16(n.hold), routerID, []wire.OptionParameterInterface{wire.NewOptionParameterCapability(capabilities)})
	if err != nil {
		return err
	}
	b, err := open.Serialize()
	if err != nil {
		return err
	}
	_, err = conn.Write(b)
	return err
}

// safeMessage reads one message of BGP. GoBGP parses it, which has had parsers that
// panic.
func safeMessage(r io.Reader) (m *wire.BGPMessage, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("the router sends what cannot be read")
		}
	}()
	return readMessage(r)
}

func readMessage(r io.Reader) (*wire.BGPMessage, error) {
	header := make([]byte, wire.BGP_HEADER_LENGTH)
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, err
	}
	size := int(binary.BigEndian.Uint16(header[16:]))
	if size < len(header) || size > maxMessage {
		return nil, fmt.Errorf("a message of %d bytes is not BGP", size)
	}
	b := make([]byte, size)
	copy(b, header)
	if _, err := io.ReadFull(r, b[len(header):]); err != nil {
		return nil, err
	}
	return wire.ParseBGPMessage(b)
}

// asOf returns the AS number of an OPEN message (RFC 6793, section 4.1).
func asOf(open *wire.BGPOpen) uint32 {
	for _, parameter := range open.OptParams {
		list, ok := parameter.(*wire.OptionParameterCapability)
		if !ok {
			continue
		}
		for _, c := range list.Capability {
			if four, ok := c.(*wire.CapFourOctetASNumber); ok {
				return four.CapValue
			}
		}
	}
	return uint32(open.MyAS)
}
