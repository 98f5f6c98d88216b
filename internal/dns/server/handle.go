package server

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"runtime/debug"
	"time"

	wire "github.com/miekg/dns"

	"github.com/fairlead-net/fairlead/internal/dns"
	"github.com/fairlead-net/fairlead/internal/dns/rules"
	"github.com/fairlead-net/fairlead/internal/dns/server/forward"
)

// exchange is one query and the way to its reply.
type exchange struct {
	plane *Plane
	// live is looked at once for a query.
	live    *live
	tally   *tally
	network network
	client  client
	size    int
	// standsFor is for how many queries this one is counted by name.
	standsFor int

	request *wire.Msg
	options options
	// block is that of the name, or nil; outcome is what its rules made of the
	// query, and asked the request as they left it.
	block   *Block
	outcome rules.Outcome
	asked   *wire.Msg
	answer  dns.Answer
	ask     forward.Query
	// search are the names to look for along the client's search path, in the place of
	// one that does not exist.
	search []string
}

// client is who sent a query, and when that was received.
type client struct {
	address netip.Addr
	now     time.Time
	port    uint16
	// server is where it was sent to, not mapped; known only on the way of Plane.handle.
	server netip.AddrPort
}

// family returns the address family; an IPv4 address may come in mapped form.
func (c client) family() family {
	if c.address.Is4() || c.address.Is4In6() {
		return ipv4
	}
	return ipv6
}

// source says who gave an answer, by the names of CoreDNS's plugins.
type source uint8

const (
	fromNobody source = iota
	fromTable
	fromCache
	fromUpstream
	// By rules, each with a directive's name.
	fromACL
	fromAny
	fromChaos
	fromLocal
	fromTemplate
	fromHosts
	fromWhoami
	sources
)

// headerSize is that of a message's header (RFC 1035, section 4.1.1).
const headerSize = 12

// handle answers a packet at once, or returns the exchange that an upstream has
// to be asked for. Neither means that there is nothing to reply. The packet is
// not kept. What hot.answer has an answer for need not come here.
func (p *Plane) handle(packet []byte, t *tally, n network, c client) (reply []byte, later *exchange) {
	x := &exchange{plane: p, live: p.live.Load(), tally: t, network: n, client: c, size: len(packet)}
	defer func() {
		if problem := recover(); problem != nil {
			reply, later = x.panicked(packet, problem), nil
		}
	}()
	if len(packet) < headerSize || packet[2]&0x80 != 0 {
		// Too short to be answered, or a reply, which must not be answered.
		t.ignored.Add(1)
		return nil, nil
	}
	if rcode := x.read(packet); rcode != wire.RcodeSuccess {
		return x.finish(respond(x.request, rcode), fromNobody, nil), nil
	}
	question := x.request.Question[0]
	if x.live.forwarder.Returned(question.Name, question.Qtype) {
		return x.finish(respond(x.request, wire.RcodeNameError), fromNobody, nil), nil
	}
	if reply, done := x.rule(); done {
		return reply, nil
	}
	asked := x.question()
	x.answer = x.lookUp(asked)
	if x.searches(asked); len(x.search) > 0 {
		if made, from, ok := x.along(x.live.cached); ok && !x.outcome.Retargets() {
			return x.finishSearch(made, from), nil
		}
		return nil, x
	}
	if reply, done := x.whoami(); done {
		return reply, nil
	}
	own := !x.answer.Forward && x.answer.Chase == ""
	translates := x.translates() || x.retargets(own)
	if own && !translates {
		return x.finish(x.begin(), fromTable, x.answer.Error), nil
	}
	x.ask = x.query(cmp.Or(x.answer.Chase, asked.Name), asked.Type, asked.Class)
	if !own && !x.live.forwarder.Configured() {
		return x.failed(forward.ErrNoUpstream), nil
	}
	if translates {
		return nil, x // which can take a second question
	}
	if upstream, ok := x.live.forwarder.Cached(x.ask); ok {
		return x.merge(upstream, fromCache), nil
	}
	return nil, x
}

// read parses the packet and returns what is wrong with it, if anything.
func (x *exchange) read(packet []byte) (rcode int) {
	x.request = new(wire.Msg)
	x.request.Id = binary.BigEndian.Uint16(packet)
	x.request.Opcode = int(packet[2]>>3) & 0xf
	x.request.RecursionDesired = packet[2]&1 != 0
	switch {
	case x.request.Opcode != wire.OpcodeQuery:
		return wire.RcodeNotImplemented
	case binary.BigEndian.Uint16(packet[4:]) != 1:
		// More than one question has no meaning (RFC 9619).
		return wire.RcodeFormatError
	case binary.BigEndian.Uint16(packet[6:]) > 1 || binary.BigEndian.Uint16(packet[8:]) > 1 || binary.BigEndian.Uint16(packet[10:]) > 4:
		// No query needs more records than a prerequisite, an OPT and a signature.
		return wire.RcodeFormatError
	}
	parsed := new(wire.Msg)
	if err := parsed.Unpack(packet); err != nil || len(parsed.Question) != 1 {
		return wire.RcodeFormatError
	}
	x.request = parsed
	x.options = readOptions(parsed)
	x.tally.request(x.network, x.client.family(), parsed.Question[0].Qtype, x.size)
	switch {
	case x.options.malformed:
		return wire.RcodeFormatError
	case x.options.version != 0:
		return wire.RcodeBadVers
	}
	return wire.RcodeSuccess
}

// errBusy says why a query is refused that could wait for an upstream.
var errBusy = errors.New("too many queries wait for an answer already; ask another server")

// forward asks an upstream and returns the reply for the client.
func (x *exchange) forward(ctx context.Context) (reply []byte) {
	defer func() {
		if problem := recover(); problem != nil {
			reply = x.panicked(nil, problem)
		}
	}()
	if len(x.search) > 0 {
		found, from, _ := x.along(x.live.upstream(ctx))
		if found != nil {
			x.retarget(ctx, found)
		}
		return x.finishSearch(found, from)
	}
	made, from := x.begin(), fromTable
	if x.answer.Forward || x.answer.Chase != "" {
		upstream, err := x.live.forwarder.Exchange(ctx, x.ask)
		if err != nil {
			return x.failed(err)
		}
		x.outcome.Hear(upstream)
		x.add(made, upstream)
		from = fromUpstream
	}
	x.retarget(ctx, made)
	x.translate(ctx, made)
	return x.finish(made, from, x.answer.Error)
}

// merge makes the reply from what an upstream said, after the aliases of the
// cluster that led there, if any.
func (x *exchange) merge(upstream *wire.Msg, from source) []byte {
	reply := x.begin()
	x.add(reply, upstream)
	return x.finish(reply, from, nil)
}

// add takes what an upstream said into a reply.
func (x *exchange) add(reply, upstream *wire.Msg) {
	adopt(reply, upstream)
	// The cluster's own names are not signed, so an alias among them is not either.
	reply.AuthenticatedData = upstream.AuthenticatedData && x.answer.Forward && x.outcome.Reply == nil && (x.options.do || x.request.AuthenticatedData)
}

// failed replies that nobody could be asked.
func (x *exchange) failed(err error) []byte {
	rcode, extended := wire.RcodeServerFailure, &dns.ExtendedError{Code: dns.ErrorNetwork, Text: err.Error()}
	switch {
	case errors.Is(err, forward.ErrNoUpstream) && x.answer.Chase == "":
		rcode, extended.Code = wire.RcodeRefused, dns.ErrorNotAuthoritative
		extended.Text = "not a name of " + x.live.table.Config().Domain + ", and " + err.Error()
	case errors.Is(err, forward.ErrOverload), errors.Is(err, errBusy):
		rcode, extended.Code = wire.RcodeRefused, dns.ErrorOther
	}
	if x.block != nil {
		if log := x.live.failures[x.block.Rules]; log != nil {
			log.add(rcode, x.request.Question[0], err)
		}
	}
	reply := x.begin()
	reply.Rcode = rcode
	return x.finish(reply, fromUpstream, extended)
}

// finish completes, packs and counts a reply.
func (x *exchange) finish(reply *wire.Msg, from source, extended *dns.ExtendedError) []byte {
	if x.block != nil {
		x.block.Rules.Undo(x.outcome, reply)
		x.options.name(x.block.Rules, x.plane.host)
	}
	reply.RecursionAvailable = x.live.forwarder.Configured()
	shuffle(reply.Answer)
	shuffle(reply.Extra)
	var cookie string
	if x.options.cookie.present {
		cookie = x.plane.cookies.text(&x.options.cookie, x.client.address, x.client.now)
	}
	x.options.add(reply, x.live.maxUDP, extended, cookie)
	x.echo(reply)
	size := wire.MaxMsgSize
	if x.network == overUDP {
		size = x.options.limit(x.live.maxUDP)
	}
	if !x.options.present && reply.Rcode > 0xf {
		reply.Rcode = wire.RcodeServerFailure
	}
	fit(reply, size)
	packed, err := reply.Pack()
	if err != nil {
		// Only an upstream can have sent what cannot be packed.
		x.plane.config.Log.Warn("reply cannot be packed", "error", err)
		failure := respond(x.request, wire.RcodeServerFailure)
		if packed, err = failure.Pack(); err != nil {
			return nil
		}
	}
	x.tally.response(x.network, reply.Rcode, from, len(packed), time.Since(x.client.now))
	x.logReply(reply, len(packed))
	x.tap(reply, packed)
	return packed
}

// panicked replies SERVFAIL with as little code as possible.
func (x *exchange) panicked(packet []byte, problem any) []byte {
	x.tally.panics.Add(1)
	x.plane.config.Log.Error("query made the server panic", "problem", problem, "stack", string(debug.Stack()))
	if x.request == nil || len(x.request.Question) == 0 {
		if len(packet) < headerSize {
			return nil
		}
		return []byte{packet[0], packet[1], 0x80 | packet[2]&0x79, wire.RcodeServerFailure, headerSize - 1: 0}
	}
	packed, err := respond(x.request, wire.RcodeServerFailure).Pack()
	if err != nil {
		return nil
	}
	return packed
}
