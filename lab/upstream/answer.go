// Package upstream stands in for the resolver that a network gives its machines, so that forwarding can
// be tested without the internet.
//
// In: DNS queries over UDP and TCP. Out: fixed answers for names below example.test (RFC 6761 reserves
// .test), NXDOMAIN for all others. It never asks anyone else.
package upstream

import (
	"strings"

	"github.com/miekg/dns"
)

// Zone is the one zone with names in it.
const Zone = "example.test."

// records are the zone's contents; the addresses are from the documentation ranges (RFC 5737, RFC 3849).
var records = []string{
	"example.test. 30 IN SOA ns.example.test. hostmaster.example.test. 1 3600 600 86400 30",
	"example.test. 30 IN NS ns.example.test.",
	"example.test. 30 IN A 192.0.2.10",
	"example.test. 30 IN AAAA 2001:db8::10",
	"example.test. 30 IN TXT \"answered by the lab's upstream resolver\"",
	"example.test. 30 IN MX 10 mail.example.test.",
	"ns.example.test. 30 IN A 192.0.2.53",
	"ns.example.test. 30 IN AAAA 2001:db8::53",
	"mail.example.test. 30 IN A 192.0.2.25",
	"www.example.test. 30 IN CNAME example.test.",
	"v4only.example.test. 30 IN A 192.0.2.11",
	"v6only.example.test. 30 IN AAAA 2001:db8::11",
	"10.2.0.192.in-addr.arpa. 30 IN PTR example.test.",
}

const (
	// large has more text than any UDP answer may carry, so a client must come again over TCP.
	large      = "large.example.test."
	largeParts = 20
	// failing answers SERVFAIL, silent not at all.
	failing = "servfail.example.test."
	silent  = "silent.example.test."
)

// Answers is the parsed zone.
type Answers struct{ byName map[string][]dns.RR }

// NewAnswers parses the zone. It panics if a record is malformed: they are part of the program.
func NewAnswers() *Answers {
	a := &Answers{byName: map[string][]dns.RR{}}
	for _, text := range records {
		a.add(text)
	}
	for range largeParts {
		a.add(large + ` 30 IN TXT "` + strings.Repeat("x", 250) + `"`)
	}
	return a
}

func (a *Answers) add(text string) {
	rr, err := dns.NewRR(text)
	if err != nil {
		panic("upstream: record " + text + ": " + err.Error())
	}
	name := rr.Header().Name
	a.byName[name] = append(a.byName[name], rr)
}

// Answer replies to a query, or returns nil where the resolver keeps silent.
func (a *Answers) Answer(query *dns.Msg) *dns.Msg {
	reply := new(dns.Msg).SetReply(query)
	reply.RecursionAvailable = true
	if len(query.Question) != 1 {
		return reply.SetRcode(query, dns.RcodeFormatError)
	}
	question := query.Question[0]
	name := strings.ToLower(question.Name)
	switch name {
	case silent:
		return nil
	case failing:
		return reply.SetRcode(query, dns.RcodeServerFailure)
	}
	known, ok := a.byName[name]
	if !ok {
		reply.SetRcode(query, dns.RcodeNameError)
	}
	for _, rr := range known {
		switch rr.Header().Rrtype {
		case question.Qtype:
			reply.Answer = append(reply.Answer, rr)
		case dns.TypeCNAME:
			reply.Answer = append(reply.Answer, rr)
			reply.Answer = append(reply.Answer, a.pick(rr.(*dns.CNAME).Target, question.Qtype)...)
		}
	}
	if len(reply.Answer) == 0 {
		reply.Ns = a.pick(Zone, dns.TypeSOA) // lets clients cache the absence (RFC 2308)
	}
	return reply
}

func (a *Answers) pick(name string, qtype uint16) []dns.RR {
	var out []dns.RR
	for _, rr := range a.byName[name] {
		if rr.Header().Rrtype == qtype {
			out = append(out, rr)
		}
	}
	return out
}
