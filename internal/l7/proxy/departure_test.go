package proxy

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7"
)

// crowded is a backend which has as much under way as it may: one request, until release is
// closed; another five may wait.
func crowded(t *testing.T) (table l7.Table, begin func(*Proxy), release chan bool) {
	up, come, release := detained(t)
	t.Cleanup(func() { close(release) })
	table = balanced(func(by *l7.Balance) { by.Limits = l7.Limits{Requests: 1, Pending: 5} }, up)
	return table, func(p *Proxy) {
		go askOnce(p)
		<-come
	}, release
}

// askOnce asks and waits for the answer, over a connection of its own.
func askOnce(p *Proxy) {
	scheme := "http://"
	if p.listeners["web"].tls != nil {
		scheme = "https://"
	}
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	if r, err := c.Get(scheme + p.Addresses("web")[0].String()); err == nil {
		r.Body.Close()
	}
}

// waitsInLine says how many wait for the one backend.
func waitsInLine(t *testing.T, p *Proxy, n int64) {
	t.Helper()
	until(t, func() bool { return backendOf(p).shared.waiting.Load() == n })
}

// sends begins a request of HTTP/1.1, and returns how its client goes.
func sends(t *testing.T, request string, leave func(net.Conn)) func(*Proxy) func() {
	return func(p *Proxy) func() {
		conn := net.Conn(dialWeb(t, p))
		if p.listeners["web"].tls != nil {
			conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		}
		io.WriteString(conn, request)
		return func() { leave(conn) }
	}
}

// gives begins a request that is given up.
func gives(t *testing.T, c *http.Client, scheme string) func(*Proxy) func() {
	return func(p *Proxy) func() {
		ctx, cancel := context.WithCancel(t.Context())
		r, _ := http.NewRequestWithContext(ctx, "GET", scheme+p.Addresses("web")[0].String(), nil)
		go func() {
			if response, err := c.Do(r); err == nil {
				t.Errorf("status %d", response.StatusCode)
			}
		}()
		return cancel
	}
}

// TestWaitingClientLeaves holds that a request which waits for others to end gives up its
// place as soon as its client goes away, whatever it speaks and however it goes.
func TestWaitingClientLeaves(t *testing.T) {
	const request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	closes := func(c net.Conn) { c.Close() }
	resets := func(c net.Conn) {
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
	for name, c := range map[string]struct {
		tls    bool
		begins func(*Proxy) (leave func())
	}{
		"closes": {false, sends(t, request, closes)}, "resets": {false, sends(t, request, resets)},
		"HTTP/1.0 resets": {false, sends(t, "GET / HTTP/1.0\r\n\r\n", resets)},
		"with a body":     {false, sends(t, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab", closes)},
		"TLS":             {true, sends(t, request, closes)},
		"HTTP/2":          {false, gives(t, client2(t), "http://")}, "HTTP/3": {true, gives(t, client3(t), "https://")},
	} {
		table, begin, release := crowded(t)
		log := new(lines)
		config := Config{ConnectTimeout: time.Hour, DrainTimeout: time.Second, AccessLog: &AccessLog{Output: log}, HTTP3: true}
		var p *Proxy
		if c.tls {
			up, _ := table.Backends.Get(backendID)
			p = startTLSRouted(t, config, up.Endpoints[0].Address, toBackend())
			table.Listeners = p.state.Load().table.Listeners
			if err := p.Apply(context.Background(), table); err != nil {
				t.Fatal(err)
			}
		} else {
			p = start(t, config, table, toBackend())
		}
		begin(p)
		leave := c.begins(p)
		waitsInLine(t, p, 1)
		leave()
		waitsInLine(t, p, 0)
		if line := log.take(t, 1)[0]; !strings.Contains(line, `"status":499`) {
			t.Errorf("%s: %s", name, line)
		}
		if n := backendOf(p).meter.refused[boundWait].Load(); n != 0 {
			t.Errorf("%s: %d are counted as refused", name, n)
		}
		release <- true
		until(t, func() bool { return backendOf(p).shared.counts.Load() == 0 })
	}
}

// TestWaitingHalfClosed holds that a client which has only said that it sends no more gets
// its answer when its turn comes.
func TestWaitingHalfClosed(t *testing.T) {
	for version, asked := range map[string]string{"1.0": "", "1.1": "HTTP/1.1 100 Continue\r\n\r\n"} {
		table, begin, release := crowded(t)
		p := start(t, Config{ConnectTimeout: time.Hour, DrainTimeout: time.Second}, table, toBackend())
		begin(p)
		conn := dialWeb(t, p)
		io.WriteString(conn, "GET / HTTP/"+version+"\r\nHost: x\r\nConnection: close\r\n\r\n")
		conn.CloseWrite()
		waitsInLine(t, p, 1)
		got := make([]byte, len(asked))
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != asked {
			t.Errorf("%s: asked %q, error %v", version, got, err)
		}
		release <- true
		release <- true
		rest, err := io.ReadAll(conn)
		if s := string(rest); !strings.HasPrefix(s, "HTTP/1.1 200 OK\r\n") || !strings.HasSuffix(s, "ok") {
			t.Errorf("%s: %q, error %v", version, s, err)
		}
	}
}

// TestWaitingStreamLeaves holds the same of connections that are passed on.
func TestWaitingStreamLeaves(t *testing.T) {
	for _, protocol := range []l7.Protocol{l7.TCP, l7.HTTPS} {
		table := streamTable(protocol, anyStream(streamTo("")))
		table.Backends = balanced(func(by *l7.Balance) { by.Limits = l7.Limits{Connections: 1, Pending: 5} }, serveRaw(t, echo)).Backends
		p := start(t, Config{ConnectTimeout: time.Hour, DrainTimeout: time.Second}, table, toBackend())
		hello := func() *net.TCPConn {
			conn := dialWeb(t, p)
			if protocol == l7.TCP {
				io.WriteString(conn, "hi")
			} else {
				go tls.Client(conn, &tls.Config{ServerName: "a.example"}).Handshake()
			}
			return conn
		}
		hello()
		until(t, func() bool { return backendOf(p).shared.counts.Load() != 0 })
		second := hello()
		waitsInLine(t, p, 1)
		if protocol == l7.TCP {
			second.SetLinger(0)
		}
		second.Close()
		waitsInLine(t, p, 0)
		counters(t, p, "stream_connections_total 499  / Ingress shop/raw", 1)
	}
}
