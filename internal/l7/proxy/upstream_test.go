package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// post sends a body of some size and returns the status, or the error.
func post(t *testing.T, p *Proxy, size int) (int, error) {
	t.Helper()
	response, err := client(t).Post(p.url(), "text/plain", strings.NewReader(strings.Repeat("x", size)))
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}

// TestEarlyAnswer holds that a client gets the answer of an upstream that does not
// want the rest of the request, whether it closes or just stops reading.
func TestEarlyAnswer(t *testing.T) {
	for name, after := range map[string]func(net.Conn){
		"closes": func(net.Conn) {},
		"stops":  func(conn net.Conn) { time.Sleep(3 * time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			up := serveRaw(t, func(conn net.Conn) {
				http.ReadRequest(bufio.NewReader(conn))
				io.WriteString(conn, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
				after(conn)
			})
			p := start(t, Config{MaxBody: -1}, tableFor(up), toBackend())
			if status, err := post(t, p, 16<<20); status != 403 && (name != "closes" || status != 502) {
				t.Errorf("status %d, error %v", status, err)
			}
		})
	}
}

// TestBrokenAnswers holds that half an answer never looks like a whole one.
func TestBrokenAnswers(t *testing.T) {
	for name, answer := range map[string]string{
		"length": "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nabc",
		"chunks": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n5\r\nab",
		"large":  "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 999999),
	} {
		up := serveRaw(t, func(conn net.Conn) {
			http.ReadRequest(bufio.NewReader(conn))
			io.WriteString(conn, answer)
		})
		p := start(t, Config{}, tableFor(up), toBackend())
		response, err := client(t).Get(p.url())
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(response.Body); err == nil {
			t.Errorf("%s: %d bytes look like a whole answer", name, len(body))
		}
	}
}

// TestStaleConnections holds that connections which an upstream closes while they are
// idle cost no request, not even one that must not be repeated.
func TestStaleConnections(t *testing.T) {
	var requests atomic.Int64
	closed := make(chan bool, 1)
	up := serveRaw(t, func(conn net.Conn) {
		defer func() {
			conn.Close()
			closed <- true
		}()
		if request, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			io.Copy(io.Discard, request.Body)
			requests.Add(1)
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	p := start(t, Config{}, tableFor(up), toBackend())
	for i := range 30 {
		size := []int{0, 10, 100000}[i%3]
		if status, err := post(t, p, size); status != 200 || err != nil {
			t.Fatalf("%d: status %d, error %v", i, status, err)
		}
		<-closed
	}
	if got := requests.Load(); got != 30 {
		t.Errorf("%d requests arrived, want 30", got)
	}
}

// TestRepeats holds which requests are sent again when an upstream closes without an
// answer: those that must not be are not.
func TestRepeats(t *testing.T) {
	for method, want := range map[string]int64{"GET": 3, "PUT": 3, "POST": 1, "PATCH": 1} {
		var requests atomic.Int64
		up := serveRaw(t, func(conn net.Conn) {
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				requests.Add(1)
			}
		})
		p := start(t, Config{}, tableFor(up), toBackend())
		got := talk(t, p, method+" / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
		if requests.Load() != want || !strings.HasPrefix(got, "HTTP/1.1 502 ") {
			t.Errorf("%s: %d requests, want %d; answer %.60q", method, requests.Load(), want, got)
		}
	}
}

// TestNextEndpoint holds that endpoints which cannot be reached cost no request.
func TestNextEndpoint(t *testing.T) {
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().(*net.TCPAddr).AddrPort()
	l.Close()
	for _, how := range []Balancing{RoundRobin, LeastRequest} {
		p := start(t, Config{Balancing: how}, tableFor(nobody, up), toBackend())
		for i := range 10 {
			if status, err := post(t, p, i*10000); status != 200 || err != nil {
				t.Errorf("%d: status %d, error %v", i, status, err)
			}
		}
	}
}

func TestBalancing(t *testing.T) {
	var counts [3]atomic.Int64
	var list []netip.AddrPort
	for i := range counts {
		list = append(list, serveHTTP(t, func(http.ResponseWriter, *http.Request) { counts[i].Add(1) }))
	}
	p := start(t, Config{}, tableFor(list...), toBackend())
	for range 30 {
		if status, err := post(t, p, 0); status != 200 || err != nil {
			t.Fatal(status, err)
		}
	}
	for i := range counts {
		if got := counts[i].Load(); got != 10 {
			t.Errorf("endpoint %d got %d of 30 requests", i, got)
		}
	}
}

func TestContinue(t *testing.T) {
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refuse" {
			w.WriteHeader(403)
			return
		}
		body, _ := io.ReadAll(r.Body) // which is when net/http gives leave
		fmt.Fprintf(w, "%s", body)
	})
	p := start(t, Config{}, tableFor(up), toBackend())
	for path, want := range map[string][]string{"/take": {"HTTP/1.1 100 Continue", "HTTP/1.1 200 OK"}, "/refuse": {"HTTP/1.1 403 Forbidden"}} {
		conn, err := net.Dial("tcp", p.Addresses("web")[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		io.WriteString(conn, "POST "+path+" HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
		r := bufio.NewReader(conn)
		for _, want := range want {
			line, err := r.ReadString('\n')
			if strings.TrimSpace(line) != want {
				t.Errorf("%s: %q %v, want %q", path, line, err, want)
			}
			if strings.Contains(want, "100") {
				io.WriteString(conn, "hello")
				r.ReadString('\n')
			}
		}
		rest := make([]byte, 4096)
		n, _ := r.Read(rest)
		if path == "/take" && !strings.HasSuffix(string(rest[:n]), "hello") || path == "/refuse" && !strings.Contains(string(rest[:n]), "Connection: close") {
			t.Errorf("%s: %q follows", path, rest[:n])
		}
	}
	// An upstream that says nothing gets the body all the same.
	silent := serveRaw(t, func(conn net.Conn) {
		request, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		body, _ := io.ReadAll(request.Body)
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	})
	p = start(t, Config{ContinueTimeout: 50 * time.Millisecond}, tableFor(silent), toBackend())
	if got := talk(t, p, "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"); !strings.HasSuffix(got, "hello") {
		t.Errorf("from a silent upstream: %q", got)
	}
}

// TestTimeouts holds what becomes of those that are too slow.
func TestTimeouts(t *testing.T) {
	silent := serveRaw(t, func(conn net.Conn) { io.Copy(io.Discard, conn) })
	short := 60 * time.Millisecond
	for name, c := range map[string]struct {
		config Config
		send   string
		want   string
	}{
		"upstream": {Config{ReadTimeout: short}, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "HTTP/1.1 504 "},
		"head":     {Config{HeadTimeout: short}, "GET / HTTP/1.1\r\nHost: x\r\n", "HTTP/1.1 408 "},
		"body":     {Config{BodyTimeout: short}, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhel", "HTTP/1.1 408 "},
		"idle":     {Config{IdleTimeout: short}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, c.config, tableFor(silent), toBackend())
			conn, err := net.Dial("tcp", p.Addresses("web")[0].String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(10 * time.Second))
			io.WriteString(conn, c.send)
			if got, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(got), c.want) || c.want == "" && len(got) > 0 {
				t.Errorf("got %q, error %v", got, err)
			}
		})
	}
}

// TestSlowHeader holds that a header does not get more time with each byte.
func TestSlowHeader(t *testing.T) {
	p := start(t, Config{HeadTimeout: 100 * time.Millisecond}, tableFor(), toBackend())
	conn, err := net.Dial("tcp", p.Addresses("web")[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() {
		for _, c := range []byte("GET / HTTP/1.1\r\n" + strings.Repeat("A: b\r\n", 1000)) {
			if _, err := conn.Write([]byte{c}); err != nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if line, err := bufio.NewReader(conn).ReadString('\n'); !strings.HasPrefix(line, "HTTP/1.1 408 ") {
		t.Errorf("%q, error %v", line, err)
	}
}

func TestUpgrade(t *testing.T) {
	up := serveRaw(t, func(conn net.Conn) {
		r := bufio.NewReader(conn)
		request, err := http.ReadRequest(r)
		if err != nil || request.Header.Get("Upgrade") != "websocket" || !strings.EqualFold(request.Header.Get("Connection"), "upgrade") {
			io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
			return
		}
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: a\r\n\r\nhello ")
		io.Copy(conn, r)
		io.WriteString(conn, " bye")
	})
	p := start(t, Config{}, tableFor(up), toBackend())
	payload := strings.Repeat("GET / HTTP/1.1\r\n\r\n", 20000)
	got := talk(t, p, "GET /chat HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n"+payload)
	head, rest, _ := strings.Cut(got, "\r\n\r\n")
	if !strings.HasPrefix(head, "HTTP/1.1 101 Switching Protocols\r\n") || !strings.Contains(head, "Sec-WebSocket-Accept: a\r\n") || !strings.Contains(head, "Connection: upgrade") {
		t.Errorf("head %q", head)
	}
	if rest != "hello "+payload+" bye" {
		t.Errorf("%d bytes came back, want %d", len(rest), len(payload)+10)
	}
}

func TestMaxConnections(t *testing.T) {
	p := start(t, Config{MaxConnections: 2, MaxClientConnections: 2}, tableFor(), toBackend())
	for i := range 3 {
		conn, err := net.Dial("tcp", p.Addresses("web")[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		_, err = bufio.NewReader(conn).ReadString('\n')
		if (err == nil) != (i < 2) {
			t.Errorf("connection %d: %v", i, err)
		}
	}
}

// TestBodyWithoutPlace holds that a connection on which an upstream announces a body
// that an answer cannot have is not used again: the body may come yet, and would be
// taken for the next answer.
func TestBodyWithoutPlace(t *testing.T) {
	for _, answer := range []string{
		"HTTP/1.1 204 No Content\r\nContent-Length: 40\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
	} {
		var connections atomic.Int64
		up := serveRaw(t, func(conn net.Conn) {
			connections.Add(1)
			says(answer)(conn)
		})
		p := start(t, Config{}, tableFor(up), toBackend())
		talk(t, p, "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")
		if n := connections.Load(); n != 2 {
			t.Errorf("%q: %d connections for two requests", answer, n)
		}
	}
}
