package server

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
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
	_, at := start(t, Config{IdleTimeout: 200 * time.Millisecond, IOTimeout: 200 * time.Millisecond}, cluster(t, 0))
	half := frame(t, query("web.shop.svc.cluster.local.", wire.TypeA))[:9]
	for name, sent := range map[string][]byte{"nothing": nil, "half a length": {0}, "half a query": half, "too large": {0xff, 0xff, 1}, "length zero": {0, 0}} {
		conn := dial(t, at)
		conn.Write(sent)
		started := time.Now()
		if n, err := io.Copy(io.Discard, conn); n != 0 || time.Since(started) > 3*time.Second {
			t.Errorf("%s: %d bytes, %v after %s", name, n, err, time.Since(started))
		}
	}
}
