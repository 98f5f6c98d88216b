package rules

import (
	"fmt"
	"strconv"
	"strings"

	wire "github.com/miekg/dns"

	"github.com/fairlead-net/fairlead/internal/dns/corefile"
)

// parseCodes reads the response codes before and after.
func parseCodes(texts []string) (before, after int, err error) {
	codes := [2]int{}
	for i := range codes {
		text := ""
		if i < len(texts) {
			text = texts[i]
		}
		code, known := wire.StringToRcode[strings.ToUpper(text)]
		if n, err := strconv.Atoi(text); err == nil && n >= 0 && n <= 23 {
			code, known = n, true
		}
		if !known {
			return 0, 0, fmt.Errorf("rewrite rcode: %q is no response code; write for example SERVFAIL, NXDOMAIN or 3", text)
		}
		codes[i] = code
	}
	return codes[0], codes[1], nil
}

// setCode is an undo of a rule for response codes.
func (w *rewrite) setCode(reply *wire.Msg) {
	if reply.Rcode == w.before {
		reply.Rcode = w.after
	}
}

// Retargets reports whether aliases in the reply are to be given to Retarget.
func (o *Outcome) Retargets() bool { return len(o.aliases) > 0 }

// Retarget changes the target of the first alias in the answer that a rule is for, and
// takes away the records after it. The records of the name that it returns belong in their
// place; then it is to be called again, until it returns false, each rule being used once.
func (o *Outcome) Retarget(reply *wire.Msg) (name string, again bool) {
	for ; len(o.aliases) > 0; o.aliases = o.aliases[1:] {
		for i, rr := range reply.Answer {
			alias, ok := rr.(*wire.CNAME)
			if !ok {
				continue
			}
			to, ok := o.aliases[0].replace(fold(alias.Target))
			if _, valid := wire.IsDomainName(to); !ok || !valid || strings.EqualFold(to, alias.Target) {
				continue
			}
			alias.Target = to
			reply.Answer, reply.Ns, reply.Extra = reply.Answer[:i+1], nil, keepOPT(reply.Extra)
			o.aliases = o.aliases[1:]
			return to, true
		}
	}
	return "", false
}

// Errors returns the directive errors, or nil if there is none.
func (r *Rules) Errors() *corefile.Errors { return r.errors }

// NSID returns what the server calls itself (RFC 5001), and whether it says so; empty
// text stands for the host's name.
func (r *Rules) NSID() (string, bool) {
	if r.nsid == nil {
		return "", false
	}
	return *r.nsid, true
}

// Whoami returns a reply that tells a client its address and port, or nil if that is
// not what the server block is for.
func (r *Rules) Whoami(client Client, request *wire.Msg) *wire.Msg {
	if !r.whoami {
		return nil
	}
	asked := request.Question[0]
	reply := new(wire.Msg).SetReply(request)
	reply.Authoritative = true
	h := wire.RR_Header{Name: asked.Name, Class: asked.Qclass}
	if client.Address.Is4() {
		h.Rrtype = wire.TypeA
		reply.Extra = []wire.RR{&wire.A{Hdr: h, A: client.Address.AsSlice()}}
	} else {
		h.Rrtype = wire.TypeAAAA
		reply.Extra = []wire.RR{&wire.AAAA{Hdr: h, AAAA: client.Address.AsSlice()}}
	}
	h.Rrtype, h.Name = wire.TypeSRV, "_"+client.protocol()+"."+strings.TrimPrefix(asked.Name, ".")
	if _, ok := wire.IsDomainName(h.Name); ok {
		reply.Extra = append(reply.Extra, &wire.SRV{Hdr: h, Port: client.Port, Target: "."})
	}
	return reply
}
