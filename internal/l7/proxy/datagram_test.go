package proxy

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7"
)

var udpID = l7.BackendID{Service: desired.Name{Namespace: "shop", Name: "dns"}, Port: "53", UDP: true}

// tableOfUDP passes on datagrams to endpoints.
func tableOfUDP(at ...netip.AddrPort) l7.Table {
	t := l7.Table{Listeners: map[string]*l7.Listener{"udp": {Name: "udp", Protocol: l7.UDP, Streams: l7.NewStreams(map[string]*l7.Stream{
		"": {Rule: "udp", Backends: []l7.Weighted{{Backend: udpID, Weight: 1}}},
	})}}}
	t.Backends = t.Backends.Set(udpID, &l7.Backend{ID: udpID, Endpoints: endpoints(at...)})
	return t
}

// serveUDP answers each datagram with a name and what it said.
func serveUDP(t *testing.T, name string) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		b := make([]byte, 1<<16)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			conn.WriteTo(append([]byte(name+" "), b[:n]...), from)
		}
	}()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// dialUDP connects to the listener.
func dialUDP(t *testing.T, p *Proxy) *net.UDPConn {
	t.Helper()
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(p.Addresses("udp")[0]))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}

// exchanges sends a text and returns the answer.
func exchanges(t *testing.T, conn *net.UDPConn, text string) string {
	t.Helper()
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1<<16)
	n, err := conn.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

// TestDatagrams holds that clients and endpoints get each other's datagrams, also empty
// and large ones, that a client stays with its endpoint, and leaves one that is gone.
func TestDatagrams(t *testing.T) {
	one, two := serveUDP(t, "one"), serveUDP(t, "two")
	p := start(t, Config{}, tableOfUDP(one), nil)
	conn := dialUDP(t, p)
	for _, text := range []string{"a", "", string(make([]byte, 60_000))} {
		if got := exchanges(t, conn, text); got != "one "+text {
			t.Fatalf("%d bytes came back for %d", len(got), len(text))
		}
	}
	change := func(at ...netip.AddrPort) {
		if err := p.Apply(context.Background(), tableOfUDP(at...)); err != nil {
			t.Fatal(err)
		}
	}
	change(two, one)
	if got := exchanges(t, conn, "b"); got != "one b" {
		t.Errorf("a session with an endpoint that is there goes to %q", got)
	}
	change(two)
	if got := exchanges(t, conn, "c"); got != "two c" {
		t.Errorf("a session whose endpoint is gone goes to %q", got)
	}
	spread := map[string]bool{}
	change(one, two)
	for i := range 40 {
		spread[exchanges(t, dialUDP(t, p), fmt.Sprint(i))[:3]] = true
	}
	if len(spread) != 2 {
		t.Errorf("40 clients are all with %v", spread)
	}
}

// TestDatagramsBounded holds that sessions are bounded, and that the quiet ones make room.
func TestDatagramsBounded(t *testing.T) {
	p := start(t, Config{MaxSessions: 8}, tableOfUDP(serveUDP(t, "one")), nil)
	first := dialUDP(t, p)
	exchanges(t, first, "a")
	for range 30 {
		exchanges(t, dialUDP(t, p), "b")
	}
	if got := exchanges(t, first, "c"); got != "one c" {
		t.Errorf("got %q", got)
	}
	l := p.udp["udp"]
	l.mu.Lock()
	n := len(l.sessions)
	l.mu.Unlock()
	if n < 2 || n > 8 || l.meter.accepted.Load() < 31 {
		t.Errorf("%d sessions at a time, %d in all", n, l.meter.accepted.Load())
	}
}

// TestDatagramsEnd holds that sessions end: those on which nothing moves, sooner those
// with an answer, and all with the proxy.
func TestDatagramsEnd(t *testing.T) {
	p := start(t, Config{StreamTimeout: 5 * time.Minute}, tableOfUDP(serveUDP(t, "one")), nil)
	answered, silent := dialUDP(t, p), dialUDP(t, p)
	exchanges(t, answered, "a")
	exchanges(t, silent, "a")
	l := p.udp["udp"]
	l.mu.Lock()
	for _, s := range l.sessions {
		s.answered.Store(s.key.client.Port() != uint16(silent.LocalAddr().(*net.UDPAddr).Port))
	}
	l.mu.Unlock()
	now := p.clock.now()
	for _, step := range []struct {
		later time.Duration
		left  int
	}{{30 * time.Second, 2}, {2 * time.Minute, 1}, {6 * time.Minute, 0}} {
		if left := l.prune(after(now, step.later)); left != step.left {
			t.Errorf("%v later %d sessions are left, not %d", step.later, left, step.left)
		}
	}
	if got := exchanges(t, answered, "d"); got != "one d" {
		t.Errorf("a client that comes again gets %q", got)
	}
	if err := p.Close(); err != nil || len(l.sessions) > 0 {
		t.Errorf("%v, %d sessions are left", err, len(l.sessions))
	}
}

// TestDatagramsTableChange holds that a listener that is wanted no more closes, and that
// one whose port is taken does not keep the others from being ready.
func TestDatagramsTableChange(t *testing.T) {
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	p := start(t, Config{}, tableFor(), toBackend())
	table := tableFor()
	table.Listeners["udp"] = &l7.Listener{Name: "udp", Protocol: l7.UDP, Port: taken.LocalAddr().(*net.UDPAddr).AddrPort().Port()}
	if err := p.Apply(context.Background(), table); err == nil {
		t.Error("a port that another program has is served")
	}
	if ready, reasons := p.Ready(); !ready {
		t.Error(reasons)
	}
	both := tableOfUDP(serveUDP(t, "one"))
	both.Listeners["web"] = tableFor().Listeners["web"]
	if err := p.Apply(context.Background(), both); err != nil {
		t.Fatal(err)
	}
	exchanges(t, dialUDP(t, p), "a")
	if err := p.Apply(context.Background(), tableFor()); err != nil || len(p.Addresses("udp")) > 0 {
		t.Error("it is served still", err)
	}
}
