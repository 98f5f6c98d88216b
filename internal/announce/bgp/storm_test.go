package bgp

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	wire "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/fairlead-net/fairlead/internal/announce"
)

// fake is a router that does what a function does with every connection.
type fake struct{ address netip.AddrPort }

// serve makes one at an address of loopback.
func serve(t testing.TB, a netip.Addr, talk func(net.Conn)) *fake {
	t.Helper()
	l, err := net.Listen("tcp", netip.AddrPortFrom(a, 0).String())
	must(t, err)
	f := &fake{address: netip.MustParseAddrPort(l.Addr().String())}
	var talking sync.WaitGroup
	talking.Go(func() {
		for {
			conn, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			ended := context.AfterFunc(t.Context(), func() { _ = conn.Close() })
			talking.Go(func() {
				talk(conn)
				_ = conn.Close()
				ended()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		talking.Wait()
	})
	return f
}

func (f *fake) peer(name string, change ...func(*announce.Peer)) announce.Peer {
	return peer(name, f.address.Addr(), 64513, append(change, func(p *announce.Peer) { p.Port = f.address.Port() })...)
}

func message(kind byte, body []byte) []byte {
	b := slices.Repeat([]byte{0xff}, 16)
	b = binary.BigEndian.AppendUint16(b, uint16(19+len(body)))
	return append(append(b, kind), body...)
}

// open returns an OPEN message of AS 64513.
func open() []byte {
	body := binary.BigEndian.AppendUint16([]byte{4}, 64513)
	body = binary.BigEndian.AppendUint16(body, 90)
	return message(wire.BGP_MSG_OPEN, append(body, 192, 0, 2, 200, 0))
}

func keepalive() []byte { return message(wire.BGP_MSG_KEEPALIVE, nil) }

// handshake brings a session up.
func handshake(conn net.Conn) {
	_, _ = conn.Write(slices.Concat(open(), keepalive()))
	for range 2 { // OPEN and KEEPALIVE
		if _, err := readMessage(conn); err != nil {
			return
		}
	}
}

// crowded returns UPDATEs with more routes than a router may send.
func crowded() []byte {
	attributes := []byte{0x40, 1, 1, 0, 0x40, 2, 4, 2, 1, 0xfc, 0x01, 0x40, 3, 4, 192, 0, 2, 200}
	var all []byte
	for first := 0; first <= maxPrefixes; first += 900 {
		body := binary.BigEndian.AppendUint16([]byte{0, 0}, uint16(len(attributes)))
		body = append(body, attributes...)
		for n := first; n < first+900; n++ {
			body = append(body, 24, byte(20+n>>16), byte(n>>8), byte(n))
		}
		all = append(all, message(wire.BGP_MSG_UPDATE, body)...)
	}
	return all
}

// steady is how long a session must hold at least, and BFD with it.
const steady = 10 * time.Second

// storm are the ways of routers that do what they should not, and what the status of
// each says.
func storm() map[string]struct {
	talk func(net.Conn)
	says string
} {
	// listens until the node has had enough.
	listen := func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }
	first := func(b []byte) func(net.Conn) {
		return func(conn net.Conn) {
			_, _ = conn.Write(b)
			listen(conn)
		}
	}
	then := func(b []byte) func(net.Conn) {
		return func(conn net.Conn) {
			handshake(conn)
			first(b)(conn)
		}
	}
	update := func(body ...byte) func(net.Conn) { return then(message(wire.BGP_MSG_UPDATE, body)) }
	shutdown := message(wire.BGP_MSG_NOTIFICATION, append([]byte{6, 2, 22}, "going\x1b[31m down \x00\xff now"...))
	const strange = "the router sent something that is not BGP"
	return map[string]struct {
		talk func(net.Conn)
		says string
	}{
		"flaps":      {handshake, "the router closed the connection without a word"},
		"text":       {first([]byte("HTTP/1.0 400 Bad Request\r\nConnection: close\r\n\r\n")), strange},
		"length":     {first(slices.Concat(slices.Repeat([]byte{0xff}, 16), []byte{0xff, 0xff, 1})), strange},
		"zero":       {first(make([]byte, 5000)), strange},
		"open":       {first(message(wire.BGP_MSG_OPEN, []byte{4, 0xfc, 1, 0, 90, 1, 2, 3, 4, 255, 2, 255, 65, 200})), strange},
		"hold":       {first(message(wire.BGP_MSG_OPEN, []byte{4, 0xfc, 1, 0, 1, 1, 2, 3, 4, 0})), "unacceptable hold time"},
		"update":     {update(0xff, 0xff, 0xff), strange},
		"attributes": {update(0, 0, 0, 9, 0x40, 2, 255, 1, 2, 3, 4, 5, 6), ""},
		"shutdown":   {then(shutdown), `the router closed the session: administrative shutdown, saying "going[31m down  now"`},
		"crowd":      {then(crowded()), "the router sent more than 50000 routes"},
		"mute":       {listen, "the router takes the connection but says nothing"},
	}
}

// TestStorm has routers that do all that they should not, beside one that is as it
// should be and must not notice.
func TestStorm(t *testing.T) {
	r := newRouter(t, 1)
	r.frr(frrConfig(r, 64513, 64512, r.frrBFD(100*time.Millisecond, 30)...))
	peers := []announce.Peer{peer("good", r.own4, 64513, byBFD(100*time.Millisecond, 30))}
	fakes := storm()
	last := byte(1)
	for name, f := range fakes {
		last++
		peers = append(peers, serve(t, netip.AddrFrom4([4]byte{127, 0, 0, last}), f.talk).peer(name))
	}
	p := plane(t)
	apply(t, p, table(peers, route("192.0.2.1/32", "")))
	withBFD(t, p, "good")
	up := time.Now()
	r.has("192.0.2.1/32")
	for name, f := range fakes {
		says(t, p, name, f.says)
	}
	await(t, "the one that flaps is tried less often", func() bool { return !status(t, p, "flaps").Retry.IsZero() })
	if s := status(t, p, "flaps"); s.Losses < 2 {
		t.Errorf("got %+v", s)
	}
	if wait := time.Until(status(t, p, "crowd").Retry); wait < crowdHold/2 {
		t.Errorf("the one that sends too much is tried again in %s", wait)
	}
	apply(t, p, table(peers, route("192.0.2.2/32", "")))
	r.has("192.0.2.2/32")
	time.Sleep(time.Until(up.Add(steady)))
	if s := status(t, p, "good"); s.Losses != 0 || !s.Established() || s.BFD.Counters.Ups != 1 || s.BFD.Counters.Downs != 0 {
		t.Errorf("the good router noticed: %+v, BFD %+v", s, s.BFD)
	}
	for _, line := range p.Describe() {
		t.Log(line)
	}
}

// TestRouterIDChange: another router ID makes all sessions anew, in one go.
func TestRouterIDChange(t *testing.T) {
	seen := make(chan netip.Addr, 100)
	f := serve(t, netip.AddrFrom4([4]byte{127, 0, 2, 1}), func(conn net.Conn) {
		_, _ = conn.Write(slices.Concat(open(), keepalive()))
		m, err := readMessage(conn)
		if err != nil {
			return
		}
		seen <- m.Body.(*wire.BGPOpen).ID
		_, _ = io.Copy(io.Discard, conn)
	})
	p := plane(t)
	for _, id := range []string{"10.99.0.1", "1.2.3.4", "10.99.0.1"} {
		want := table([]announce.Peer{f.peer("a")}, route("192.0.2.1/32", ""))
		if id != "10.99.0.1" {
			want.Peers[0].RouterID = netip.MustParseAddr(id)
		}
		apply(t, p, want)
		select {
		case got := <-seen:
			if got.String() != id {
				t.Fatalf("the router ID is %s, want %s", got, id)
			}
		case <-time.After(late):
			t.Fatalf("the router was not told the router ID %s", id)
		}
		established(t, p, "a")
	}
	if s := status(t, p, "a"); s.Counters.OpensSent != 3 || s.Counters.KeepalivesReceived < 3 {
		t.Errorf("the counters do not go on: %+v", s.Counters)
	}
}
