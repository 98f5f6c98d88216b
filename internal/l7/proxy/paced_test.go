package proxy

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// slowly is a Route whose answers take an hour and more.
func slowly(protocol l7.UpstreamProtocol) router {
	route := *toBackend()(nil)
	route.Filters, route.Upstream.Protocol = &filter.Filters{Limits: &filter.Limits{Rate: 1}}, protocol
	return to(&route)
}

// leaving returns a client of HTTP/1.1 that takes the beginning of an answer and goes away.
func leaving(t *testing.T, dial func(string) (net.Conn, error)) func(*Proxy) {
	return func(p *Proxy) {
		conn, err := dial(p.Addresses("web")[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if n, err := io.ReadFull(conn, make([]byte, 300)); err != nil {
			t.Errorf("%d octets, error %v", n, err)
		}
	}
}

// TestPacedClientLeaves holds that an endpoint is let go of as soon as the client of an
// answer goes away that has to come slowly, not when the next part of it is due.
func TestPacedClientLeaves(t *testing.T) {
	freed := make(chan bool, 1)
	handler := func(w http.ResponseWriter, r *http.Request) {
		w.Write(make([]byte, 64<<10))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		freed <- true
	}
	one, two := serveHTTP(t, handler), serveHTTP2(t, handler)
	through := func(c *http.Client, scheme string) func(*Proxy) {
		return func(p *Proxy) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			request, _ := http.NewRequestWithContext(ctx, "GET", scheme+p.Addresses("web")[0].String(), nil)
			response, err := c.Do(request)
			if err == nil {
				_, err = io.ReadFull(response.Body, make([]byte, 300))
			}
			if err != nil {
				t.Error(err)
			}
		}
	}
	plain := leaving(t, func(a string) (net.Conn, error) { return net.Dial("tcp", a) })
	secure := leaving(t, func(a string) (net.Conn, error) { return tls.Dial("tcp", a, &tls.Config{InsecureSkipVerify: true}) })
	for name, c := range map[string]struct {
		tls      bool
		up       netip.AddrPort
		protocol l7.UpstreamProtocol
		leave    func(*Proxy)
	}{
		"HTTP/1.1": {false, one, 0, plain}, "HTTP/1.1 to HTTP/2": {false, two, l7.UpstreamGRPC, plain}, "TLS": {true, one, 0, secure},
		"HTTP/2": {false, one, 0, through(client2(t), "http://")}, "HTTP/2 to HTTP/2": {false, two, l7.UpstreamGRPC, through(client2(t), "http://")},
		"HTTP/3": {true, one, 0, through(client3(t), "https://")},
	} {
		var p *Proxy
		if c.tls {
			p = startTLSRouted(t, Config{HTTP3: true}, c.up, slowly(c.protocol))
		} else {
			p = start(t, Config{}, tableFor(c.up), slowly(c.protocol))
		}
		c.leave(p)
		select {
		case <-freed:
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: the endpoint still answers", name)
		}
	}
}

// TestPacedHalfClosed holds that a client which has only said that it sends no more gets
// its answers whole.
func TestPacedHalfClosed(t *testing.T) {
	body := strings.Repeat("0123456789abcdef", 1<<11) // 32 KB
	up := serveHTTP(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) })
	limits := &filter.Limits{Rate: 256 << 10}
	p := startFiltered(t, Config{}, up, l7.Route{Filters: &filter.Filters{Limits: limits}}, nil)
	begin := time.Now()
	got := talk(t, p, strings.Repeat("GET / HTTP/1.0\r\nConnection: keep-alive\r\nHost: x\r\n\r\n", 2))
	if took := time.Since(begin); !strings.Contains(got, "\r\n\r\n"+body) || took < 50*time.Millisecond {
		t.Errorf("%d octets in %v", len(got), took)
	}
}
