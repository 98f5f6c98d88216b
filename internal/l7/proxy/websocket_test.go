package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/quic-go/quic-go/http3"
)

// serveWebSocket runs a WebSocket server that sends every message back.
func serveWebSocket(t testing.TB) netip.AddrPort {
	upgrader := websocket.Upgrader{Subprotocols: []string{"chat"}}
	return serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/plain" {
			io.WriteString(w, "no WebSocket")
			return
		}
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		c.SetReadLimit(64 << 20)
		for {
			kind, message, err := c.ReadMessage()
			if err != nil || c.WriteMessage(kind, message) != nil {
				return
			}
		}
	})
}

// tap passes connections on to a server, and keeps what comes after the first header in
// either direction: of the last connection.
type tap struct {
	address netip.AddrPort
	mu      sync.Mutex
	to, of  *bytes.Buffer
}

func newTap(t testing.TB, server netip.AddrPort) *tap {
	tap := new(tap)
	tap.address = serveRaw(t, func(client net.Conn) {
		up, err := net.Dial("tcp", server.String())
		if err != nil {
			t.Error(err)
			return
		}
		defer up.Close()
		to, of := new(bytes.Buffer), new(bytes.Buffer)
		tap.mu.Lock()
		tap.to, tap.of = to, of
		tap.mu.Unlock()
		var wait sync.WaitGroup
		copyTo := func(dst, src net.Conn, into *bytes.Buffer) {
			b := make([]byte, 64<<10)
			for {
				n, err := src.Read(b)
				tap.mu.Lock()
				into.Write(b[:n])
				tap.mu.Unlock()
				if _, failed := dst.Write(b[:n]); failed != nil || err != nil {
					dst.(*net.TCPConn).CloseWrite()
					return
				}
			}
		}
		wait.Go(func() { copyTo(up, client, to) })
		wait.Go(func() { copyTo(client, up, of) })
		wait.Wait()
	})
	return tap
}

// took returns what has gone to the server and come from it, without headers.
func (tap *tap) took() (to, of []byte) {
	tap.mu.Lock()
	defer tap.mu.Unlock()
	_, to, _ = bytes.Cut(tap.to.Bytes(), []byte("\r\n\r\n"))
	_, of, _ = bytes.Cut(tap.of.Bytes(), []byte("\r\n\r\n"))
	return bytes.Clone(to), bytes.Clone(of)
}

// carrier is a way for a WebSocket to get to the proxy: what is written to goes there,
// which closing ends.
type carrier func(t testing.TB, p *Proxy, path string) (to io.WriteCloser, from io.Reader, status int, header http.Header)

// half is a connection whose one direction ends with Close.
type half struct{ *net.TCPConn }

func (h half) Close() error { return h.CloseWrite() }

func overHTTP1(t testing.TB, p *Proxy, path string) (io.WriteCloser, io.Reader, int, http.Header) {
	conn := dialWeb(t, p)
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: ws.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: chat\r\n\r\n", path)
	r := bufio.NewReader(conn)
	answer, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return half{conn}, r, answer.StatusCode, answer.Header
}

// overStream has a RoundTripper send an extended CONNECT.
func overStream(t testing.TB, transport http.RoundTripper, url string, change func(*http.Request)) (io.WriteCloser, io.Reader, int, http.Header) {
	from, to := io.Pipe()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodConnect, url, from)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = "ws.example"
	request.Header.Set("Sec-WebSocket-Version", "13")
	request.Header.Set("Sec-WebSocket-Protocol", "chat")
	change(request)
	answer, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { answer.Body.Close() })
	return to, answer.Body, answer.StatusCode, answer.Header
}

func overHTTP2Stream(t testing.TB, p *Proxy, path string) (io.WriteCloser, io.Reader, int, http.Header) {
	return connectStream(t, p, "websocket", path, "sec-websocket-version", "13", "sec-websocket-protocol", "chat")
}

func overHTTP3Stream(t testing.TB, p *Proxy, path string) (io.WriteCloser, io.Reader, int, http.Header) {
	transport := &http3.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(func() { transport.Close() })
	return overStream(t, transport, p.secureURL()+path, func(r *http.Request) { r.Proto = "websocket" })
}

// wsFrame makes a frame of a client (RFC 6455, section 5.2).
func wsFrame(fin bool, opcode byte, payload []byte) []byte {
	b := []byte{opcode, 0x80}
	if fin {
		b[0] |= 0x80
	}
	switch n := len(payload); {
	case n < 126:
		b[1] |= byte(n)
	case n < 1<<16:
		b[1] |= 126
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b[1] |= 127
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	mask := []byte{0x37, 0xfa, 0x21, 0x3d}
	b = append(b, mask...)
	for i, c := range payload {
		b = append(b, c^mask[i%4])
	}
	return b
}

func closeFrame(code uint16, reason string) []byte {
	return wsFrame(true, 8, append(binary.BigEndian.AppendUint16(nil, code), reason...))
}

// conversations are by the groups of Autobahn's list of cases; each ends with a close, be it
// the server's. What a proxy that tunnels owes to all of them is that both sides get what
// the other has sent.
func conversations() map[string][]byte {
	join := func(frames ...[]byte) []byte { return bytes.Join(frames, nil) }
	bye := closeFrame(1000, "")
	large := func(n int) []byte { return bytes.Repeat([]byte("0123456789abcdef"), n/16) }
	return map[string][]byte{
		"1 framing":                  join(wsFrame(true, 1, nil), wsFrame(true, 1, large(112)), wsFrame(true, 2, large(65536)), wsFrame(true, 2, large(65520)), bye),
		"2 pings and pongs":          join(wsFrame(true, 9, nil), wsFrame(true, 9, large(112)), wsFrame(true, 10, []byte("unasked")), wsFrame(true, 9, []byte{0, 0xff, 0xfe}), bye),
		"2 a ping that is too long":  wsFrame(true, 9, large(128)),
		"3 reserved bits":            {0xc1, 0x80, 1, 2, 3, 4},
		"4 reserved opcodes":         wsFrame(true, 3, []byte("x")),
		"4 reserved control opcodes": wsFrame(true, 11, nil),
		"5 fragments":                join(wsFrame(false, 1, []byte("frag")), wsFrame(true, 9, []byte("between")), wsFrame(false, 0, nil), wsFrame(true, 0, []byte("ment")), bye),
		"5 a fragment of nothing":    wsFrame(true, 0, []byte("x")),
		"5 a ping in fragments":      wsFrame(false, 9, []byte("x")),
		"6 UTF-8":                    join(wsFrame(true, 1, []byte("Hello-µ@ßöäüàá-UTF-8!!")), wsFrame(false, 1, []byte("\xce")), wsFrame(true, 0, []byte("\xba")), bye),
		"6 invalid UTF-8":            join(wsFrame(true, 1, []byte("\xce\xba\xed\xa0\x80edited")), bye),
		"7 close with a reason":      closeFrame(1000, "done"),
		"7 close without code":       wsFrame(true, 8, nil),
		"7 close with half a code":   wsFrame(true, 8, []byte{3}),
		"7 an invalid code":          closeFrame(1005, ""),
		"7 a code of applications":   closeFrame(4999, strings.Repeat("r", 123)),
		"7 data after a close":       join(bye, wsFrame(true, 1, []byte("late"))),
		"9 one message of 16 MB":     join(wsFrame(true, 2, large(16<<20)), bye),
		"9 in fragments of 64 KB":    join(wsFrame(false, 2, large(64<<10)), bytes.Repeat(wsFrame(false, 0, large(64<<10)), 14), wsFrame(true, 0, large(64<<10)), bye),
		"10 masked in parts":         join(wsFrame(true, 1, large(65536)), bye),
		"12 extension not agreed on": {0xc1, 0x87, 0, 0, 0, 0, 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00},
	}
}

// TestWebSocketBytes holds that bytes of WebSockets are passed on unchanged in both
// directions, whatever they mean, by each version of HTTP.
func TestWebSocketBytes(t *testing.T) {
	tap := newTap(t, serveWebSocket(t))
	plain := start(t, Config{}, tableFor(tap.address), toBackend())
	secure := start3(t, Config{}, tap.address)
	for version, way := range map[string]struct {
		carry carrier
		p     *Proxy
		want  int
	}{"HTTP/1.1": {overHTTP1, plain, 101}, "HTTP/2": {overHTTP2Stream, plain, 200}, "HTTP/3": {overHTTP3Stream, secure, 200}} {
		for name, sent := range conversations() {
			to, from, status, header := way.carry(t, way.p, "/")
			if status != way.want || header.Get("Sec-WebSocket-Protocol") != "chat" {
				t.Fatalf("%s, %s: status %d, %v", version, name, status, header)
			}
			go func() {
				to.Write(sent)
				if !strings.Contains(name, "data after") {
					return // the server ends it
				}
				to.Close()
			}()
			got, err := io.ReadAll(from)
			toServer, ofServer := tap.took()
			if err != nil && !strings.Contains(name, "data after") {
				t.Errorf("%s, %s: error %v after %d bytes", version, name, err, len(got))
			}
			if !bytes.Equal(got, ofServer) || len(got) == 0 {
				t.Errorf("%s, %s: the client got %d bytes of %d", version, name, len(got), len(ofServer))
			}
			if !bytes.HasPrefix(sent, toServer) || len(toServer) == 0 || len(toServer) < len(sent) && !strings.Contains(name, "data after") {
				t.Errorf("%s, %s: the server got %d bytes of %d", version, name, len(toServer), len(sent))
			}
			to.Close()
		}
	}
}

// TestWebSocketStreams holds what becomes of streams that are to carry what is not a
// WebSocket, or do not come to be one.
func TestWebSocketStreams(t *testing.T) {
	up := serveWebSocket(t)
	p := start(t, Config{}, tableFor(up), toBackend())
	for _, c := range []struct {
		protocol, path string
		status         int
	}{{"websocket", "/plain", 502}, {"connect-udp", "/", 501}, {"SPDY", "/", 501}, {"WebSocket", "/", 200}} {
		if _, _, status, _ := connectStream(t, p, c.protocol, c.path, "sec-websocket-version", "13", "sec-websocket-key", "anything"); status != c.status {
			t.Errorf("%s at %s: status %d, want %d", c.protocol, c.path, status, c.status)
		}
	}
	// An endpoint that answers to another key is no WebSocket server.
	fake := serveRaw(t, says("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"))
	other := start(t, Config{}, tableFor(fake), toBackend())
	if _, _, status, _ := overHTTP2Stream(t, other, "/"); status != 502 {
		t.Errorf("status %d for another key", status)
	}
	// A proxy that passes no WebSockets on does not offer them.
	none := start(t, Config{Upgrades: []string{"SPDY/3.1"}}, tableFor(up), toBackend())
	if c, _, status, _ := connectStream(t, none, "websocket", "/"); status != 0 || c.offered {
		t.Errorf("status %d, offered %t", status, c.offered)
	}
	if c, _, status, _ := connectStream(t, p, "websocket", "/", "content-length", "0"); status != 0 || !c.offered {
		t.Errorf("status %d with a length, offered %t", status, c.offered)
	}
}

// TestWebSocketReset holds that a stream that the client gives up ends the connection to
// the endpoint, and the other way around.
func TestWebSocketReset(t *testing.T) {
	ended := make(chan error, 1)
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := new(websocket.Upgrader).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		if _, _, err := c.ReadMessage(); r.URL.Path != "/reset" {
			ended <- err
			return
		}
		c.NetConn().(*net.TCPConn).SetLinger(0)
	}))
	defer up.Close()
	p := start(t, Config{}, tableFor(addressOf(up)), toBackend())
	c, _, _, _ := connectStream(t, p, "websocket", "/", "sec-websocket-version", "13")
	c.reset()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the endpoint sees no end")
		}
	case <-time.After(20 * time.Second):
		t.Error("the endpoint's connection outlives the stream")
	}
	c, from, _, _ := connectStream(t, p, "websocket", "/reset", "sec-websocket-version", "13")
	c.Write(wsFrame(true, 1, []byte("x")))
	if _, err := io.ReadAll(from); err != errReset { //nolint:errorlint // as it is
		t.Error("the client sees an end in place of a reset")
	}
}
