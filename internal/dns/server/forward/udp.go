package forward

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	wire "github.com/miekg/dns"
)

// maxForeign is how many packets that answer something else are tolerated on a
// socket: more of them is somebody guessing, and TCP cannot be guessed at.
const maxForeign = 8

var (
	errForeign    = errors.New("too many packets that answer another question")
	errUnreadable = errors.New("the reply is cut off or malformed")
)

// packets are buffers for UDP: servers may send more than they were allowed to.
type packets struct{ pool sync.Pool }

func (p *packets) get() *[]byte {
	if b, ok := p.pool.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, wire.MaxMsgSize)
	return &b
}

// askUDP asks from a fresh connected socket, so that each query has a port that
// the kernel chooses at random, none can be learnt from an earlier query, and
// packets from elsewhere do not arrive (RFC 5452, section 9). A pool of sockets
// would spare the system calls, about 10 us of a query that waits for a network,
// and give a guesser as long as a port lives.
func (u *upstream) askUDP(ctx context.Context, query *wire.Msg, packed []byte) (*wire.Msg, error) {
	s := u.zone.shared
	conn, err := s.dial(ctx, "udp", u.Address.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := conn.Write(packed); err != nil {
		return nil, err
	}
	buffer := s.packets.get()
	defer s.packets.pool.Put(buffer)
	for range maxForeign {
		n, err := conn.Read(*buffer)
		if err != nil {
			return nil, because(ctx, err)
		}
		reply := new(wire.Msg)
		err = reply.Unpack((*buffer)[:n])
		asked := query.Question[0].Name
		switch {
		case err != nil && len(reply.Question) == 1 && answers(query, reply):
			// The right question before what cannot be read: TCP may have it whole.
			return nil, errUnreadable
		case err == nil && answers(query, reply) && (!u.zone.RandomCase || u.respells.Load() || reply.Question[0].Name == asked):
			return reply, nil
		}
		u.foreign.Add(1)
	}
	return nil, errForeign
}

// because names the time limit instead of the error that it caused.
func because(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return errSlow
	}
	return context.Cause(ctx)
}

var errSlow = errors.New("no answer in time")

// dialNetwork is net.Dialer's DialContext; tests have others.
func dialNetwork(ctx context.Context, network, address string) (net.Conn, error) {
	var dialer net.Dialer
	return dialer.DialContext(ctx, network, address)
}
