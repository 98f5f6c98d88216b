package server

import (
	"math/rand/v2"
	"net"
	"strings"

	wire "github.com/miekg/dns"

	"github.com/fairlead-net/fairlead/internal/dns"
)

// authoritative turns an Answer into a reply to a request.
func authoritative(request *wire.Msg, a dns.Answer) *wire.Msg {
	reply := respond(request, int(a.Rcode))
	reply.Authoritative = a.Authoritative
	reply.Answer = pack(a.Answer)
	reply.Ns = pack(a.Authority)
	reply.Extra = pack(a.Additional)
	return reply
}

// respond returns a reply without records. Its question is the client's, case
// and all; flags as RFC 1035, section 4.1.1 wants them.
func respond(request *wire.Msg, rcode int) *wire.Msg {
	reply := new(wire.Msg)
	reply.Id, reply.Opcode = request.Id, request.Opcode
	reply.Response = true
	reply.RecursionDesired, reply.CheckingDisabled = request.RecursionDesired, request.CheckingDisabled
	reply.Rcode = rcode
	reply.Question = request.Question
	return reply
}

func pack(records []dns.Record) []wire.RR {
	if len(records) == 0 {
		return nil
	}
	packed := make([]wire.RR, len(records))
	for i := range records {
		packed[i] = rr(&records[i])
	}
	return packed
}

// rr turns a record into the wire library's form.
func rr(r *dns.Record) wire.RR {
	head := wire.RR_Header{Name: r.Name, Rrtype: uint16(r.Type), Class: wire.ClassINET, Ttl: r.TTL}
	switch r.Type {
	case dns.TypeA:
		return &wire.A{Hdr: head, A: net.IP(r.Address.AsSlice())}
	case dns.TypeAAAA:
		return &wire.AAAA{Hdr: head, AAAA: net.IP(r.Address.AsSlice())}
	case dns.TypeCNAME:
		return &wire.CNAME{Hdr: head, Target: r.Target}
	case dns.TypeNS:
		return &wire.NS{Hdr: head, Ns: r.Target}
	case dns.TypePTR:
		return &wire.PTR{Hdr: head, Ptr: r.Target}
	case dns.TypeSRV:
		return &wire.SRV{Hdr: head, Weight: r.Weight, Port: r.Port, Target: r.Target}
	case dns.TypeTXT:
		return &wire.TXT{Hdr: head, Txt: []string{r.Text}}
	case dns.TypeHINFO:
		return &wire.HINFO{Hdr: head, Cpu: r.Text}
	case dns.TypeSOA:
		return &wire.SOA{
			Hdr: head, Ns: r.Target, Mbox: r.SOA.Mailbox, Serial: r.SOA.Serial,
			Refresh: r.SOA.Refresh, Retry: r.SOA.Retry, Expire: r.SOA.Expire, Minttl: r.SOA.Minimum,
		}
	}
	panic("a Table holds no records of type " + r.Type.String())
}

// shuffle brings the addresses at the end of a section into random order, so
// that clients that take the first one spread over all of them.
func shuffle(section []wire.RR) {
	from := len(section)
	for from > 0 {
		if t := section[from-1].Header().Rrtype; t != wire.TypeA && t != wire.TypeAAAA {
			break
		}
		from--
	}
	if addresses := section[from:]; len(addresses) > 1 {
		rand.Shuffle(len(addresses), func(i, j int) { addresses[i], addresses[j] = addresses[j], addresses[i] })
	}
}

// adopt takes the records of an upstream's reply into a reply, without the OPT
// record, which concerns two neighbours only (RFC 6891, section 6.2.6). Owners
// get the spelling of the client's question.
func adopt(reply, upstream *wire.Msg) {
	reply.Rcode = upstream.Rcode
	reply.Truncated = upstream.Truncated
	reply.Answer = append(reply.Answer, upstream.Answer...)
	reply.Ns = append(reply.Ns, upstream.Ns...)
	for _, rr := range upstream.Extra {
		if t := rr.Header().Rrtype; t != wire.TypeOPT && t != wire.TypeTSIG {
			reply.Extra = append(reply.Extra, rr)
		}
	}
	name := reply.Question[0].Name
	for _, rr := range reply.Answer {
		if h := rr.Header(); h.Name != name && strings.EqualFold(h.Name, name) {
			h.Name = name
		}
	}
}

// fit makes a reply small enough for a transport. Additional records go first
// and silently, for nobody asked for them; if that is not enough, TC tells the
// client to ask over TCP (RFC 2181, section 9).
func fit(reply *wire.Msg, size int) {
	reply.Compress = true
	if reply.Len() <= size {
		return
	}
	var kept []wire.RR
	if opt := reply.IsEdns0(); opt != nil {
		kept = []wire.RR{opt}
	}
	reply.Extra = kept
	reply.Truncate(size)
	reply.Compress = true
}
