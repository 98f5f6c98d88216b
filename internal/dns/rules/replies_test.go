package rules

import (
	"net/netip"
	"testing"
	"time"

	wire "github.com/miekg/dns"
)

// TestCodes changes response codes of the names that are meant, and no others.
func TestCodes(t *testing.T) {
	r, err := read(t, ". {\n rewrite rcode suffix .broken.example SERVFAIL nxdomain\n rewrite rcode ok.example 3 NOERROR\n}", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []struct {
		name          string
		before, after int
	}{
		{"www.broken.example.", wire.RcodeServerFailure, wire.RcodeNameError}, {"www.broken.example.", wire.RcodeRefused, wire.RcodeRefused},
		{"OK.example.", wire.RcodeNameError, wire.RcodeSuccess}, {"other.example.", wire.RcodeServerFailure, wire.RcodeServerFailure},
	} {
		request := new(wire.Msg).SetQuestion(q.name, wire.TypeA)
		o := r.Query(Client{Address: netip.IPv6Loopback()}, request)
		reply := new(wire.Msg).SetRcode(request, q.before)
		if r.Undo(o, reply); reply.Rcode != q.after {
			t.Errorf("%s: %d became %d, want %d", q.name, q.before, reply.Rcode, q.after)
		}
	}
	for _, text := range []string{"rewrite rcode a.org NOCODE NOERROR", "rewrite rcode a.org 3 24"} {
		if _, err := read(t, ". {\n "+text+"\n}", nil); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}

// TestRetarget changes the targets of aliases, once by each rule, and takes away what
// followed.
func TestRetarget(t *testing.T) {
	r, err := read(t, ". {\n rewrite continue cname exact a.example b.example\n rewrite continue cname suffix .old.example. .new.example.\n}", nil)
	if err != nil {
		t.Fatal(err)
	}
	request := new(wire.Msg).SetQuestion("www.example.", wire.TypeA)
	o := r.Query(Client{Address: netip.IPv6Loopback()}, request)
	reply := new(wire.Msg).SetReply(request)
	for _, text := range []string{"www.example. 5 IN CNAME A.example.", "A.example. 5 IN CNAME x.old.example.", "x.old.example. 5 IN A 192.0.2.1"} {
		rr, err := wire.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		reply.Answer = append(reply.Answer, rr)
	}
	name, again := o.Retarget(reply)
	if name != "b.example." || !again || len(reply.Answer) != 1 || reply.Answer[0].(*wire.CNAME).Target != "b.example." {
		t.Errorf("%q %t %v", name, again, reply)
	}
	if name, again = o.Retarget(reply); again {
		t.Errorf("%q again: %v", name, reply)
	}
}

// TestLog writes the line that CoreDNS writes, for the classes and zones that are
// meant.
func TestLog(t *testing.T) {
	r, err := read(t, `. {
		log example.org {
			class denial error
		}
		log . "{combined} {nothing} {/metadata/x} {local} } {type}{class}"
	}`, nil)
	if err != nil {
		t.Fatal(err)
	}
	request := new(wire.Msg).SetQuestion("WWW.example.com.", wire.TypeA).SetEdns0(1232, true)
	request.Id = 77
	exchange := Exchange{
		Client: Client{Address: netip.MustParseAddr("2001:db8::7"), Port: 4242, Server: netip.MustParseAddrPort("192.0.2.53:53")}, Request: request, Reply: new(wire.Msg).SetReply(request),
		RequestSize: 44, ReplySize: 60, Took: 1500 * time.Microsecond,
	}
	exchange.Reply.Authoritative, exchange.Reply.RecursionAvailable = true, true
	line, ok := r.Log(exchange)
	if want := `[2001:db8::7]:4242 - 77 "A IN www.example.com. udp 44 true 1232" NOERROR qr,aa,rd,ra 60 0.0015s "0" {nothing} - 192.0.2.53 } AIN`; line != want || !ok {
		t.Errorf("\n got %s\nwant %s", line, want)
	}
	soa := []wire.RR{&wire.SOA{Hdr: header("example.org.", wire.TypeSOA, 5), Ns: ".", Mbox: "."}}
	request.Question[0].Name = "www.example.org."
	for class, reply := range map[string]struct {
		rcode int
		ns    []wire.RR
		is    bool
	}{"success": {0, nil, false}, "no data": {0, soa, true}, "no name": {3, soa, true}, "error": {2, nil, true}} {
		exchange.Reply = new(wire.Msg).SetRcode(request, reply.rcode)
		exchange.Reply.Ns = reply.ns
		if line, ok := r.Log(exchange); ok != reply.is {
			t.Errorf("%s: %t %s", class, ok, line)
		}
	}
}

// TestWhoami holds what clients are told of themselves; with forward, nothing.
func TestWhoami(t *testing.T) {
	r, err := read(t, ". {\n whoami\n}", nil)
	if err != nil || r.Empty() {
		t.Fatal(err)
	}
	request := new(wire.Msg).SetQuestion("who.example.", wire.TypeTXT)
	reply := r.Whoami(Client{Address: netip.MustParseAddr("192.0.2.7"), Port: 4242, TCP: true}, request)
	if len(reply.Extra) != 2 || reply.Extra[0].String() != "who.example.\t0\tIN\tA\t192.0.2.7" || reply.Extra[1].String() != "_tcp.who.example.\t0\tIN\tSRV\t0 0 4242 ." || !reply.Authoritative {
		t.Errorf("%v", reply)
	}
	request.Question[0].Name = "."
	reply = r.Whoami(Client{Address: netip.MustParseAddr("2001:db8::7"), Port: 4242, TCP: false}, request)
	if reply.Extra[0].String() != ".\t0\tIN\tAAAA\t2001:db8::7" || reply.Extra[1].Header().Name != "_udp." {
		t.Errorf("%v", reply)
	}
	if r, err = read(t, ". {\n whoami\n forward . 192.0.2.1\n}", nil); err != nil || !r.Empty() || r.Whoami(Client{}, request) != nil {
		t.Errorf("behind forward: %v", err)
	}
}
