package upstream

import (
	"testing"

	"github.com/miekg/dns"
)

func ask(t *testing.T, name string, qtype uint16) *dns.Msg {
	t.Helper()
	return NewAnswers().Answer(new(dns.Msg).SetQuestion(name, qtype))
}

func TestAnswer(t *testing.T) {
	for _, test := range []struct {
		name    string
		qtype   uint16
		rcode   int
		answers int
	}{
		{"example.test.", dns.TypeA, dns.RcodeSuccess, 1},
		{"EXAMPLE.test.", dns.TypeAAAA, dns.RcodeSuccess, 1},
		{"www.example.test.", dns.TypeA, dns.RcodeSuccess, 2}, // the alias and what it stands for
		{"v4only.example.test.", dns.TypeAAAA, dns.RcodeSuccess, 0},
		{"nope.example.test.", dns.TypeA, dns.RcodeNameError, 0},
		{"kubernetes.io.", dns.TypeA, dns.RcodeNameError, 0},
		{"servfail.example.test.", dns.TypeA, dns.RcodeServerFailure, 0},
		{"10.2.0.192.in-addr.arpa.", dns.TypePTR, dns.RcodeSuccess, 1},
	} {
		reply := ask(t, test.name, test.qtype)
		if reply.Rcode != test.rcode || len(reply.Answer) != test.answers {
			t.Errorf("%s %s: got %s", test.name, dns.TypeToString[test.qtype], reply)
		}
	}
}

func TestLargeAnswerNeedsTCP(t *testing.T) {
	reply := ask(t, large, dns.TypeTXT)
	if reply.Len() <= 4096 || reply.Len() > dns.MaxMsgSize {
		t.Fatalf("%d bytes", reply.Len())
	}
	reply.Truncate(1232)
	if !reply.Truncated {
		t.Error("fits into UDP")
	}
}

func TestSilence(t *testing.T) {
	if reply := ask(t, silent, dns.TypeA); reply != nil {
		t.Errorf("answered: %s", reply)
	}
}

func TestOddQuestions(t *testing.T) {
	if reply := NewAnswers().Answer(new(dns.Msg)); reply.Rcode != dns.RcodeFormatError {
		t.Errorf("no question: %s", reply)
	}
}
