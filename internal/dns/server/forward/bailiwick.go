package forward

import (
	"slices"
	"strings"

	wire "github.com/miekg/dns"
)

// maxChain is how many aliases are followed in a reply.
const maxChain = 16

// scrub removes what a reply to a query must not hold (RFC 2181, section 5.4.1,
// and RFC 5452): in the answer all but the records of the name and of the names
// that its aliases lead to, in authority all but those of zones in which these
// lie, in the additional section all but addresses of names that kept records
// mention. It returns how many records went.
func scrub(q Query, reply *wire.Msg) (removed int) {
	count := func() int { return len(reply.Answer) + len(reply.Ns) + len(reply.Extra) }
	before := count()
	s := scrubber{query: q, chain: aliases(q, reply.Answer)}
	reply.Answer = slices.DeleteFunc(reply.Answer, func(rr wire.RR) bool { return !s.answers(rr) })
	for _, rr := range reply.Ns {
		if h := rr.Header(); (h.Rrtype == wire.TypeSOA || h.Rrtype == wire.TypeNS || h.Rrtype == wire.TypeDS) && q.of(h.Class) && s.above(h.Name) {
			s.zones = append(s.zones, h.Name)
		}
	}
	reply.Ns = slices.DeleteFunc(reply.Ns, func(rr wire.RR) bool { return !s.authority(rr) })
	targets := map[string]bool{}
	for _, section := range [][]wire.RR{reply.Answer, reply.Ns} {
		for _, rr := range section {
			if name := target(rr); name != "" {
				targets[strings.ToLower(name)] = true
			}
		}
	}
	reply.Extra = slices.DeleteFunc(reply.Extra, func(rr wire.RR) bool {
		h := rr.Header()
		if h.Rrtype == wire.TypeOPT {
			return false
		}
		address := h.Rrtype == wire.TypeA || h.Rrtype == wire.TypeAAAA || h.Rrtype == wire.TypeRRSIG && q.DO
		return !address || !q.of(h.Class) || !targets[strings.ToLower(h.Name)]
	})
	return before - count()
}

// scrubber is what a reply's records are judged by.
type scrubber struct {
	query Query
	chain []string // the name and those that its aliases lead to
	zones []string // of SOA, NS and DS records
}

// aliases returns the name of a query, and the names that CNAME and DNAME
// records in an answer lead to from there.
func aliases(q Query, answer []wire.RR) []string {
	chain := []string{q.Name}
	for len(chain) <= maxChain {
		name, next := chain[len(chain)-1], ""
		for _, rr := range answer {
			if c, ok := rr.(*wire.CNAME); ok && q.of(c.Hdr.Class) && sameName(c.Hdr.Name, name) {
				next = c.Target
				break
			}
		}
		if next == "" || q.Type == wire.TypeCNAME || slices.ContainsFunc(chain, func(seen string) bool { return sameName(seen, next) }) {
			break
		}
		chain = append(chain, next)
	}
	return chain
}

func (s *scrubber) answers(rr wire.RR) bool {
	h := rr.Header()
	if !s.query.of(h.Class) {
		return false
	}
	kind := h.Rrtype
	if sig, ok := rr.(*wire.RRSIG); ok && s.query.Type != wire.TypeRRSIG {
		kind = sig.TypeCovered
	}
	if kind == wire.TypeDNAME && s.query.Type != wire.TypeDNAME {
		return slices.ContainsFunc(s.chain, func(name string) bool { return wire.IsSubDomain(h.Name, name) })
	}
	wanted := kind == s.query.Type || kind == wire.TypeCNAME || s.query.Type == wire.TypeANY
	return wanted && slices.ContainsFunc(s.chain, func(name string) bool { return sameName(h.Name, name) })
}

// above reports whether a name of the chain lies in a zone.
func (s *scrubber) above(zone string) bool {
	return slices.ContainsFunc(s.chain, func(name string) bool { return wire.IsSubDomain(zone, name) })
}

func (s *scrubber) authority(rr wire.RR) bool {
	h := rr.Header()
	if !s.query.of(h.Class) {
		return false
	}
	switch h.Rrtype {
	case wire.TypeSOA, wire.TypeNS:
		return s.above(h.Name)
	case wire.TypeDS, wire.TypeNSEC, wire.TypeNSEC3, wire.TypeRRSIG:
		// Proofs stand beside the name, in one of its zones.
		return s.query.DO && (s.above(h.Name) || within(h.Name, s.zones))
	}
	return false
}

// target returns the name that a record sends clients to, if any.
func target(rr wire.RR) string {
	switch rr := rr.(type) {
	case *wire.SRV:
		return rr.Target
	case *wire.MX:
		return rr.Mx
	case *wire.NS:
		return rr.Ns
	case *wire.HTTPS:
		if rr.Target == "." {
			return rr.Hdr.Name
		}
		return rr.Target
	case *wire.SVCB:
		if rr.Target == "." {
			return rr.Hdr.Name
		}
		return rr.Target
	case *wire.NAPTR:
		return rr.Replacement
	}
	return ""
}

func sameName(a, b string) bool { return strings.EqualFold(a, b) }
