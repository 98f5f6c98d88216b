package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

func TestPatience(t *testing.T) {
	for _, c := range []struct {
		moved, waited int64
		rate          int
		want          time.Duration
	}{
		{0, 0, 500, time.Minute}, {0, int64(20 * time.Second), 500, 40 * time.Second}, {0, int64(90 * time.Second), 500, 0},
		{5000, int64(10 * time.Second), 500, time.Minute}, {5000, int64(30 * time.Second), 500, 40 * time.Second},
		{1 << 40, int64(time.Hour), 500, time.Minute}, {0, int64(time.Hour), -1, time.Minute},
	} {
		p := pace{moved: c.moved, waited: c.waited}
		if got := p.patience(time.Minute, c.rate); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

// TestSlowRequest holds that a client which sends a part of a body again and again, each
// in time, does not hold an endpoint for ever.
func TestSlowRequest(t *testing.T) {
	for _, framing := range []string{"Content-Length: 1000000", "Transfer-Encoding: chunked"} {
		ended := make(chan bool, 1)
		up := serveRaw(t, func(conn net.Conn) {
			io.Copy(io.Discard, conn)
			ended <- true
		})
		p := start(t, Config{BodyTimeout: 200 * time.Millisecond, MinRate: 1 << 20}, tableFor(up), toBackend())
		conn, err := net.Dial("tcp", p.Addresses("web")[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n", framing)
		stop := make(chan bool)
		go func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(10 * time.Millisecond):
					io.WriteString(conn, "1\r\n1\r\n")
				}
			}
		}()
		conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		line, err := bufio.NewReader(conn).ReadString('\n')
		close(stop)
		if !strings.HasPrefix(line, "HTTP/1.1 408") {
			t.Fatalf("%s: %q, error %v", framing, line, err)
		}
		<-ended
	}
}

// TestSlowRequestHTTP2 holds the same of HTTP/2, where gRPC may take its time.
func TestSlowRequestHTTP2(t *testing.T) {
	for kind, want := range map[string]int{"text/plain": 408, "application/grpc": 200} {
		up := serveHTTP(t, func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
		p := start(t, Config{BodyTimeout: 500 * time.Millisecond, MinRate: 1 << 20}, tableFor(up), toBackend())
		transport := &http.Transport{Protocols: new(http.Protocols)}
		transport.Protocols.SetUnencryptedHTTP2(true)
		defer transport.CloseIdleConnections()
		body, feed := io.Pipe()
		go func() {
			for range 100 {
				if _, err := io.WriteString(feed, "1"); err != nil {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
			feed.Close()
		}()
		response, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Post(p.url(), kind, body)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		response.Body.Close()
		feed.Close()
		if response.StatusCode != want {
			t.Errorf("%s: status %d, want %d", kind, response.StatusCode, want)
		}
	}
}

// TestSlowReader holds the same of a client that takes an answer byte by byte.
func TestSlowReader(t *testing.T) {
	ended := make(chan bool, 1)
	up := serveRaw(t, func(conn net.Conn) {
		http.ReadRequest(bufio.NewReader(conn))
		io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		for {
			if _, err := conn.Write(make([]byte, 64<<10)); err != nil {
				ended <- true
				return
			}
		}
	})
	p := start(t, Config{WriteTimeout: time.Second, MinRate: 1 << 30}, tableFor(up), toBackend())
	conn, err := net.Dial("tcp", p.Addresses("web")[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	conn.SetReadDeadline(time.Now().Add(15 * time.Second))
	buffer := make([]byte, 256<<10)
	for {
		if _, err := conn.Read(buffer); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("the answer goes on")
		} else if err != nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	<-ended
}

// TestContinueInPart holds that a body is not sent while leave for it is arriving.
func TestContinueInPart(t *testing.T) {
	for leave, want := range map[string]string{"tinue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n": "200", "": "504"} {
		early := make(chan string, 1)
		up := serveRaw(t, func(conn net.Conn) {
			r := bufio.NewReader(conn)
			request, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			io.WriteString(conn, "HTTP/1.1 100 Con")
			conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
			b, _ := r.ReadByte()
			early <- strings.Trim(string(rune(b)), "\x00")
			conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			if io.WriteString(conn, leave); leave != "" {
				io.Copy(io.Discard, request.Body)
			}
			r.ReadByte()
		})
		p := start(t, Config{ContinueTimeout: 30 * time.Millisecond, ReadTimeout: time.Second}, tableFor(up), toBackend())
		got := talk(t, p, "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi")
		if sent := <-early; sent != "" {
			t.Errorf("%q was sent in the middle of an answer", sent)
		}
		if !strings.Contains(got, "HTTP/1.1 "+want) {
			t.Errorf("%.120q, want %s", got, want)
		}
	}
}

// TestSendsAreBounded holds that a request is sent Tries times at most, over idle
// connections and new ones together.
func TestSendsAreBounded(t *testing.T) {
	var sent, deaf atomic.Int64
	serve := func(conn net.Conn) {
		r := bufio.NewReader(conn)
		for {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			if deaf.Load() > 0 {
				sent.Add(1)
				return
			}
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	}
	p := start(t, Config{}, tableFor(serveRaw(t, serve), serveRaw(t, serve), serveRaw(t, serve)), toBackend())
	if got := talk(t, p, strings.Repeat("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 3)); strings.Count(got, " 200 ") != 3 {
		t.Fatalf("%q", got)
	}
	deaf.Store(1)
	got := talk(t, p, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 502") || sent.Load() != 3 {
		t.Errorf("sent %d times, want 3; %.60q", sent.Load(), got)
	}
}

// TestCallsAreBounded holds the same of endpoints that speak HTTP/2.
func TestCallsAreBounded(t *testing.T) {
	up, got := refuser(t, 100, func(f *http2.Framer, s uint32) { f.WriteRSTStream(s, http2.ErrCodeRefusedStream) })
	p := start(t, Config{}, tableFor(up), to(grpcRoute()))
	if answer := talk(t, p, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(answer, "HTTP/1.1 502") || got.Load() != 3 {
		t.Errorf("sent %d times, want 3; %.60q", got.Load(), answer)
	}
}
