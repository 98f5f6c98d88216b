package forward

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	wire "github.com/miekg/dns"
)

// maxStrikes is how often in a row an upstream may fail before it is left out.
const maxStrikes = 2

// maxForeign is how many packets that answer something else are tolerated on a
// socket: more of them is somebody guessing, and TCP cannot be guessed at.
const maxForeign = 8

// upstream is one server to ask, with what is known of its health.
type upstream struct {
	address netip.AddrPort
	strikes atomic.Int32
	// own is set while the address leads back to this server.
	own atomic.Bool
	// foreign counts packets from it that answered no query.
	foreign atomic.Uint64
}

func (u *upstream) healthy() bool { return u.strikes.Load() < maxStrikes && !u.own.Load() }

// strike notes a failure and reports whether it made the upstream unhealthy.
func (u *upstream) strike() bool { return u.strikes.Add(1) == maxStrikes }

// heal notes a reply and reports whether the upstream was unhealthy before.
func (u *upstream) heal() bool { return u.strikes.Swap(0) >= maxStrikes }

// exchange asks over UDP, from a fresh socket whose port the kernel chooses at
// random, and over TCP if the reply does not fit. A truncated reply is returned
// only if TCP fails.
func (u *upstream) exchange(ctx context.Context, query *wire.Msg) (reply *wire.Msg, err error) {
	defer func() {
		if problem := recover(); problem != nil {
			reply, err = nil, fmt.Errorf("the reply made the parser panic: %v", problem)
		}
	}()
	packed, err := query.Pack()
	if err != nil {
		return nil, fmt.Errorf("the name cannot be asked: %w", err)
	}
	reply, err = u.exchangeUDP(ctx, query, packed)
	if errors.Is(err, errForeign) {
		return u.exchangeTCP(ctx, query, packed)
	}
	if err != nil || !reply.Truncated {
		return reply, err
	}
	if whole, err := u.exchangeTCP(ctx, query, packed); err == nil {
		return whole, nil
	}
	return reply, nil
}

var errForeign = errors.New("too many packets that answer another question")

func (u *upstream) exchangeUDP(ctx context.Context, query *wire.Msg, packed []byte) (*wire.Msg, error) {
	conn, done, err := dial(ctx, "udp", u.address)
	if err != nil {
		return nil, err
	}
	defer done()
	if _, err := conn.Write(packed); err != nil {
		return nil, err
	}
	buffer := make([]byte, 4096)
	for range maxForeign {
		n, err := conn.Read(buffer)
		if err != nil {
			return nil, err
		}
		reply := new(wire.Msg)
		if err := reply.Unpack(buffer[:n]); err == nil && answers(query, reply) {
			return reply, nil
		}
		u.foreign.Add(1)
	}
	return nil, errForeign
}

func (u *upstream) exchangeTCP(ctx context.Context, query *wire.Msg, packed []byte) (*wire.Msg, error) {
	conn, done, err := dial(ctx, "tcp", u.address)
	if err != nil {
		return nil, err
	}
	defer done()
	framed := append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(packed)), uint16(len(packed))), packed...)
	if _, err := conn.Write(framed); err != nil {
		return nil, err
	}
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, err
	}
	buffer := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, buffer); err != nil {
		return nil, err
	}
	reply := new(wire.Msg)
	if err := reply.Unpack(buffer); err != nil {
		return nil, fmt.Errorf("the reply is malformed: %w", err)
	}
	if !answers(query, reply) {
		return nil, errors.New("the reply answers another question")
	}
	return reply, nil
}

// dial opens a connection that fails once ctx ends. The caller calls done.
func dial(ctx context.Context, network string, to netip.AddrPort) (net.Conn, func(), error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, to.String())
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	return conn, func() { stop(); conn.Close() }, nil
}
