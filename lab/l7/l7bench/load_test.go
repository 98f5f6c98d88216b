package main

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"
)

// free returns an address that nobody listens at.
func free(t *testing.T) netip.AddrPort {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func address(server *httptest.Server) netip.AddrPort {
	return server.Listener.Addr().(*net.TCPAddr).AddrPort()
}

// worldOf returns a world with a backend, and the two addresses of that.
func worldOf(t *testing.T) (*world, netip.AddrPort, netip.AddrPort) {
	l, err := newLoop()
	if err != nil {
		t.Fatal(err)
	}
	plain, grpc := free(t), free(t)
	if err := serve(l, plain, grpc); err != nil {
		t.Fatal(err)
	}
	return &world{loop: l}, plain, grpc
}

// nothingUsed is the CPU time of a proxy that is no process.
func nothingUsed() (time.Duration, error) { return 0, nil }

// TestRows runs every row through a proxy of the standard library: the load
// understands its answers, and it those of the backend.
func TestRows(t *testing.T) {
	w, plain, grpc := worldOf(t)
	transport := &http.Transport{MaxIdleConnsPerHost: 2 * underWay}
	calls := &http.Transport{Protocols: new(http.Protocols)}
	calls.Protocols.SetUnencryptedHTTP2(true)
	handler := http.NewServeMux()
	for path, to := range map[string]*httputil.ReverseProxy{
		"/":      {Transport: transport, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: plain.String()}) }},
		grpcPath: {Transport: calls, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: grpc.String()}) }},
	} {
		handler.Handle(path, to)
	}
	clear, secure := httptest.NewServer(handler), httptest.NewUnstartedServer(handler)
	secure.EnableHTTP2 = true
	secure.StartTLS()
	t.Cleanup(func() { clear.Close(); secure.Close(); transport.CloseIdleConnections(); calls.CloseIdleConnections() })
	p := &peer{plain: address(clear), tls: address(secure)}
	for _, row := range rows() {
		t.Run(row.name, func(t *testing.T) {
			for _, rate := range []float64{0, 200} {
				task := row.of(p)
				task.used, task.rate, task.length = nothingUsed, rate, 100*time.Millisecond
				do := w.run
				if row.connect {
					do = w.handshakes
				}
				o, err := do(task)
				if err != nil {
					t.Fatal(err)
				}
				// All that was sent is answered, or there is an error.
				if most := rate*o.Elapsed.Seconds() + 1; rate > 0 && !row.connect && float64(o.Answered) > most {
					t.Errorf("%d answers at a rate of %v, want at most %v", o.Answered, rate, most)
				}
			}
		})
	}
}

// TestWrongAnswers shows that no proxy is fast by being wrong.
func TestWrongAnswers(t *testing.T) {
	w, _, _ := worldOf(t)
	long := strings.Repeat("x", small)
	for _, c := range []struct {
		name, want string
		answer     http.HandlerFunc
	}{
		{"an error", "502", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, long[1:], http.StatusBadGateway) }},
		{"a short body", "of 1024", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(long[1:])) }},
		{"a long body", "of 1024", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(long + "x")) }},
		{"no answer", "", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(c.answer)
			server.EnableHTTP2 = true
			server.StartTLS()
			defer server.Close()
			plain := httptest.NewServer(c.answer)
			defer plain.Close()
			for _, row := range rows()[:4] {
				task := row.of(&peer{plain: address(plain), tls: address(server)})
				if row.name == "64k" {
					continue
				}
				task.used, task.length = nothingUsed, 100*time.Millisecond
				_, err := w.run(task)
				if err == nil || !strings.Contains(err.Error()+"", c.want) {
					t.Errorf("%s: %v", row.name, err)
				}
			}
		})
	}
}

// TestHead reads headers of responses as proxies write them, and parts of them.
func TestHead(t *testing.T) {
	const whole = "HTTP/1.1 200 OK\r\ncontent-LENGTH: 12\r\nX: content-length: 9\r\n\r\n"
	for n := range len(whole) {
		if header, _, err := head([]byte(whole[:n])); header != 0 || err != nil {
			t.Fatalf("%q: %d, %v", whole[:n], header, err)
		}
	}
	if header, body, err := head([]byte(whole + "body")); header != len(whole) || body != 12 || err != nil {
		t.Errorf("%d, %d, %v", header, body, err)
	}
	for _, bad := range []string{"HTTP/1.1 503 No\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"} {
		if _, _, err := head([]byte(bad)); err == nil {
			t.Errorf("no error for %q", bad)
		}
	}
}

func TestHistogram(t *testing.T) {
	var h histogram
	for i := range 1000 {
		h.add(time.Duration(i+1) * time.Microsecond)
	}
	if p := h.quantile(0.99); p < 990*time.Microsecond || p > 1060*time.Microsecond {
		t.Errorf("p99 of 1 to 1000 microseconds is %s", p)
	}
}

// TestRefused tells a server without HTTP/2 from one that is broken.
func TestRefused(t *testing.T) {
	w, _, _ := worldOf(t)
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{NextProtos: []string{"http/1.1"}}
	server.StartTLS()
	defer server.Close()
	_, err := w.run(task{address: address(server), protocol: "h2", connections: 1, streams: 1, used: nothingUsed})
	if !errors.Is(err, errRefused) {
		t.Errorf("%v", err)
	}
}
