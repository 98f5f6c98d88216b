package forward

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	wire "github.com/miekg/dns"
)

// TestLostPacket: what a packet's loss costs is one patience, also where there is one
// upstream only; and one that answers that it has failed is not asked again.
func TestLostPacket(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f, actors := act(t, Config{Patience: 400 * time.Millisecond}, 10*time.Millisecond)
		u := f.all()[0]
		var lost atomic.Bool
		answer := u.ask
		u.ask = func(ctx context.Context, m *wire.Msg) (*wire.Msg, error) {
			if !lost.Swap(true) {
				<-ctx.Done()
				return nil, because(ctx, ctx.Err())
			}
			return answer(ctx, m)
		}
		if got, took := ask(t, f, "a."); got != "192.0.2.1" || took != 410*time.Millisecond {
			t.Errorf("%s after %s", got, took)
		}
		time.Sleep(time.Second)
		actors[0].asked.Store(0)
		actors[0].reply = servfail
		if got, took := ask(t, f, "b."); got != "SERVFAIL" || took != 10*time.Millisecond || actors[0].asked.Load() != 1 {
			t.Errorf("%s after %s, asked %d times", got, took, actors[0].asked.Load())
		}
	})
}

// TestErrorAtOnce: an upstream that cannot be asked costs no time, and its answer, when
// no other is left, heals it.
func TestErrorAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f, actors := act(t, Config{Zones: []Zone{{Name: ".", Policy: Sequential}}}, 0, 10*time.Millisecond)
		refuse := func(*wire.Msg) (*wire.Msg, error) { return nil, errors.New("connection refused") }
		actors[0].reply = refuse
		for _, name := range []string{"a.", "b."} {
			if got, took := ask(t, f, name); got != "192.0.2.2" || took != 10*time.Millisecond {
				t.Errorf("%s after %s", got, took)
			}
		}
		u := f.all()[0]
		if u.healthy() {
			t.Error(u.state())
		}
		actors[0].reply, actors[1].reply = nil, refuse
		ask(t, f, "c.")
		ask(t, f, "d.")
		if got, _ := ask(t, f, "e."); got != "192.0.2.1" || !u.healthy() {
			t.Errorf("%s; %s", got, u.state())
		}
	})
}

// TestTruncatedStays: where TCP fails, what came by UDP is better than nothing. It is not
// kept.
func TestTruncatedStays(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.44:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &wire.Server{PacketConn: conn, Handler: wire.HandlerFunc(func(w wire.ResponseWriter, m *wire.Msg) {
		r := reply(m, 60, "192.0.2.44")
		r.Truncated = true
		w.WriteMsg(r)
	})}
	go server.ActivateAndServe()
	defer server.ShutdownContext(context.Background())
	f := forwarder(t, Config{Upstreams: []netip.AddrPort{conn.LocalAddr().(*net.UDPAddr).AddrPort()}})
	m, err := f.Exchange(t.Context(), a("www.example."))
	if got := address(m, err); got != "192.0.2.44" || !m.Truncated {
		t.Errorf("%s, %v", got, m)
	}
	if m, ok := f.Cached(a("www.example.")); ok {
		t.Errorf("kept: %v", m)
	}
}

// TestCallerLeaves: who stops waiting does so at once, and what was asked for is there
// for the next; a Forwarder that ends still answers those who wait.
func TestCallerLeaves(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f, _ := act(t, Config{}, 100*time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		started := time.Now()
		if _, err := f.Exchange(ctx, a("a.")); !errors.Is(err, context.DeadlineExceeded) || time.Since(started) != 10*time.Millisecond {
			t.Errorf("%v after %s", err, time.Since(started))
		}
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if m, ok := f.Cached(a("a.")); !ok || address(m, nil) != "192.0.2.1" {
			t.Errorf("%v", m)
		}
		time.AfterFunc(50*time.Millisecond, f.stop)
		if got, took := ask(t, f, "b."); got != "192.0.2.1" || took != 100*time.Millisecond {
			t.Errorf("%s after %s", got, took)
		}
	})
}

// TestPanics: a query that breaks something costs that query only.
func TestPanics(t *testing.T) {
	f := forwarder(t, Config{Upstreams: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.45:53")}})
	f.dial = func(context.Context, string, string) (net.Conn, error) { panic("on purpose") }
	if got := address(f.Exchange(t.Context(), a("a."))); !strings.Contains(got, "made the parser panic: on purpose") {
		t.Error(got)
	}
	f.zones[0].upstreams.Store(&[]*upstream{nil})
	if got := address(f.Exchange(t.Context(), a("b."))); !strings.Contains(got, "forwarding panicked") {
		t.Error(got)
	}
	f.zones[0].upstreams.Store(new([]*upstream))
}

// TestStreamIDs: no two queries that wait on a connection have the same ID, however many
// there are.
func TestStreamIDs(t *testing.T) {
	s := &stream{pending: map[uint16]chan<- []byte{}}
	for id := range 1<<16 - 1 {
		s.pending[uint16(id)] = nil
	}
	if id, _, err := s.enter(nil); err != nil || id != 1<<16-1 || len(s.pending) != 1<<16 {
		t.Errorf("ID %d, %v", id, err)
	}
	var ids []int
	for range 100 {
		s.pending = map[uint16]chan<- []byte{}
		id, _, _ := s.enter(nil)
		ids = append(ids, int(id))
	}
	slices.Sort(ids)
	if len(slices.Compact(ids)) < 90 || ids[0] > 1<<13 {
		t.Errorf("IDs are not random: %v", ids)
	}
}
