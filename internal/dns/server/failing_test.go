package server

import (
	"net/netip"
	"strings"
	"testing"

	wire "github.com/miekg/dns"

	"github.com/fairlead-net/fairlead/internal/dns/server/forward"
)

func expectPacked(t *testing.T, packed []byte, rcode int) {
	t.Helper()
	m := new(wire.Msg)
	if err := m.Unpack(packed); err != nil || m.Rcode != rcode || len(m.Question) != 1 {
		t.Errorf("%v, %v", m, err)
	}
}

// TestPanicForwarding expects a query that breaks the server while it waits for an
// upstream to cost that query only.
func TestPanicForwarding(t *testing.T) {
	p, err := New(Config{Forward: forward.Config{Upstreams: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.16:53")}}})
	if err != nil {
		t.Fatal(err)
	}
	p.Apply(t.Context(), cluster(t, 0))
	packed, _ := query("www.example.com.", wire.TypeA).Pack()
	_, later := p.handle(packed, p.tallies[0], overUDP, nobody)
	if later == nil {
		t.Fatal("no upstream is to be asked")
	}
	broken := *later.live.Settings
	broken.forwarder = nil
	later.live = &live{&broken, later.live.table}
	if expectPacked(t, later.forward(t.Context()), wire.RcodeServerFailure); p.tallies[0].panics.Load() != 1 {
		t.Errorf("%d panics are counted", p.tallies[0].panics.Load())
	}
}

// TestUnpackable expects SERVFAIL in the place of a reply that has no wire form.
func TestUnpackable(t *testing.T) {
	p, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	x := &exchange{plane: p, live: p.live.Load(), tally: p.tallies[0], network: overUDP, client: nobody, request: query("www.example.com.", wire.TypeA)}
	reply := respond(x.request, wire.RcodeSuccess)
	reply.Answer = []wire.RR{&wire.CNAME{Hdr: wire.RR_Header{Name: "www.example.com.", Rrtype: wire.TypeCNAME, Class: 1}, Target: strings.Repeat("x", 64) + "."}}
	expectPacked(t, x.finish(reply, fromUpstream, nil), wire.RcodeServerFailure)
}

// TestAuthenticated expects what an upstream has verified (AD) to be called that for those
// who ask for it, but not where an alias of the cluster led there.
func TestAuthenticated(t *testing.T) {
	up := upstream(t, func(w wire.ResponseWriter, m *wire.Msg) {
		reply := new(wire.Msg).SetReply(m)
		reply.AuthenticatedData = true
		h := wire.RR_Header{Name: m.Question[0].Name, Rrtype: wire.TypeA, Class: 1, Ttl: 60}
		reply.Answer = []wire.RR{&wire.A{Hdr: h, A: netip.MustParseAddr("192.0.2.1").AsSlice()}}
		w.WriteMsg(reply)
	})
	_, at := start(t, Config{Forward: forward.Config{Upstreams: []netip.AddrPort{up}}}, cluster(t, 0))
	for range 2 { // the second time from the cache
		for _, c := range []struct {
			name           string
			ad, do, wanted bool
		}{
			{"www.example.com.", false, false, false}, {"www.example.com.", true, false, true}, {"www.example.com.", false, true, true},
			{"out.shop.svc.cluster.local.", true, false, false}, {"out.shop.svc.cluster.local.", false, true, false},
		} {
			m := query(c.name, wire.TypeA).SetEdns0(1232, c.do)
			m.AuthenticatedData = c.ad
			if reply := ask(t, "udp", at, m); reply.AuthenticatedData != c.wanted {
				t.Errorf("%+v: %v", c, reply)
			}
		}
	}
}
