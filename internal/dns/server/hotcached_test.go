package server

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	wire "github.com/miekg/dns"

	"github.com/fairlead-net/fairlead/internal/dns/server/forward"
)

// TestHotCachedIsSlow fills the cache by an upstream of many kinds of answers, and
// expects the hot path to give what the slow one does, in any form of question.
func TestHotCachedIsSlow(t *testing.T) {
	records := map[string][]string{
		"one.example.":   {"one.example. 60 A 192.0.2.1"},
		"many.example.":  {"many.example. 60 A 192.0.2.1", "many.example. 60 A 192.0.2.2", "many.example. 60 A 192.0.2.3"},
		"alias.example.": {"alias.example. 60 CNAME Target.Example.", "Target.Example. 60 A 192.0.2.7", "Target.Example. 60 A 192.0.2.8"},
		"large.example.": {"large.example. 60 TXT " + strings.Repeat(`"`+strings.Repeat("x", 200)+`" `, 5)},
		"mail.example.":  {"mail.example. 60 MX 10 mx.mail.example.", "mail.example. 60 MX 20 mx.elsewhere."},
	}
	var names []string
	up := upstream(t, elsewhere(t, records))
	p, at := start(t, Config{Forward: forward.Config{Upstreams: []netip.AddrPort{up}, Cache: forward.Cache{KeepTTL: true}}}, cluster(t, 0))
	types := []uint16{wire.TypeA, wire.TypeAAAA, wire.TypeTXT, wire.TypeMX, wire.TypeHTTPS}
	for name := range records {
		names = append(names, name)
	}
	names = append(names, "none.example.", "1.2.0.192.in-addr.arpa.")
	slices.Sort(names)
	for _, name := range names {
		for _, qtype := range types {
			for flags := range 4 {
				m := query(name, qtype).SetEdns0(1232, flags&1 != 0)
				m.CheckingDisabled = flags&2 != 0
				ask(t, "tcp", at, m)
			}
		}
	}
	rng := rand.New(rand.NewPCG(9, 10))
	h, reference := newHot(p, new(tally)), new(tally)
	hits := map[string]int{}
	for range 20000 {
		packet := randomForm(t, rng, names[rng.IntN(len(names))], types[rng.IntN(len(types))])
		n := []network{overUDP, overTCP}[rng.IntN(2)]
		got, ok := h.answer(packet, nil, n, nobody)
		if !ok {
			hits["left to the slow path"]++
			continue
		}
		want, later := p.handle(packet, reference, n, nobody)
		if later != nil {
			t.Fatalf("not in the cache: %x", packet)
		}
		compareMeaning(t, packet, got, want, hits)
	}
	for _, kind := range []string{"left to the slow path", "NOERROR A", "NOERROR TXT", "NOERROR MX", "NXDOMAIN", "NODATA"} {
		if hits[kind] < 100 {
			t.Errorf("only %d cases of %s in %v", hits[kind], kind, hits)
		}
	}
	compareTallies(t, h.tally, reference)
	rotates(t, h, query("many.example.", wire.TypeA))
	noAllocation(t, h, query("many.example.", wire.TypeA).SetEdns0(1232, false))
}

// elsewhere answers as a server does that has these records and no others.
func elsewhere(t *testing.T, records map[string][]string) wire.HandlerFunc {
	soa, err := wire.NewRR("example. 60 SOA ns.example. root.example. 1 2 3 4 60")
	if err != nil {
		t.Fatal(err)
	}
	return func(w wire.ResponseWriter, m *wire.Msg) {
		reply := new(wire.Msg).SetReply(m)
		reply.AuthenticatedData = m.Question[0].Name != "one.example."
		for _, text := range records[strings.ToLower(m.Question[0].Name)] {
			if rr, err := wire.NewRR(text); err != nil {
				t.Error(err)
			} else if rtype := rr.Header().Rrtype; rtype == m.Question[0].Qtype || rtype == wire.TypeCNAME {
				reply.Answer = append(reply.Answer, rr)
			}
		}
		if records[strings.ToLower(m.Question[0].Name)] == nil {
			reply.Rcode = wire.RcodeNameError
		}
		if len(reply.Answer) == 0 {
			reply.Ns = append(reply.Ns, soa)
		}
		w.WriteMsg(reply)
	}
}

// rotates expects each of three addresses to be the first of three replies in a row.
func rotates(t *testing.T, h *hot, m *wire.Msg) {
	t.Helper()
	packet, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	first := map[string]bool{}
	for range 3 {
		packed, _ := h.answer(packet, nil, overUDP, nobody)
		reply := new(wire.Msg)
		if err := reply.Unpack(packed); err != nil || len(reply.Answer) != 3 {
			t.Fatalf("%v in %v", err, reply)
		}
		first[reply.Answer[0].String()] = true
	}
	if len(first) != 3 {
		t.Errorf("first are %v", first)
	}
}

// noAllocation expects a query to be answered without allocating.
func noAllocation(t *testing.T, h *hot, m *wire.Msg) {
	t.Helper()
	packet, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() {
		if _, ok := h.answer(packet, buffer, overUDP, nobody); !ok {
			t.Fatal("not in the cache")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// compareMeaning expects two replies to be equal but for the order of records in a
// section, and for case: what refers to the question has the client's.
func compareMeaning(t *testing.T, packet, got, want []byte, hits map[string]int) {
	t.Helper()
	a, b := classify(t, got, hits), new(wire.Msg)
	if err := b.Unpack(want); err != nil {
		t.Fatal(err)
	}
	lines := func(m *wire.Msg) string {
		list := strings.Split(strings.ToLower(m.String()), "\n")
		slices.Sort(list)
		return strings.Join(list, "\n")
	}
	if !bytes.Equal(got[:headerSize], want[:headerSize]) || lines(a) != lines(b) || a.Question[0] != b.Question[0] {
		t.Fatalf("query %x\ngot  %x\nwant %x\ngot %v\nwant %v", packet, got, want, a, b)
	}
}
