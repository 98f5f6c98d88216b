package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7"
)

func streamTo(host string) *l7.Stream {
	return &l7.Stream{
		Source: desired.Ref{Kind: "Ingress", Namespace: "shop", Name: "raw"}, Rule: "/", Host: host,
		Backends: []l7.Weighted{{Backend: backendID, Weight: 1}},
	}
}

// streamTable has a listener where nothing but these Streams is served.
func streamTable(protocol l7.Protocol, streams map[string]*l7.Stream, to ...netip.AddrPort) l7.Table {
	table := tableFor(to...)
	table.Listeners["web"] = &l7.Listener{Name: "web", Protocol: protocol, Routes: new(l7.Routes), Streams: l7.NewStreams(streams)}
	return table
}

// anyStream is to everything.
func anyStream(s *l7.Stream) map[string]*l7.Stream { return map[string]*l7.Stream{"": s} }

func dialWeb(t testing.TB, p *Proxy) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addresses("web")[0].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn.(*net.TCPConn)
}

// TestPassthrough holds that TLS for a name with a Stream is ended by the endpoint, that
// for others by the proxy, and that what is ended here serves no host that is not.
func TestPassthrough(t *testing.T) {
	raw, _ := serveTLS(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "endpoint "+r.Host) }, nil)
	source := httptest.NewTLSServer(nil)
	defer source.Close()
	id := l7.CertificateID{Name: "cert"}
	table := streamTable(l7.HTTPS, map[string]*l7.Stream{"raw.example": streamTo("raw.example"), "*.wild.example": streamTo("*.wild.example")}, raw)
	l := table.Listeners["web"]
	l.Certificates = l.Certificates.Set("", id)
	p := start(t, Config{}, table, func(*l7.Request) *l7.Route { return nil })
	p.SetCertificates(Certificates{id: &source.TLS.Certificates[0]})
	get := func(sni, host string, version uint16) string {
		transport := &http.Transport{DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
			return tls.Dial("tcp", p.Addresses("web")[0].String(), &tls.Config{ServerName: sni, InsecureSkipVerify: true, MaxVersion: version})
		}}
		defer transport.CloseIdleConnections()
		response, err := (&http.Client{Transport: transport}).Get("https://" + host + "/")
		if err != nil {
			return err.Error()
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		return response.Status + " " + strings.TrimSpace(string(body))
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, c := range [][3]string{
			{"raw.example", "raw.example", "200 OK endpoint raw.example"},
			{"RAW.example", "other.example", "200 OK endpoint other.example"},
			{"a.wild.example", "a.wild.example", "200 OK endpoint a.wild.example"},
			{"a.b.wild.example", "x", "404"}, {"wild.example", "x", "404"}, {"", "x", "404"}, {"other.example", "x", "404"},
			{"other.example", "raw.example", "421"}, {"", "a.wild.example:443", "421"},
		} {
			if got := get(c[0], c[1], version); !strings.HasPrefix(got, c[2]) {
				t.Errorf("SNI %q, host %s: %s, want %s", c[0], c[1], got, c[2])
			}
		}
	}
}

// echo sends back all that comes, and then that nothing follows.
func echo(conn net.Conn) { io.Copy(conn, conn) }

// TestStreamBytes holds that bytes of any amount go both ways at the same time, that each
// direction ends by itself, and that connections are counted and written down.
func TestStreamBytes(t *testing.T) {
	log := new(lines)
	up := serveRaw(t, echo)
	p := start(t, Config{AccessLog: &AccessLog{Output: log}}, streamTable(l7.TCP, anyStream(streamTo("")), up), toBackend())
	total := 0
	for _, size := range []int{0, 1, 1000, bulkSize, bulkSize + 1, 9 << 20} {
		conn := dialWeb(t, p)
		sent := make([]byte, size)
		rand.Read(sent)
		go func() {
			conn.Write(sent)
			conn.CloseWrite()
		}()
		got, err := io.ReadAll(conn)
		if err != nil || !bytes.Equal(got, sent) {
			t.Fatalf("%d bytes of %d, error %v", len(got), size, err)
		}
		total += size
	}
	const of = "  / Ingress shop/raw"
	counted := counters(t, p, "stream_connections_total 200"+of, 6)
	for name, want := range map[string]float64{"stream_connections" + of: 0, "stream_bytes_total in" + of: float64(total), "stream_bytes_total out" + of: float64(total)} {
		if got, ok := counted[name]; !ok || got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	last := log.take(t, 6)[5]
	if !strings.Contains(last, `"protocol":"TCP","status":200,"bytes_in":9437184,"bytes_out":9437184`) || !strings.Contains(last, `"route":"shop/raw","rule":"/","backend":"shop/web:http"`) {
		t.Error(last)
	}
}

// TestStreamTells holds that an endpoint is told who the client is before its first byte.
func TestStreamTells(t *testing.T) {
	for version := range uint8(3) {
		for preamble, want := range map[string]string{
			"": "127.0.0.1", "PROXY TCP4 203.0.113.7 192.0.2.1 12345 443\r\n": "203.0.113.7:12345 192.0.2.1:443",
			"PROXY TCP6 2001:db8::7 2001:db8::1 12345 443\r\n": "[2001:db8::7]:12345 [2001:db8::1]:443",
		} {
			told := make(chan string, 1)
			up := serveRaw(t, func(conn net.Conn) {
				r := bufio.NewReader(conn)
				text := "nobody"
				if version > 0 {
					client, local, err := readPreamble(r)
					if text = client.String() + " " + local.String(); err != nil {
						text = err.Error()
					}
				}
				rest, _ := io.ReadAll(r)
				told <- text + " " + string(rest)
			})
			s := streamTo("")
			s.ProxyProtocol = version
			config := Config{}
			if preamble != "" {
				config.ProxyProtocol = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
			}
			table := streamTable(l7.TCP, anyStream(s), up)
			table.Listeners["web"].Preambles = preamble != ""
			p := start(t, config, table, toBackend())
			conn := dialWeb(t, p)
			io.WriteString(conn, preamble+"hello")
			conn.CloseWrite()
			got := <-told
			switch {
			case version == 0 && got != "nobody hello":
				t.Errorf("%s", got)
			case version > 0 && preamble != "" && got != want+" hello":
				t.Errorf("version %d: %s, want %s", version, got, want)
			case version > 0 && preamble == "" && got != conn.LocalAddr().String()+" "+conn.RemoteAddr().String()+" hello":
				t.Errorf("version %d: %s", version, got)
			}
		}
	}
}

func TestAppendPreamble(t *testing.T) {
	a := netip.MustParseAddrPort
	for _, c := range []struct{ client, local netip.AddrPort }{
		{a("203.0.113.7:12345"), a("192.0.2.1:443")}, {a("[2001:db8::7]:1"), a("[2001:db8::1]:65535")}, {a("[::ffff:203.0.113.7]:1"), a("192.0.2.1:443")},
		{a("203.0.113.7:12345"), a("[2001:db8::1]:443")}, {a("[fe80::1%eth0]:5"), a("[fe80::2%eth0]:6")}, {netip.AddrPort{}, a("192.0.2.1:443")},
	} {
		for version := range uint8(2) {
			b := appendPreamble([]byte("x"), version+1, c.client, c.local)
			client, local, err := readPreamble(bytes.NewReader(b[1:]))
			plain := func(p netip.AddrPort) netip.AddrPort {
				return netip.AddrPortFrom(p.Addr().Unmap().WithZone(""), p.Port())
			}
			if err != nil || len(b) > 1+preambleText || c.client.IsValid() && (client != plain(c.client) || local != plain(c.local)) || !c.client.IsValid() && client.IsValid() {
				t.Errorf("%v to %v, version %d: %q is %v to %v, error %v", c.client, c.local, version+1, b, client, local, err)
			}
		}
	}
}

// TestStreamRefused holds that a connection that is not passed on ends, with an alert
// where TLS was to come.
func TestStreamRefused(t *testing.T) {
	nothing, stop := startRaw(t, echo)
	stop()
	closed := streamTo("")
	closed.Access = &l7.Access{Deny: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	unknown := streamTo("")
	unknown.Backends = []l7.Weighted{{Backend: l7.BackendID{Port: "none"}, Weight: 1}}
	up := serveRaw(t, echo)
	for name, c := range map[string]struct {
		stream *l7.Stream
		to     []netip.AddrPort
		code   string
		alert  string
	}{
		"not let in":    {closed, []netip.AddrPort{up}, "403", "access denied"},
		"no backend":    {unknown, []netip.AddrPort{up}, "503", "internal error"},
		"no endpoint":   {streamTo(""), nil, "503", "internal error"},
		"not reachable": {streamTo(""), []netip.AddrPort{nothing}, "502", "internal error"},
	} {
		p := start(t, Config{}, streamTable(l7.HTTPS, anyStream(c.stream), c.to...), toBackend())
		_, err := tls.Dial("tcp", p.Addresses("web")[0].String(), &tls.Config{ServerName: "a.example"})
		if err == nil || !strings.Contains(err.Error(), c.alert) {
			t.Errorf("%s: error %v, want %s", name, err, c.alert)
		}
		counters(t, p, "stream_connections_total "+c.code+"  / Ingress shop/raw", 1)
	}
}

// TestStreamTries holds that another endpoint is connected to if one cannot be.
func TestStreamTries(t *testing.T) {
	nothing, stop := startRaw(t, echo)
	stop()
	p := start(t, Config{}, streamTable(l7.TCP, anyStream(streamTo("")), nothing, serveRaw(t, echo)), toBackend())
	for range 4 {
		if got := talk(t, p, "hello"); got != "hello" {
			t.Errorf("%q", got)
		}
	}
}

// TestStreamHalfClose holds that the end of one direction is passed on, and the other goes
// on; that a reset is no end.
func TestStreamHalfClose(t *testing.T) {
	ended := make(chan error, 1)
	up := serveRaw(t, func(conn net.Conn) {
		first, err := io.ReadAll(conn)
		if ended <- err; err == nil {
			conn.Write([]byte("got " + string(first)))
		}
	})
	p := start(t, Config{}, streamTable(l7.TCP, anyStream(streamTo("")), up), toBackend())
	if got := talk(t, p, "all"); got != "got all" || <-ended != nil {
		t.Errorf("%q", got)
	}
	conn := dialWeb(t, p)
	io.WriteString(conn, "part")
	conn.SetLinger(0)
	conn.Close()
	if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the endpoint sees %v after a reset", err)
	}
	// The other way around.
	reset := serveRaw(t, func(conn net.Conn) {
		io.WriteString(conn, "part")
		io.ReadFull(conn, make([]byte, 1))
		conn.(*net.TCPConn).SetLinger(0)
	})
	p = start(t, Config{}, streamTable(l7.TCP, anyStream(streamTo("")), reset), toBackend())
	conn = dialWeb(t, p)
	io.ReadFull(conn, make([]byte, 4))
	io.WriteString(conn, "x")
	if _, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client sees %v after a reset", err)
	}
}

// TestStreamIdle holds that a connection on which nothing moves ends, and not before.
func TestStreamIdle(t *testing.T) {
	s := streamTo("")
	s.Idle = time.Second
	p := start(t, Config{HeadTimeout: 100 * time.Millisecond, ReadTimeout: 100 * time.Millisecond}, streamTable(l7.TCP, anyStream(s), serveRaw(t, echo)), toBackend())
	conn := dialWeb(t, p)
	begin := time.Now()
	for range 5 {
		time.Sleep(250 * time.Millisecond)
		io.WriteString(conn, "x")
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Fatalf("after %v: %v", time.Since(begin), err)
		}
	}
	if _, err := io.ReadAll(conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection does not end")
	}
}

// TestStreamLasts holds that connections outlive their Stream, its backend and their
// listener, and that the end of the proxy waits for them, but not for ever.
func TestStreamLasts(t *testing.T) {
	up := serveRaw(t, echo)
	p := start(t, Config{DrainTimeout: time.Second}, streamTable(l7.TCP, anyStream(streamTo("")), up), toBackend())
	conns := []*net.TCPConn{dialWeb(t, p), dialWeb(t, p)}
	says := func(c *net.TCPConn, when string) {
		t.Helper()
		io.WriteString(c, "x")
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	for _, c := range conns {
		says(c, "at first")
	}
	for when, table := range map[string]l7.Table{"without endpoints": streamTable(l7.TCP, anyStream(streamTo(""))), "without streams": streamTable(l7.TCP, nil, up), "without listeners": {}} {
		if err := p.Apply(context.Background(), table); err != nil {
			t.Fatal(err)
		}
		says(conns[0], when)
	}
	var ended atomic.Bool
	done := make(chan struct{})
	go func() {
		p.Close()
		ended.Store(true)
		close(done)
	}()
	time.Sleep(200 * time.Millisecond)
	says(conns[0], "while the proxy ends")
	if ended.Load() {
		t.Error("the proxy does not wait")
	}
	<-done
	for _, c := range conns {
		if _, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("a connection outlives the proxy")
		}
	}
}
