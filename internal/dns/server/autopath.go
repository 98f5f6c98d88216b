package server

import (
	"context"
	"strings"

	wire "github.com/miekg/dns"

	"github.com/fairlead-net/fairlead/internal/dns"
	"github.com/fairlead-net/fairlead/internal/dns/server/forward"
)

// Autopath (CoreDNS's plugin/autopath) answers a pod that looks a name up along its
// search path at its first attempt with what its last one would get: an alias leads from
// the name that it has asked for to the one that exists. If there is none, or other
// servers do not say, it gets the NXDOMAIN that it would get without.

// asker asks other servers, or returns false if it cannot say what they answer.
type asker func(forward.Query) (*wire.Msg, bool)

// searches finds the names to look for in the place of one that does not exist.
func (x *exchange) searches(asked dns.Question) {
	if !x.live.autopath || x.answer.Rcode != dns.NXDomain || x.asked.Question[0] != x.request.Question[0] || x.translates() || x.outcome.Chase != "" {
		return
	}
	looked, suffixes, ok := x.live.table.SearchPath(x.client.address.Unmap(), asked.Name)
	if !ok {
		return
	}
	for _, suffix := range append(append(suffixes, x.live.search...), "") {
		name := wire.Fqdn(strings.TrimSuffix(looked+"."+suffix, "."))
		if _, ok := wire.IsDomainName(name); !ok {
			continue
		}
		if x.ruled(name) {
			x.search = nil
			return
		}
		x.search = append(x.search, name)
	}
}

// ruled reports whether rules have a say about one of the names to search for. Then the
// pod's resolver has to ask for it itself, so that they have it.
func (x *exchange) ruled(name string) bool {
	b := x.live.blocks.of(name)
	switch {
	case b.plain():
		return false
	case b != x.block:
		return true
	}
	request := x.request.Copy()
	request.Question[0].Name = name
	o := b.Rules.Query(x.client.forRules(x.network), request)
	return o.Drop || o.Reply != nil || o.Chase != "" || o.Request.Question[0] != request.Question[0]
}

// along returns the reply for the first of the names to search for that exists, or nil
// if there is none; ok is false if that cannot be told without asking other servers.
func (x *exchange) along(ask asker) (reply *wire.Msg, from source, ok bool) {
	for _, name := range x.search {
		q := x.question()
		q.Name = name
		answer := x.lookUp(q)
		if !answer.Forward && answer.Rcode == dns.NXDomain {
			continue
		}
		made, from := authoritative(x.request, answer), fromTable
		if other := answer.Chase; answer.Forward || other != "" {
			if from = fromUpstream; other == "" {
				other = name
			}
			upstream, ok := ask(x.query(other, q.Type, q.Class))
			if !ok {
				return nil, 0, false
			}
			if answer.Forward && upstream.Rcode == wire.RcodeNameError {
				continue
			}
			adopt(made, upstream)
		}
		if made.Rcode != wire.RcodeSuccess {
			return nil, 0, true
		}
		lead(made)
		return made, from, true
	}
	return nil, 0, true
}

// lead puts an alias in front of the answer, from the name in the question.
func lead(reply *wire.Msg) {
	asked := reply.Question[0].Name
	if len(reply.Answer) == 0 {
		return
	}
	first := reply.Answer[0].Header()
	for _, rr := range reply.Answer {
		if strings.EqualFold(rr.Header().Name, asked) {
			return
		}
	}
	alias := &wire.CNAME{Hdr: wire.RR_Header{Name: asked, Rrtype: wire.TypeCNAME, Class: wire.ClassINET, Ttl: first.Ttl}, Target: first.Name}
	reply.Answer = append([]wire.RR{alias}, reply.Answer...)
}

// finishSearch replies with what along has found, or that the name does not exist.
func (x *exchange) finishSearch(reply *wire.Msg, from source) []byte {
	if reply == nil {
		reply, from = x.begin(), fromTable
	} else {
		x.tally.autopath.Add(1)
	}
	return x.finish(reply, from, nil)
}

// cached asks the cache only.
func (s *Settings) cached(q forward.Query) (*wire.Msg, bool) {
	if !s.forwarder.Configured() {
		return new(wire.Msg).SetRcode(new(wire.Msg), wire.RcodeServerFailure), true
	}
	return s.forwarder.Cached(q)
}

// upstream asks other servers, which give SERVFAIL if they do not answer.
func (s *Settings) upstream(ctx context.Context) asker {
	return func(q forward.Query) (*wire.Msg, bool) {
		reply, err := s.forwarder.Exchange(ctx, q)
		if err != nil {
			return new(wire.Msg).SetRcode(new(wire.Msg), wire.RcodeServerFailure), true
		}
		return reply, true
	}
}
