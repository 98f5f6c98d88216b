package server

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"time"

	tap "github.com/dnstap/golang-dnstap"
	wire "github.com/miekg/dns"

	"github.com/fairlead-net/fairlead/internal/dns/rules"
	"github.com/fairlead-net/fairlead/internal/dns/server/forward"
)

// taps are the streams to collectors, by the rules of the Block that names them.
type taps map[*rules.Rules][]*tapStream

// newTaps returns the streams to the collectors that Blocks name: those that there are
// already, if nothing about them changes.
func (p *Plane) newTaps(blocks []Block) taps {
	var there []*tapStream
	for _, all := range p.live.Load().taps {
		there = append(there, all...)
	}
	made := taps{}
	for _, b := range blocks {
		if made[b.Rules] != nil {
			continue // Rules of several zones
		}
		for _, t := range b.Rules.Taps() {
			i := slices.IndexFunc(there, func(s *tapStream) bool { return s.Dnstap == t.Dnstap })
			if i < 0 {
				made[b.Rules] = append(made[b.Rules], newTapStream(t, cmp.Or(t.Identity, p.host), p.config.Log))
				continue
			}
			made[b.Rules] = append(made[b.Rules], there[i])
			there = slices.Delete(there, i, i+1)
		}
	}
	return made
}

// tapBy lets the streams of Settings send, and ends others once they have sent what is
// theirs. The caller holds changing.
func (p *Plane) tapBy(of taps) {
	if !p.watches {
		return
	}
	wanted := map[*tapStream]bool{}
	for _, all := range of {
		for _, t := range all {
			if wanted[t] = true; p.tapping[t] != nil {
				continue
			}
			ctx, stop := context.WithCancel(p.ctx)
			p.tapping[t] = stop
			p.background.Go(func() { t.run(ctx) })
		}
	}
	for t, stop := range p.tapping {
		if !wanted[t] {
			stop()
			delete(p.tapping, t)
		}
	}
}

// tap reports a query, or, if there is one, the reply to it.
func (x *exchange) tap(reply *wire.Msg, packed []byte) {
	if x.block == nil {
		return
	}
	for _, t := range x.live.taps[x.block.Rules] {
		m := &tap.Message{Type: tap.Message_CLIENT_QUERY.Enum(), SocketProtocol: tap.SocketProtocol_UDP.Enum()}
		if x.network == overTCP {
			m.SocketProtocol = tap.SocketProtocol_TCP.Enum()
		}
		m.SocketFamily, m.QueryAddress, m.QueryPort = endOf(netip.AddrPortFrom(x.client.address, x.client.port))
		if x.client.server.IsValid() {
			_, m.ResponseAddress, m.ResponsePort = endOf(x.client.server)
		}
		m.QueryTimeSec, m.QueryTimeNsec = timeOf(x.client.now)
		if reply != nil {
			m.Type = tap.Message_CLIENT_RESPONSE.Enum()
			m.ResponseTimeSec, m.ResponseTimeNsec = timeOf(time.Now())
		}
		switch {
		case !t.Full:
		case reply != nil:
			m.ResponseMessage = packed
		default:
			m.QueryMessage, _ = x.request.Pack() // of a message that has been read
		}
		t.add(m, t.Text(rules.Exchange{Client: x.client.forRules(x.network), Request: x.request, RequestSize: x.size}))
	}
}

// tapAttempt reports what another server was asked, and its reply if it gave one. As
// several clients can wait for it, the Block is that of the name that was asked for.
func (p *Plane) tapAttempt(a forward.Attempt) {
	now := p.live.Load()
	if len(now.taps) == 0 {
		return
	}
	block := now.blocks.of(a.Sent.Question[0].Name)
	if block == nil {
		return
	}
	for _, t := range now.taps[block.Rules] {
		text := t.Text(rules.Exchange{Request: a.Sent, RequestSize: a.Sent.Len()})
		t.add(attemptMessage(a, t.Full, false), text)
		if a.Reply != nil {
			t.add(attemptMessage(a, t.Full, true), text)
		}
	}
}

// attemptMessage makes a message of the question, or of the reply.
func attemptMessage(a forward.Attempt, full, reply bool) *tap.Message {
	m := &tap.Message{Type: tap.Message_FORWARDER_QUERY.Enum(), SocketProtocol: tap.SocketProtocol_TCP.Enum()}
	if a.Server.Protocol == forward.UDP {
		m.SocketProtocol = tap.SocketProtocol_UDP.Enum()
	}
	m.SocketFamily, m.ResponseAddress, m.ResponsePort = endOf(a.Server.Address)
	m.QueryTimeSec, m.QueryTimeNsec = timeOf(a.Began)
	if reply {
		m.Type = tap.Message_FORWARDER_RESPONSE.Enum()
		m.ResponseTimeSec, m.ResponseTimeNsec = timeOf(time.Now())
	}
	switch {
	case !full:
	case reply:
		m.ResponseMessage, _ = a.Reply.Pack() // what cannot be packed again is left out
	default:
		m.QueryMessage, _ = a.Sent.Pack()
	}
	return m
}

// endOf returns an end of a socket as dnstap.proto has it.
func endOf(at netip.AddrPort) (*tap.SocketFamily, []byte, *uint32) {
	address, port := at.Addr().Unmap(), uint32(at.Port())
	family := tap.SocketFamily_INET6
	if address.Is4() {
		family = tap.SocketFamily_INET
	}
	return family.Enum(), address.AsSlice(), &port
}

// timeOf returns a time as dnstap.proto has it: seconds since 1970, and nanoseconds.
func timeOf(t time.Time) (*uint64, *uint32) {
	seconds, nanoseconds := uint64(t.Unix()), uint32(t.Nanosecond())
	return &seconds, &nanoseconds
}
