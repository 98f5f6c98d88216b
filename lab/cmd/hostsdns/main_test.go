package main

import (
	"testing"

	"github.com/miekg/dns"
)

const corefile = `. {
	hosts {
		192.0.2.7 a.example
		2001:db8::7 A.example b.example.
		fallthrough
	}
	log
}`

func TestAnswer(t *testing.T) {
	names := hosts(corefile)
	for _, c := range []struct {
		name  string
		qtype uint16
		rcode int
		want  string
	}{
		{"a.Example.", dns.TypeA, dns.RcodeSuccess, "192.0.2.7"},
		{"a.example.", dns.TypeAAAA, dns.RcodeSuccess, "2001:db8::7"},
		{"b.example.", dns.TypeA, dns.RcodeSuccess, ""},
		{"c.example.", dns.TypeA, dns.RcodeNameError, ""},
	} {
		reply := answer(names, new(dns.Msg).SetQuestion(c.name, c.qtype))
		got := ""
		for _, rr := range reply.Answer {
			switch rr := rr.(type) {
			case *dns.A:
				got += rr.A.String()
			case *dns.AAAA:
				got += rr.AAAA.String()
			}
		}
		if reply.Rcode != c.rcode || got != c.want {
			t.Errorf("%s %s: %s %q, want %s %q", c.name, dns.TypeToString[c.qtype],
				dns.RcodeToString[reply.Rcode], got, dns.RcodeToString[c.rcode], c.want)
		}
	}
	if reply := answer(names, new(dns.Msg)); reply.Rcode != dns.RcodeFormatError {
		t.Errorf("no question: %s", dns.RcodeToString[reply.Rcode])
	}
}
