package server

import (
	"cmp"
	"context"
	"slices"

	wire "github.com/miekg/dns"

	"github.com/fairlead-net/fairlead/internal/dns"
	"github.com/fairlead-net/fairlead/internal/dns/rules"
)

// Block is what a server block of a Corefile makes of the names in a zone.
type Block struct {
	// Zone is in lower case and ends with a dot. Of several Blocks the longest zone
	// that a name is in counts.
	Zone string
	// Rules are never nil, and may be empty.
	Rules *rules.Rules
	// WithoutCluster leaves the cluster's names out.
	WithoutCluster bool
}

// plain reports whether names are answered as if there were no Block.
func (b *Block) plain() bool { return b == nil || b.Rules.Empty() && !b.WithoutCluster }

// blocks are all Blocks, the longest zones first.
type blocks []Block

func newBlocks(all []Block) blocks {
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(a, b Block) int { return cmp.Compare(wire.CountLabel(b.Zone), wire.CountLabel(a.Zone)) })
	return sorted
}

// plain reports whether it makes no difference that there are Blocks. Only then is
// the hot path free to answer.
func (b blocks) plain() bool {
	return !slices.ContainsFunc(b, func(one Block) bool { return !one.plain() })
}

func (b blocks) of(name string) *Block {
	name = wire.CanonicalName(name)
	for i := range b {
		if wire.IsSubDomain(b[i].Zone, name) {
			return &b[i]
		}
	}
	return nil
}

// rule lets the rules of the name's Block do what they want with the query. If they
// end it, done is set, and the reply is nil if there is to be none.
func (x *exchange) rule() (reply []byte, done bool) {
	x.asked = x.request
	if x.block = x.live.blocks.of(x.request.Question[0].Name); x.block == nil || x.block.Rules.Empty() {
		return nil, false
	}
	x.tap(nil, nil)
	x.outcome = x.block.Rules.Query(x.client.forRules(x.network), x.request)
	x.asked = x.outcome.Request
	switch made := x.outcome.Reply; {
	case x.outcome.Drop:
		x.tally.ignored.Add(1)
		return nil, true
	case made == nil:
		return nil, false
	default:
		made.Question = x.request.Question
		if x.outcome.Chase != "" {
			return nil, false
		}
		return x.finish(made, source(max(0, slices.Index(sourceNames[:], x.outcome.By))), x.outcome.Error), true
	}
}

// whoami tells the client who it is, if its Block does and nobody else has an answer.
func (x *exchange) whoami() (reply []byte, done bool) {
	if x.block == nil || !x.answer.Forward {
		return nil, false
	}
	made := x.block.Rules.Whoami(x.client.forRules(x.network), x.asked)
	if made == nil {
		return nil, false
	}
	made.Question = x.request.Question
	return x.finish(made, fromWhoami, nil), true
}

// maxRetargets bounds how many aliases of one reply get another target, as in CoreDNS.
const maxRetargets = 8

// retargets reports whether there may be aliases that rules give another target; own is
// set if the answer is complete, and then shows it.
func (x *exchange) retargets(own bool) bool {
	alias := func(r dns.Record) bool { return r.Type == dns.TypeCNAME }
	return x.outcome.Retargets() && (!own || x.outcome.Reply != nil || slices.ContainsFunc(x.answer.Answer, alias))
}

// retarget gives aliases in a reply the targets, with their records, that rules want.
func (x *exchange) retarget(ctx context.Context, reply *wire.Msg) {
	for range maxRetargets {
		name, again := x.outcome.Retarget(reply)
		if !again {
			return
		}
		q := x.question()
		q.Name = name
		answer := x.lookUp(q)
		of := authoritative(x.asked, answer)
		if name := cmp.Or(answer.Chase, name); answer.Forward || answer.Chase != "" {
			upstream, err := x.live.forwarder.Exchange(ctx, x.query(name, q.Type, q.Class))
			if err != nil {
				return // the alias is better than nothing
			}
			adopt(of, upstream)
		}
		reply.Answer = append(reply.Answer, of.Answer...)
		reply.Truncated, reply.AuthenticatedData = of.Truncated, false
	}
}

// question returns what the Table and other servers are asked.
func (x *exchange) question() dns.Question {
	asked := x.asked.Question[0]
	if x.outcome.Chase != "" {
		asked.Name = x.outcome.Chase
	}
	return dns.Question{Name: asked.Name, Type: dns.Type(asked.Qtype), Class: dns.Class(asked.Qclass)}
}

// lookUp answers from the Table, if the Block has the cluster's names.
func (x *exchange) lookUp(q dns.Question) dns.Answer {
	if x.block != nil && x.block.WithoutCluster {
		return dns.Answer{Forward: true}
	}
	return x.plane.answer(x.live.table, q)
}

// begin returns the reply as far as this server makes it.
func (x *exchange) begin() *wire.Msg {
	reply := authoritative(x.request, x.answer)
	if made := x.outcome.Reply; made != nil {
		reply.Answer = append(slices.Clone(made.Answer), reply.Answer...)
		reply.Ns, reply.Extra = append(reply.Ns, made.Ns...), append(reply.Extra, made.Extra...)
		reply.Authoritative = true
	}
	return reply
}

// translates reports whether addresses may have to be made of others (DNS64).
func (x *exchange) translates() bool {
	return x.block != nil && x.block.Rules.NeedsA(x.client.address.Unmap(), x.asked, new(wire.Msg))
}

// translate completes a reply from the name's IPv4 addresses where rules want that.
func (x *exchange) translate(ctx context.Context, reply *wire.Msg) {
	if x.block == nil || !x.block.Rules.NeedsA(x.client.address.Unmap(), x.asked, reply) {
		return
	}
	q := x.question()
	q.Type = dns.TypeA
	answer := x.lookUp(q)
	of := authoritative(x.asked, answer)
	if name := cmp.Or(answer.Chase, q.Name); answer.Forward || answer.Chase != "" {
		upstream, err := x.live.forwarder.Exchange(ctx, x.query(name, dns.TypeA, q.Class))
		if err != nil {
			return // what there is is better than nothing
		}
		adopt(of, upstream)
	}
	x.block.Rules.Translate(reply, of)
}
