package forward

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	wire "github.com/miekg/dns"
)

// upstream is one server to ask, with what is known of its health.
type upstream struct {
	Server
	zone    *zone
	streams *streams
	strikes atomic.Int32
	// own is set while the address leads back to this server.
	own atomic.Bool
	// suspect is set while it owes an answer for longer than usual.
	suspect atomic.Bool
	// probing is set while a probe is under way.
	probing atomic.Bool
	// replied is when it last replied, in nanoseconds since the forwarder began.
	replied atomic.Int64
	latency latency
	// foreign counts packets from it that answered no query.
	foreign atomic.Uint64
	// respells is set once it is known not to keep the case of letters.
	respells atomic.Bool
	// ask stands for the network in tests.
	ask func(context.Context, *wire.Msg) (*wire.Msg, error)
}

func newUpstream(z *zone, s Server) *upstream {
	u := &upstream{Server: s, zone: z}
	u.streams = &streams{
		dial: u.dialStream, idle: z.IdleTimeout, timeout: z.limits.readTimeout,
		foreign: &u.foreign, reused: z.shared.metrics.reused(u),
	}
	u.ask = u.askNetwork
	return u
}

// healthy reports whether the upstream is asked like any other.
func (u *upstream) healthy() bool {
	return !u.own.Load() && (u.zone.MaxFails < 0 || int(u.strikes.Load()) < u.zone.MaxFails)
}

// strike notes a failure and reports whether it made the upstream unhealthy.
func (u *upstream) strike() bool { return int(u.strikes.Add(1)) == u.zone.MaxFails }

// heal notes a reply and reports whether the upstream was unhealthy before.
func (u *upstream) heal() bool {
	u.suspect.Store(false)
	before := u.strikes.Swap(0)
	return u.zone.MaxFails > 0 && int(before) >= u.zone.MaxFails
}

func (u *upstream) state() string {
	state := "answers"
	switch strikes := u.strikes.Load(); {
	case u.own.Load():
		return "leads back to this server, so it is not asked; name another server in its place"
	case !u.healthy() && u.zone.FailFast:
		state = fmt.Sprintf("has failed %d times in a row, so it is not asked", strikes)
	case !u.healthy():
		state = fmt.Sprintf("has failed %d times in a row, so it is asked only if no other is left", strikes)
	case u.suspect.Load():
		state = "owes an answer, so it is asked after others"
	}
	if n := u.foreign.Load(); n > 0 {
		state += fmt.Sprintf("; %d packets from it answered no query", n)
	}
	if u.respells.Load() {
		state += "; it does not keep the case of letters"
	}
	return state
}

// exchange asks the upstream once and returns its reply, to the question as it
// was asked whatever way it was spelt on the wire.
func (u *upstream) exchange(ctx context.Context, q Query) (*wire.Msg, error) {
	return u.send(ctx, q, q.message())
}

// send is exchange with a message made of the Query, whose name it may spell anew.
func (u *upstream) send(ctx context.Context, q Query, query *wire.Msg) (*wire.Msg, error) {
	started := time.Now()
	ctx, cancel := context.WithTimeout(ctx, u.zone.limits.readTimeout)
	defer cancel()
	if u.zone.RandomCase && !u.respells.Load() {
		query.Question[0].Name = respell(q.Name)
	}
	reply, err := u.ask(ctx, query)
	if err != nil {
		return nil, err
	}
	took := time.Since(started)
	u.latency.observe(took)
	u.replied.Store(int64(time.Since(u.zone.shared.began)))
	u.zone.shared.metrics.exchanged(u, reply, took)
	return reply, nil
}

// respell gives the letters of a name a random case.
func respell(name string) string {
	text := []byte(name)
	bits, left := uint64(0), 0
	for i, c := range text {
		if lower := c | 0x20; lower < 'a' || lower > 'z' {
			continue
		}
		if left == 0 {
			bits, left = rand.Uint64(), 64
		}
		text[i] ^= byte(bits&1) << 5
		bits, left = bits>>1, left-1
	}
	return string(text)
}

// askNetwork asks over UDP, from a fresh socket whose port the kernel chooses at
// random, and by TCP if the reply does not fit, cannot be read or seems to be
// forged. A truncated reply is returned only if TCP fails.
func (u *upstream) askNetwork(ctx context.Context, query *wire.Msg) (reply *wire.Msg, err error) {
	defer func() {
		if problem := recover(); problem != nil {
			reply, err = nil, fmt.Errorf("the reply made the parser panic: %v", problem)
		}
	}()
	packed, err := query.Pack()
	if err != nil {
		return nil, fmt.Errorf("the name cannot be asked: %w", err)
	}
	if u.Protocol != UDP {
		return u.askStream(ctx, query, packed)
	}
	reply, err = u.askUDP(ctx, query, packed)
	if errors.Is(err, errForeign) || errors.Is(err, errUnreadable) {
		return u.askStream(ctx, query, packed)
	}
	if err != nil || !reply.Truncated {
		return reply, err
	}
	if whole, err := u.askStream(ctx, query, packed); err == nil {
		return whole, nil
	}
	return reply, nil
}

// askStream asks by TCP or TLS. What answers by these is the server itself, so
// a name that comes back in another case says that the server changes it.
func (u *upstream) askStream(ctx context.Context, query *wire.Msg, packed []byte) (*wire.Msg, error) {
	content, err := u.streams.exchange(ctx, packed)
	if err != nil {
		return nil, err
	}
	reply := new(wire.Msg)
	if err := reply.Unpack(content); err != nil {
		return nil, fmt.Errorf("the reply is malformed: %w", err)
	}
	reply.Id = query.Id // streams have IDs of their own
	if !answers(query, reply) {
		u.foreign.Add(1)
		return nil, errors.New("the reply answers another question")
	}
	if reply.Question[0].Name != query.Question[0].Name {
		u.respells.Store(true)
	}
	return reply, nil
}

// dialStream opens a TCP or TLS connection.
func (u *upstream) dialStream(ctx context.Context) (net.Conn, error) {
	conn, err := u.zone.shared.dial(ctx, "tcp", u.Address.String())
	if err != nil || u.Protocol != TLS {
		return conn, err
	}
	return u.zone.TLS.client(ctx, conn, u.Server)
}
