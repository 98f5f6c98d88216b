package server

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	wire "github.com/miekg/dns"

	"github.com/fairlead-net/fairlead/internal/dns/server/forward"
)

func frame(t testing.TB, m *wire.Msg) []byte {
	t.Helper()
	packed, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...)
}

func readReply(t testing.TB, conn net.Conn) *wire.Msg {
	t.Helper()
	reply, err := (&wire.Conn{Conn: conn}).ReadMsg()
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

func dial(t testing.TB, at netip.AddrPort) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	return conn
}

// TestPipelining writes many queries at once, half of them for a slow
// upstream, and expects every reply, those of the cluster first.
func TestPipelining(t *testing.T) {
	const queries = 60
	up := upstream(t, func(w wire.ResponseWriter, m *wire.Msg) {
		time.Sleep(100 * time.Millisecond)
		addresses(w, m)
	})
	p, at := start(t, Config{Forward: forward.Config{Upstreams: []netip.AddrPort{up}}}, cluster(t, 0))
	conn := dial(t, at)
	var all bytes.Buffer
	names := map[uint16]string{}
	for i := range queries {
		name := "web.shop.svc.cluster.local."
		if i%2 == 0 {
			name = fmt.Sprintf("n%d.example.com.", i)
		}
		m := query(name, wire.TypeA)
		m.Id = uint16(i)
		names[m.Id] = name
		all.Write(frame(t, m))
	}
	conn.Write(all.Bytes())
	for i := range queries {
		reply := readReply(t, conn)
		name := names[reply.Id]
		if reply.Question[0].Name != name || len(reply.Answer) != 1 {
			t.Fatalf("reply %v, want one for %q", reply, name)
		}
		if inCluster := name == "web.shop.svc.cluster.local."; inCluster != (i < queries/2) {
			t.Errorf("reply %d is for %s: the upstream holds up the cluster", i, name)
		}
		delete(names, reply.Id)
	}
	p.Close()
	if waiting := p.waiting.Load(); waiting != 0 {
		t.Errorf("%d places are taken by nobody", waiting)
	}
}

// TestPipelineLimit expects the server to stop reading, not to fail, when too
// many queries of a connection wait.
func TestPipelineLimit(t *testing.T) {
	up := upstream(t, func(w wire.ResponseWriter, m *wire.Msg) {
		time.Sleep(30 * time.Millisecond)
		addresses(w, m)
	})
	_, at := start(t, Config{MaxPipelined: 2, Forward: forward.Config{Upstreams: []netip.AddrPort{up}}}, cluster(t, 0))
	conn := dial(t, at)
	for i := range 20 {
		m := query(fmt.Sprintf("n%d.example.com.", i), wire.TypeA)
		conn.Write(frame(t, m))
	}
	for range 20 {
		readReply(t, conn)
	}
}

func TestConnectionLimits(t *testing.T) {
	p, at := start(t, Config{MaxClientConnections: 3, MaxConnections: 4}, cluster(t, 0))
	works := func(conn net.Conn) bool {
		conn.Write(frame(t, query("web.shop.svc.cluster.local.", wire.TypeA)))
		_, err := (&wire.Conn{Conn: conn}).ReadMsg()
		return err == nil
	}
	var open []net.Conn
	for range 3 {
		conn := dial(t, at)
		if open = append(open, conn); !works(conn) {
			t.Fatal("a connection within the limits does not work")
		}
	}
	if works(dial(t, at)) {
		t.Error("a connection beyond the limit of a client works")
	}
	other := netip.AddrPortFrom(netip.MustParseAddr("::1"), at.Port())
	if !works(dial(t, other)) || works(dial(t, other)) {
		t.Error("the limit of all connections does not hold")
	}
	if shed := p.tallies[len(p.tallies)-1].shed.Load(); shed != 2 {
		t.Errorf("%d connections shed, want 2", shed)
	}
	open[0].Close()
	for range 100 {
		if works(dial(t, at)) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("a closed connection still counts")
}

// TestSlowClients expects connections that send nothing, a part, or garbage to
// be closed in time.
func TestSlowClients(t *testing.T) {
	p, at := start(t, Config{IdleTimeout: 200 * time.Millisecond, IOTimeout: 200 * time.Millisecond}, cluster(t, 0))
	half := frame(t, query("web.shop.svc.cluster.local.", wire.TypeA))[:9]
	for name, sent := range map[string][]byte{"nothing": nil, "half a length": {0}, "half a query": half, "too large": {0xff, 0xff, 1}, "length zero": {0, 0}} {
		conn := dial(t, at)
		conn.Write(sent)
		started := time.Now()
		if n, err := io.Copy(io.Discard, conn); n != 0 || time.Since(started) > 3*time.Second {
			t.Errorf("%s: %d bytes, %v after %s", name, n, err, time.Since(started))
		}
	}
	if ignored := p.tallies[len(p.tallies)-1].ignored.Load(); ignored != 2 {
		t.Errorf("%d are counted as no queries, want the two of sizes that no query has", ignored)
	}
}

// TestReadDeadline: a server that closes waits for what has arrived only.
func TestReadDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, draining := range []bool{false, true} {
			l, want := new(tcpListener), time.Hour
			if l.draining.Store(draining); draining {
				want = quiet
			}
			near, far := net.Pipe()
			c := &tcpConn{listener: l, conn: near}
			c.asked.Store(true)
			started := time.Now()
			c.deadline(time.Hour)
			if _, err := near.Read(make([]byte, 1)); err == nil || time.Since(started) != want {
				t.Errorf("closing %t: %v after %s", draining, err, time.Since(started))
			}
			near.Close()
			far.Close()
		}
	})
}

// TestClientThatDoesNotRead: its connection ends, instead of keeping what it is owed.
func TestClientThatDoesNotRead(t *testing.T) {
	p, at := start(t, Config{IOTimeout: 100 * time.Millisecond}, cluster(t, 3000))
	conn := dial(t, at)
	question := frame(t, query("big.shop.svc.cluster.local.", wire.TypeA))
	go func() {
		for range 1000 { // 48 kB each
			if _, err := conn.Write(question); err != nil {
				return
			}
		}
	}()
	first := make([]byte, 1)
	if _, err := io.ReadFull(conn, first); err != nil {
		t.Fatal(err)
	}
	l := p.tcp[0]
	for range 500 {
		l.mu.Lock()
		open, clients := len(l.conns), len(l.clients)
		l.mu.Unlock()
		if open+clients == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the connection is still there")
}

// TestCloseWaits: a server that closes answers those who wait for an upstream, and waits
// longer for the first query of a connection than for the next one.
func TestCloseWaits(t *testing.T) {
	asked, release := make(chan struct{}, 2), make(chan struct{})
	let := sync.OnceFunc(func() { close(release) })
	defer let()
	up := upstream(t, func(w wire.ResponseWriter, m *wire.Msg) {
		if m.Question[0].Qtype == wire.TypeA { // and does not look for loops
			asked <- struct{}{}
			<-release
		}
		addresses(w, m)
	})
	p, at := start(t, Config{Sockets: 1, Forward: forward.Config{Upstreams: []netip.AddrPort{up}, Patience: 10 * time.Second, ReadTimeout: 10 * time.Second, Timeout: 10 * time.Second}}, cluster(t, 0))
	used, udp := dial(t, at), dialUDP(t, at)
	dial(t, at)
	used.Write(frame(t, query("tcp.example.com.", wire.TypeA)))
	<-asked
	packed, err := query("udp.example.com.", wire.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	udp.Write(packed)
	<-asked
	patience := func() (waits []time.Duration) {
		p.tcp[0].mu.Lock()
		defer p.tcp[0].mu.Unlock()
		for c := range p.tcp[0].conns {
			waits = append(waits, c.patience())
		}
		slices.Sort(waits)
		return waits
	}
	for range 500 { // until both are accepted
		if len(patience()) == 2 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if got := patience(); !slices.Equal(got, []time.Duration{quiet, firstWait}) {
		t.Errorf("waits for %v", got)
	}
	closed := make(chan struct{})
	go func() { p.Close(); close(closed) }()
	select {
	case <-closed:
		t.Error("closed while queries wait")
	case <-time.After(2 * quiet):
	}
	let()
	expect(t, readReply(t, used), wire.RcodeSuccess, "192.0.2.1")
	reply, err := (&wire.Conn{Conn: udp}).ReadMsg()
	if err != nil {
		t.Fatal(err)
	}
	expect(t, reply, wire.RcodeSuccess, "192.0.2.1")
	<-closed
}

// TestCloseIdle: connections that nothing is asked by do not hold up a server that closes.
func TestCloseIdle(t *testing.T) {
	p, at := start(t, Config{IdleTimeout: time.Hour}, cluster(t, 0))
	conn := dial(t, at)
	conn.Write(frame(t, query("web.shop.svc.cluster.local.", wire.TypeA)))
	expect(t, readReply(t, conn), wire.RcodeSuccess, "10.96.0.1")
	closed := make(chan struct{})
	go func() { p.Close(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(20 * time.Second):
		t.Error("it waits for a connection that is idle")
		conn.Close()
		<-closed
	}
}

func dialUDP(t testing.TB, at netip.AddrPort) net.Conn {
	t.Helper()
	conn, err := net.Dial("udp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	return conn
}
