package proxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// router is what the tests have in place of l7.Routes.Match.
type router func(*l7.Request) *l7.Route

var backendID = l7.BackendID{Service: desired.Name{Namespace: "shop", Name: "web"}, Port: "http"}

// toBackend takes every request to the one backend.
func toBackend() router {
	route := &l7.Route{
		Source: desired.Ref{Kind: "Ingress", Namespace: "shop", Name: "web"}, Rule: "/",
		Backends: []l7.Weighted{{Backend: backendID, Weight: 1}},
	}
	return func(*l7.Request) *l7.Route { return route }
}

func backends(endpoints ...l7.Endpoint) pmap.Map[l7.BackendID, *l7.Backend] {
	var m pmap.Map[l7.BackendID, *l7.Backend]
	return m.Set(backendID, &l7.Backend{ID: backendID, Endpoints: endpoints})
}

func endpoints(addresses ...netip.AddrPort) []l7.Endpoint {
	var list []l7.Endpoint
	for _, a := range addresses {
		list = append(list, l7.Endpoint{Address: a})
	}
	return list
}

func tableFor(addresses ...netip.AddrPort) l7.Table {
	return l7.Table{
		Listeners: map[string]*l7.Listener{"web": {Name: "web", Protocol: l7.HTTP, Routes: new(l7.Routes)}},
		Backends:  backends(endpoints(addresses...)...),
	}
}

// start serves a Table on a port of loopback, and routes by route.
func start(t testing.TB, config Config, table l7.Table, route router) *Proxy {
	t.Helper()
	return startChanged(t, config, table, route, func(*Proxy) {})
}

// startChanged does the same with a proxy that is changed before it starts.
func startChanged(t testing.TB, config Config, table l7.Table, route router, change func(*Proxy)) *Proxy {
	t.Helper()
	config.Address = netip.MustParseAddr("127.0.0.1")
	if config.DrainTimeout == 0 {
		config.DrainTimeout = 5 * time.Second
	}
	p, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	p.match = func(_ *l7.Routes, q *l7.Request) *l7.Route { return route(q) }
	change(p)
	if err := p.Apply(context.Background(), table); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func (p *Proxy) url() string { return "http://" + p.Addresses("web")[0].String() }

// client returns one that keeps connections, as browsers do.
func client(t testing.TB) *http.Client {
	transport := &http.Transport{MaxIdleConnsPerHost: 100, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func addressOf(s *httptest.Server) netip.AddrPort {
	return s.Listener.Addr().(*net.TCPAddr).AddrPort()
}

// serveHTTP runs an upstream of net/http.
func serveHTTP(t testing.TB, handler http.HandlerFunc) netip.AddrPort {
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return addressOf(s)
}

// serveRaw runs an upstream that does what handle does with each connection.
func serveRaw(t testing.TB, handle func(net.Conn)) netip.AddrPort {
	t.Helper()
	address, stop := startRaw(t, handle)
	t.Cleanup(stop)
	return address
}

// startRaw does the same until it is stopped, which waits for what handles
// connections.
func startRaw(t testing.TB, handle func(net.Conn)) (address netip.AddrPort, stop func()) {
	t.Helper()
	return startAccepting(t, func() func(net.Conn) { return handle })
}

// startAccepting asks accept for what handles each connection, one after the other.
func startAccepting(t testing.TB, accept func() func(net.Conn)) (address netip.AddrPort, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			handle := accept()
			wait.Go(func() {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(20 * time.Second))
				handle(conn)
			})
		}
	})
	return l.Addr().(*net.TCPAddr).AddrPort(), func() {
		l.Close()
		wait.Wait()
	}
}

// says is an upstream that reads a header and then says something fixed, to each
// request.
func says(answer string) func(net.Conn) {
	return func(conn net.Conn) {
		r := bufio.NewReader(conn)
		for {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			io.WriteString(conn, answer)
		}
	}
}

// talk sends bytes, and that nothing follows, and returns all that comes back.
func talk(t testing.TB, p *Proxy, send string) string {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addresses("web")[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	go func() {
		io.WriteString(conn, send)
		conn.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection stays open after %q", got)
	}
	return string(got)
}

func TestRequestAndAnswer(t *testing.T) {
	var seen *http.Request
	var body []byte
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		seen = r
		body, _ = io.ReadAll(r.Body)
		w.Header().Set("X-From", "up")
		w.WriteHeader(201)
		io.WriteString(w, "made")
	})
	p := start(t, Config{}, tableFor(up), toBackend())
	for _, send := range []string{"", "small", strings.Repeat("large ", 50000)} {
		request, _ := http.NewRequest("POST", p.url()+"/a%20b/?c=d", strings.NewReader(send))
		request.Host = "shop.example:81"
		request.Header.Set("X-Forwarded-For", "203.0.113.9")
		response, err := client(t).Do(request)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != 201 || string(got) != "made" || response.Header.Get("X-From") != "up" {
			t.Errorf("got %v %q, error %v", response, got, err)
		}
		if string(body) != send || seen.RequestURI != "/a%20b/?c=d" || seen.Host != "shop.example:81" {
			t.Errorf("the upstream got %v with %d bytes", seen, len(body))
		}
		for name, want := range map[string]string{
			"X-Forwarded-For": "127.0.0.1", "X-Real-Ip": "127.0.0.1", "X-Forwarded-Proto": "http",
			"X-Forwarded-Host": "shop.example:81", "X-Forwarded-Port": fmt.Sprint(p.Addresses("web")[0].Port()),
		} {
			if got := seen.Header.Values(name); len(got) != 1 || got[0] != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		if len(seen.Header.Get("X-Request-Id")) != 32 {
			t.Errorf("X-Request-ID: %q", seen.Header.Get("X-Request-Id"))
		}
	}
}

func TestKeepAliveOnBothSides(t *testing.T) {
	connections := map[string]bool{}
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		connections[r.RemoteAddr] = true
		io.WriteString(w, r.URL.Path)
	})
	p := start(t, Config{}, tableFor(up), toBackend())
	c := client(t)
	for i := range 20 {
		response, err := c.Get(fmt.Sprint(p.url(), "/", i))
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if string(got) != fmt.Sprint("/", i) {
			t.Errorf("got %q for %d", got, i)
		}
	}
	if len(connections) != 1 || p.connections.Load() != 1 {
		t.Errorf("%d connections to the upstream, %d of clients, want one each", len(connections), p.connections.Load())
	}
}

func TestPipelined(t *testing.T) {
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s", r.URL.Path, body)
	})
	p := start(t, Config{}, tableFor(up), toBackend())
	got := talk(t, p, strings.Repeat("GET /a HTTP/1.1\r\nHost: x\r\n\r\nPOST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"+
		"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 300))
	r := bufio.NewReader(strings.NewReader(got))
	for i := range 900 {
		response, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(i, err)
		}
		body, _ := io.ReadAll(response.Body)
		if want := []string{"/a ", "/b hi", "/c abc"}[i%3]; string(body) != want {
			t.Fatalf("answer %d is %q, want %q", i, body, want)
		}
	}
	if rest, _ := io.ReadAll(r); len(rest) > 0 {
		t.Errorf("%q follows", rest)
	}
}

func TestLargeAnswers(t *testing.T) {
	large := bytes.Repeat([]byte("0123456789abcdef"), 3<<16)
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/length" {
			w.Header().Set("Content-Length", fmt.Sprint(len(large)))
		}
		w.Write(large)
	})
	p := start(t, Config{}, tableFor(up), toBackend())
	c := client(t)
	for _, path := range []string{"/length", "/chunks", "/length", "/chunks"} {
		response, err := c.Get(p.url() + path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || !bytes.Equal(got, large) || response.ContentLength > 0 != (path == "/length") {
			t.Errorf("%s: %d bytes of %d, length %d, error %v", path, len(got), len(large), response.ContentLength, err)
		}
	}
	// HTTP/1.0 knows no chunks.
	got := talk(t, p, "GET /chunks HTTP/1.0\r\n\r\n")
	if _, body, _ := strings.Cut(got, "\r\n\r\n"); body != string(large) || strings.Contains(got, "chunked") {
		t.Errorf("HTTP/1.0 got %.200q", got)
	}
}

func TestAnswersOfItsOwn(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().(*net.TCPAddr).AddrPort()
	closed.Close()
	table := tableFor(nobody)
	table.Backends = table.Backends.Set(l7.BackendID{Port: "empty"}, &l7.Backend{})
	p := start(t, Config{}, table, func(q *l7.Request) *l7.Route {
		to := func(id l7.BackendID) *l7.Route { return &l7.Route{Backends: []l7.Weighted{{Backend: id, Weight: 1}}} }
		switch q.Path {
		case "/unreachable":
			return to(backendID)
		case "/empty":
			return to(l7.BackendID{Port: "empty"})
		case "/unknown":
			return to(l7.BackendID{Port: "unknown"})
		case "/none":
			return &l7.Route{}
		case "/redirect":
			return &l7.Route{Redirect: &l7.Redirect{Status: 308, Scheme: "https"}}
		}
		return nil
	})
	for path, want := range map[string]int{
		"/unreachable": 502, "/empty": 503, "/unknown": 503, "/none": 503, "/redirect": 308, "/": 404,
		"/a/../%65mpty": 503, "//empty": 503,
	} {
		response, err := client(t).Get(p.url() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		if response.StatusCode != want || bytes.Contains(body, []byte("127.0.0.1")) {
			t.Errorf("%s: %d %q, want %d", path, response.StatusCode, body, want)
		}
		if location := response.Header.Get("Location"); path == "/redirect" && location != "https://127.0.0.1/redirect" {
			t.Errorf("Location: %s", location)
		}
	}
}

// TestHalfClose holds that a client which sends a request together with its last word
// gets the answer and the end of the connection, however the two arrive.
func TestHalfClose(t *testing.T) {
	p := start(t, Config{}, tableFor(serveRaw(t, says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))), toBackend())
	var wait sync.WaitGroup
	for range 50 {
		wait.Go(func() {
			if got := talk(t, p, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasSuffix(got, "ok") {
				t.Errorf("%q", got)
			}
		})
	}
	wait.Wait()
}
