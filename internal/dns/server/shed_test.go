package server

import (
	"net"
	"net/netip"
	"testing"
	"time"

	wire "github.com/miekg/dns"

	"github.com/fairlead-net/fairlead/internal/dns/server/forward"
)

// TestShedding fills a socket with queries for an upstream and expects those of
// unknown clients to be refused while there are many, those with a cookie and
// those about the cluster to be answered, and no more than the limit to wait.
func TestShedding(t *testing.T) {
	up := upstream(t, func(w wire.ResponseWriter, m *wire.Msg) {
		time.Sleep(100 * time.Millisecond)
		addresses(w, m)
	})
	s, client := idleSocket(t, Config{MaxWaiting: 20, Forward: forward.Config{Upstreams: []netip.AddrPort{up}}})
	p, now := s.plane, time.Now()
	sent, _ := readCookie(make([]byte, clientCookie))
	good := p.cookies.text(&sent, netip.MustParseAddr("127.0.0.1"), now)
	const rounds = 150 // four packets of a round take 768 bytes of memory each
	for i := range rounds {
		for kind, m := range []*wire.Msg{
			query("www.example.com.", wire.TypeA), query("web.shop.svc.cluster.local.", wire.TypeA),
			withCookie(query("www.example.com.", wire.TypeA), good), withCookie(query("www.example.com.", wire.TypeA), good[:46]+"00"),
		} {
			m.Id = uint16(4*i + kind)
			packed, err := m.Pack()
			if err != nil {
				t.Fatal(err)
			}
			client.Write(packed)
		}
	}
	serve := func() {
		if err := s.raw.Read(s.in.receive); err != nil {
			t.Fatal(err)
		}
		s.answer(now)
		s.flush(&s.out, s.out.send)
		if waiting := p.waiting.Load(); waiting > 20 {
			t.Errorf("%d wait, at most 20 may", waiting)
		}
	}
	s.in.want = batchSize
	serve()
	if refused, waiting := p.tallies[0].refused.Load(), p.waiting.Load(); !s.in.pressed || refused != batchSize/2 || waiting != batchSize/4 {
		t.Errorf("pressed %t: %d of a batch are refused and %d wait, want a half and a quarter", s.in.pressed, refused, waiting)
	}
	for s.in.got == batchSize {
		serve()
	}
	if s.in.pressed {
		t.Error("pressed to the end")
	}
	p.pending.Wait()
	if waiting := p.waiting.Load(); waiting != 0 {
		t.Errorf("%d places are taken by nobody", waiting)
	}
	rcodes := countReplies(t, client, 4*rounds)
	if rcodes[1][wire.RcodeSuccess] != rounds || rcodes[2][wire.RcodeSuccess] < batchSize/4 || rcodes[0][wire.RcodeRefused] < batchSize/4 || rcodes[3][wire.RcodeRefused] < batchSize/4 {
		t.Errorf("got %v", rcodes)
	}
	refused := 0
	for _, of := range rcodes {
		refused += of[wire.RcodeRefused]
	}
	if counted := p.tallies[0].refused.Load(); counted != uint64(refused) {
		t.Errorf("%d are refused, %d are counted", refused, counted)
	}
}

// idleSocket returns a socket of a server that nothing reads, and a client of it.
func idleSocket(t *testing.T, config Config) (*udpSocket, *net.UDPConn) {
	t.Helper()
	p, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	p.Apply(t.Context(), cluster(t, 0))
	conn, err := listenUDP(t.Context(), netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadBuffer(1 << 18)
	s, err := newUDPSocket(p, conn, p.tallies[0])
	if err != nil {
		t.Fatal(err)
	}
	client, err := net.DialUDP("udp", nil, conn.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	client.SetReadBuffer(1 << 20)
	t.Cleanup(func() { p.Close(); conn.Close(); client.Close() })
	return s, client
}

// countReplies reads so many replies and counts their codes, apart for each
// remainder of their IDs by four.
func countReplies(t *testing.T, client *net.UDPConn, replies int) [4]map[int]int {
	t.Helper()
	rcodes := [4]map[int]int{{}, {}, {}, {}}
	for range replies {
		client.SetReadDeadline(time.Now().Add(10 * time.Second))
		reply, err := (&wire.Conn{Conn: client}).ReadMsg()
		if err != nil {
			t.Fatalf("%v after %v", err, rcodes)
		}
		if rcodes[reply.Id%4][reply.Rcode]++; len(reply.Question) != 1 {
			t.Fatalf("no question in %v", reply)
		}
	}
	return rcodes
}
