package server

import (
	"bytes"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	wire "github.com/miekg/dns"

	"github.com/fairlead-net/fairlead/internal/dns/server/forward"
)

// TestRefuse holds the shortest reply that refuses: to queries only, with their ID,
// opcode, RD and CD, with the question of a usual one, and nothing else.
func TestRefuse(t *testing.T) {
	odd := query("www.example.com.", wire.TypeA).SetEdns0(1232, true)
	odd.CheckingDisabled, odd.Authoritative, odd.Truncated, odd.RecursionAvailable, odd.AuthenticatedData = true, true, true, true, true
	plain := query("www.example.com.", wire.TypeA)
	plain.RecursionDesired = false
	response := query("www.example.com.", wire.TypeA)
	response.Response = true
	for name, c := range map[string]struct {
		m         *wire.Msg
		questions int
	}{
		"many flags": {odd, 1}, "no flags": {plain, 1}, "notify": {new(wire.Msg).SetNotify("example.com."), 0}, "response": {response, -1},
	} {
		packed, err := c.m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		got := new(wire.Msg)
		reply := refuse(packed, nil)
		if c.questions < 0 {
			if reply != nil {
				t.Errorf("%s: %x", name, reply)
			}
			continue
		}
		if err := got.Unpack(reply); err != nil {
			t.Fatalf("%s: %v in %x", name, err, reply)
		}
		want := new(wire.Msg)
		want.Id, want.Opcode, want.Response, want.Rcode = c.m.Id, c.m.Opcode, true, wire.RcodeRefused
		want.RecursionDesired, want.CheckingDisabled = c.m.RecursionDesired, c.m.CheckingDisabled
		if c.questions > 0 {
			want.Question = c.m.Question
		}
		// The library reads what says that there are more records than there are.
		if counts := []byte{0, byte(c.questions), 0, 0, 0, 0, 0, 0}; got.String() != want.String() || !bytes.Equal(reply[4:headerSize], counts) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
	}
	if reply := refuse(make([]byte, headerSize-1), nil); reply != nil {
		t.Errorf("a reply to half a header: %x", reply)
	}
}

// TestOversizedQuery: what is longer than any query is passed over, and counted.
func TestOversizedQuery(t *testing.T) {
	s, client := idleSocket(t, Config{})
	packed, err := query("web.shop.svc.cluster.local.", wire.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	client.Write(append(packed, make([]byte, maxQuery)...))
	client.Write(packed)
	for answered := 0; answered < 2; answered += s.in.got {
		if err := s.raw.Read(s.in.receive); err != nil {
			t.Fatal(err)
		}
		s.answer(time.Now())
		s.flush(&s.out, s.out.send)
	}
	if ignored := s.tally.ignored.Load(); ignored != 1 {
		t.Errorf("%d packets ignored", ignored)
	}
	client.SetReadDeadline(time.Now().Add(5 * time.Second))
	reply, err := (&wire.Conn{Conn: client}).ReadMsg()
	if err != nil {
		t.Fatal(err)
	}
	expect(t, reply, wire.RcodeSuccess, "10.96.0.1")
}

// TestWaitingOverTCP: no more queries of a connection wait for upstreams than may in all;
// the rest is refused, and counted.
func TestWaitingOverTCP(t *testing.T) {
	const queries, limit = 10, 3
	release := make(chan struct{})
	let := sync.OnceFunc(func() { close(release) })
	defer let()
	up := upstream(t, func(w wire.ResponseWriter, m *wire.Msg) {
		if m.Question[0].Qtype == wire.TypeA { // and does not look for loops
			<-release
		}
		addresses(w, m)
	})
	p, at := start(t, Config{MaxWaiting: limit, Forward: forward.Config{Upstreams: []netip.AddrPort{up}, Patience: 10 * time.Second, ReadTimeout: 10 * time.Second, Timeout: 10 * time.Second}}, cluster(t, 0))
	conn := dial(t, at)
	for i := range queries {
		conn.Write(frame(t, query(fmt.Sprintf("n%d.example.com.", i), wire.TypeA)))
	}
	for range queries - limit {
		expect(t, readReply(t, conn), wire.RcodeRefused)
	}
	let()
	for range limit {
		expect(t, readReply(t, conn), wire.RcodeSuccess, "192.0.2.1")
	}
	if refused := p.tallies[len(p.tallies)-1].refused.Load(); refused != queries-limit {
		t.Errorf("%d are counted as refused, want %d", refused, queries-limit)
	}
	expect(t, ask(t, "tcp", at, query("last.example.com.", wire.TypeA)), wire.RcodeSuccess, "192.0.2.1")
}

// TestHotRecovers: what breaks the hot path costs one query, which the slow one answers.
func TestHotRecovers(t *testing.T) {
	p, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	p.Apply(t.Context(), cluster(t, 0))
	h := newHot(p, new(tally))
	h.packer = nil
	packed, err := query("web.shop.svc.cluster.local.", wire.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	if reply, ok := h.answer(packed, nil, overUDP, nobody); ok || h.tally.panics.Load() != 1 {
		t.Errorf("%x, %d panics are counted", reply, h.tally.panics.Load())
	}
	if _, ok := h.answer(packed, nil, overUDP, nobody); !ok {
		t.Error("the next query is not answered")
	}
}
