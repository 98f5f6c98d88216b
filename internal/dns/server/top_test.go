package server

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	wire "github.com/miekg/dns"

	"github.com/fairlead-net/fairlead/internal/dns/server/forward"
)

// counting returns a server without sockets that counts names, and a function that
// has it answer a question and note the reply.
func counting(t testing.TB) (*Plane, func(name string, qtype uint16, times int, now time.Time)) {
	t.Helper()
	p, err := New(Config{CountNames: true})
	if err != nil {
		t.Fatal(err)
	}
	p.Apply(t.Context(), cluster(t, 0))
	h := newHot(p, p.tallies[0])
	return p, func(name string, qtype uint16, times int, now time.Time) {
		packed, err := query(name, qtype).Pack()
		if err != nil {
			t.Fatal(err)
		}
		reply, ok := h.answer(packed, nil, overUDP, nobody)
		if !ok {
			reply, _ = p.handle(packed, p.tallies[0], overUDP, nobody)
		}
		p.top.note(reply, times, now)
	}
}

// TestTop tells names that are asked, that fail, and that search paths make.
func TestTop(t *testing.T) {
	p, note := counting(t)
	now := time.Now()
	note("Web.Shop.svc.cluster.local.", wire.TypeA, 6, now)
	note("web.shop.svc.cluster.LOCAL.", wire.TypeA, 4, now)
	note("web.shop.svc.cluster.local.", wire.TypeAAAA, 5, now)
	note("wbe.shop.svc.cluster.local.", wire.TypeA, 3, now)
	note("www.example.com.shop.svc.cluster.local.", wire.TypeA, 2, now)
	note("www.example.com.svc.cluster.local.", wire.TypeA, 1, now)
	note("www.example.com.", wire.TypeHTTPS, 1, now) // refused: there is nobody to ask
	want := Top{
		Queries: 22, Failed: 4, Searched: 3,
		Names: []TopName{
			{Name: "web.shop.svc.cluster.local.", Type: "A", Rcode: "NOERROR", Queries: 10},
			{Name: "web.shop.svc.cluster.local.", Type: "AAAA", Rcode: "NOERROR", Queries: 5},
			{Name: "wbe.shop.svc.cluster.local.", Type: "A", Rcode: "NXDOMAIN", Queries: 3},
			{Name: "www.example.com.shop.svc.cluster.local.", Type: "A", Rcode: "NXDOMAIN", Searched: true, Queries: 2},
			{Name: "www.example.com.", Type: "HTTPS", Rcode: "REFUSED", Queries: 1},
			{Name: "www.example.com.svc.cluster.local.", Type: "A", Rcode: "NXDOMAIN", Searched: true, Queries: 1},
		},
		Searches: []TopSearch{
			{Name: "www.example.com", Namespace: "shop", Queries: 2},
			{Name: "www.example.com", Queries: 1},
		},
	}
	got := p.Top()
	want.Since = got.Since
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestTopWindow expects what was asked to be forgotten in ten minutes, not in five.
func TestTopWindow(t *testing.T) {
	p, note := counting(t)
	start := p.top.now.since
	note("web.shop.svc.cluster.local.", wire.TypeA, 1, start)
	note("web.shop.svc.cluster.local.", wire.TypeA, 1, start.Add(topWindow))
	if got := p.Top(); got.Queries != 2 || got.Names[0].Queries != 2 || !got.Since.Equal(start) {
		t.Errorf("after one window %+v", got)
	}
	note("web.shop.svc.cluster.local.", wire.TypeA, 1, start.Add(2*topWindow))
	if got := p.Top(); got.Queries != 2 || got.Names[0].Queries != 2 || !got.Since.Equal(start.Add(topWindow)) {
		t.Errorf("after two windows %+v", got)
	}
	note("web.shop.svc.cluster.local.", wire.TypeA, 1, start.Add(5*topWindow))
	if got := p.Top(); got.Queries != 1 || got.Names[0].Queries != 1 {
		t.Errorf("after a pause %+v", got)
	}
}

// TestTopServes asks a running server over UDP and TCP, for its own names and for
// others', and expects all queries to be counted.
func TestTopServes(t *testing.T) {
	up := upstream(t, addresses)
	p, at := start(t, Config{CountNames: true, Forward: forward.Config{Upstreams: []netip.AddrPort{up}}}, cluster(t, 0))
	for i := range 20 {
		network := []string{"udp", "tcp"}[i%2]
		ask(t, network, at, query("web.shop.svc.cluster.local.", wire.TypeA))
		ask(t, network, at, query(fmt.Sprintf("n%d.example.org.", i), wire.TypeA))
	}
	recorder := httptest.NewRecorder()
	deadline := time.Now().Add(10 * time.Second)
	var got Top
	for got.Queries < 40 && time.Now().Before(deadline) {
		// Replies are sent before they are counted.
		time.Sleep(time.Millisecond)
		recorder = httptest.NewRecorder()
		p.TopHandler().ServeHTTP(recorder, httptest.NewRequest("GET", "/dns/top", nil))
		got = Top{}
		if err := json.Unmarshal(recorder.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
	}
	named := uint64(p.top.missed.Load())
	for _, n := range got.Names {
		named += n.Queries
	}
	if got.Queries != 40 || named != 40 || len(got.Names) > 21 || got.Names[0].Name != "web.shop.svc.cluster.local." {
		t.Errorf("%s", recorder.Body)
	}
	off, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	recorder = httptest.NewRecorder()
	off.TopHandler().ServeHTTP(recorder, httptest.NewRequest("GET", "/dns/top", nil))
	if recorder.Code != 404 || off.Top().Queries != 0 {
		t.Errorf("off: %d %s", recorder.Code, recorder.Body)
	}
}

// TestTopBusy expects a reply to stand for those that came while another was noted.
func TestTopBusy(t *testing.T) {
	p, note := counting(t)
	p.top.mu.Lock()
	note("web.shop.svc.cluster.local.", wire.TypeA, 3, time.Now())
	p.top.mu.Unlock()
	if got := p.Top(); got.Queries != 3 || len(got.Names) != 0 {
		t.Errorf("%+v", got)
	}
	note("web.shop.svc.cluster.local.", wire.TypeA, 1, time.Now())
	if got := p.Top(); got.Queries != 4 || got.Names[0].Queries != 4 {
		t.Errorf("%+v", got)
	}
}

// TestTopBatch expects one reply to stand for all of a batch.
func TestTopBatch(t *testing.T) {
	s, client := idleSocket(t, Config{CountNames: true})
	packed, err := query("web.shop.svc.cluster.local.", wire.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	for range batchSize {
		client.Write(packed)
	}
	s.in.want = batchSize
	if err := s.raw.Read(s.in.receive); err != nil || s.in.got != batchSize {
		t.Fatalf("%d packets, %v", s.in.got, err)
	}
	s.answer(time.Now())
	s.plane.top.note(s.sampled, s.in.got, time.Now())
	if got := s.plane.Top(); got.Queries != batchSize || len(got.Names) != 1 || got.Names[0].Queries != batchSize {
		t.Errorf("%+v", got)
	}
}

// TestTopAllocates expects noting not to, whether names are known or not.
func TestTopAllocates(t *testing.T) {
	p, err := New(Config{CountNames: true})
	if err != nil {
		t.Fatal(err)
	}
	p.Apply(t.Context(), cluster(t, 0))
	replies := [][]byte{}
	for i := range 2000 {
		reply := respond(query(fmt.Sprintf("n%d.example.com.shop.svc.cluster.local.", i), wire.TypeA), wire.RcodeNameError)
		packed, err := reply.Pack()
		if err != nil {
			t.Fatal(err)
		}
		replies = append(replies, packed)
	}
	now, i := time.Now(), 0
	if n := testing.AllocsPerRun(len(replies), func() {
		p.top.note(replies[i%len(replies)], 1, now)
		i++
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkTop measures what noting costs once for each batch of up to 32 packets.
func BenchmarkTop(b *testing.B) {
	p, err := New(Config{CountNames: true})
	if err != nil {
		b.Fatal(err)
	}
	p.Apply(b.Context(), cluster(b, 0))
	for name, many := range map[string]int{"known": 300, "searched": 20_000} {
		replies := [][]byte{}
		for i := range many {
			packed, err := respond(query(fmt.Sprintf("n%d.example.com.shop.svc.cluster.local.", i), wire.TypeA), wire.RcodeNameError).Pack()
			if err != nil {
				b.Fatal(err)
			}
			replies = append(replies, packed)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			now, i := time.Now(), 0
			for b.Loop() {
				p.top.note(replies[i%many], 32, now)
				i++
			}
		})
	}
}

// FuzzTop expects no reply, whatever its bytes, to be more than counted.
func FuzzTop(f *testing.F) {
	for _, packed := range benchmarkQueries(f) {
		f.Add(packed)
	}
	p, err := New(Config{CountNames: true})
	if err != nil {
		f.Fatal(err)
	}
	p.Apply(f.Context(), cluster(f, 0))
	f.Fuzz(func(t *testing.T, reply []byte) {
		before := p.Top().Queries
		p.top.note(reply, 1, time.Now())
		if after := p.Top(); after.Queries > before+1 || len(after.Names) > 2*topNames || len(after.Searches) > 2*topSearches {
			t.Errorf("%d queries before, %+v after", before, after)
		}
	})
}
