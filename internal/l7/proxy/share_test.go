package proxy

import (
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestPortions holds that one who takes all he gets leaves as much again, and that what is
// given back can be taken.
func TestPortions(t *testing.T) {
	p := newPortions[string](99)
	takeAll := func(who string) (n int) {
		for p.take(who) {
			n++
		}
		return n
	}
	if got := takeAll("a"); got != 50 {
		t.Errorf("the first gets %d", got)
	}
	for i := range 200 {
		who := fmt.Sprint(i)
		if p.take(who) != (i < 49) {
			t.Errorf("%d: %d are taken", i, p.taken)
		}
	}
	for range 50 {
		p.give("a")
	}
	for i := range 49 {
		p.give(fmt.Sprint(i))
	}
	if got := takeAll("b"); got != 50 || len(p.of) != 1 {
		t.Errorf("later %d, of %d", got, len(p.of))
	}
}

// dialFrom connects from an address of loopback.
func dialFrom(t *testing.T, p *Proxy, from string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.Dial("tcp", p.Addresses("web")[0].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}

// served reports whether a request on a connection is answered, after something that comes
// first.
func served(conn net.Conn, first string) bool {
	io.WriteString(conn, first+"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	b := make([]byte, 12)
	_, err := io.ReadFull(conn, b)
	return err == nil && string(b) == "HTTP/1.1 200"
}

// TestOneClientsConnections holds how many connections one client has, that others then
// still have theirs, and that who brings others is not bounded.
func TestOneClientsConnections(t *testing.T) {
	up := serveHTTP(t, func(http.ResponseWriter, *http.Request) {})
	for name, c := range map[string]struct {
		config Config
		first  string
		want   int
	}{
		"free":      {Config{MaxConnections: 20}, "", 10},
		"bounded":   {Config{MaxConnections: 20, MaxClientConnections: 3}, "", 3},
		"all":       {Config{MaxConnections: 20, MaxClientConnections: 20}, "", 20},
		"trusted":   {Config{MaxConnections: 20, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}}, "", 20},
		"announced": {Config{MaxConnections: 20, ProxyProtocol: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/31")}}, "PROXY TCP6 2001:db8::%x 2001:db8::1 12345 443\r\n", 10},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, c.config, tableFor(up), toBackend())
			first := func(i int) string {
				if c.first == "" {
					return ""
				}
				return fmt.Sprintf(c.first, i+2) // another address of the same 64 bits
			}
			got := 0
			var conns []net.Conn
			for i := range 25 {
				conn := dialFrom(t, p, "127.0.0.2")
				if served(conn, first(i)) {
					got++
					conns = append(conns, conn)
				}
			}
			if got != c.want {
				t.Errorf("%d are served, want %d", got, c.want)
			}
			if shed := p.tally.shed.Load(); shed != uint64(25-c.want) {
				t.Errorf("%d are counted as shed", shed)
			}
			another := strings.Replace(first(7), "db8::9 ", "db8:1::9 ", 1)
			if c.want < 20 && !served(dialFrom(t, p, "127.0.0.3"), another) {
				t.Error("another client is not served")
			}
			for _, conn := range conns {
				conn.Close()
			}
			until(t, func() bool { return p.connections.Load() <= 1 })
			if !served(dialFrom(t, p, "127.0.0.2"), first(1)) {
				t.Error("the client is not served later")
			}
		})
	}
}

// TestOneClientsStreams holds that the requests of one client over many connections leave
// room for those of others.
func TestOneClientsStreams(t *testing.T) {
	release := make(chan struct{})
	up := serveHTTP(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			<-release
		}
	})
	p := start(t, Config{MaxConnections: 20, MaxStreams: 15}, tableFor(up), toBackend())
	greedy := dialFrames(t, p)
	for i := range 15 {
		greedy.get(uint32(2*i + 1))
	}
	greedy.out.Flush()
	until(t, func() bool { return p.tally.shed.Load() == 5 && p.streams.Load() == 10 })
	other := client2(t)
	other.Transport.(*http.Transport).DialContext = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.3")}}).DialContext
	response, err := other.Get(p.url() + "/other")
	if err != nil || response.StatusCode != 200 {
		t.Error(response, err)
	}
	close(release)
	until(t, func() bool { return p.streams.Load() == 0 })
	greedy.conn.Close()
	other.CloseIdleConnections()
	until(t, func() bool {
		p.guests.prune()
		p.guests.mu.Lock()
		defer p.guests.mu.Unlock()
		return len(p.guests.of) == 0
	})
}

// TestDecisionsApart holds that what is kept of answers is bounded in octets, and that a
// namespace which has much drives out nothing of one that has little.
func TestDecisionsApart(t *testing.T) {
	d := decisions{of: map[string]*decided{}}
	few := &decision{status: 200, until: math.MaxInt64}
	for i := range 100 {
		d.put("few", fmt.Sprint(i), few)
	}
	d.put("many", strings.Repeat("x", maxDecision), few) // too large to be kept
	for i := range 10_000 {
		d.put("many", fmt.Sprint(i)+strings.Repeat("x", 4000), &decision{until: math.MaxInt64})
	}
	for i := range 100 {
		if d.get("few", fmt.Sprint(i), 1) != few {
			t.Fatalf("%d is gone", i)
		}
	}
	sum := 0
	for _, own := range d.of {
		size := 0
		for name, one := range own.known {
			size += sizeOf(name, one)
		}
		if sum += size; size != own.size {
			t.Errorf("%d octets, %d are counted", size, own.size)
		}
	}
	if sum != d.size || sum > maxDecisions || sum < maxDecisions*9/10 {
		t.Errorf("%d octets are kept, %d are counted", sum, d.size)
	}
	d.put("late", "x", &decision{until: 5})
	if d.get("late", "x", 4) == nil || d.get("late", "x", 5) != nil || d.of["late"] != nil {
		t.Error("an answer is used for too short or too long a time")
	}
}
