package proxy

import (
	"bufio"
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// speaks is a backend that reads a header, says something first, and then something else
// again and again.
func speaks(first, next string) func(net.Conn) {
	return func(conn net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
			return
		}
		if _, err := io.WriteString(conn, first); err != nil {
			return
		}
		for next != "" {
			if _, err := io.WriteString(conn, next); err != nil {
				return
			}
		}
	}
}

// calls2 is a backend of HTTP/2 that answers the first request by frames of its own, for
// ever.
func calls2(write func(f *http2.Framer, stream uint32) error) func(net.Conn) {
	return func(conn net.Conn) {
		if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		f := http2.NewFramer(conn, conn)
		f.AllowIllegalWrites = true
		f.WriteSettings()
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			if h, ok := frame.(*http2.HeadersFrame); ok {
				go io.Copy(io.Discard, conn)
				for err == nil {
					err = write(f, h.StreamID)
				}
				return
			}
		}
	}
}

// hostileBackend is what an endpoint does with each connection, beside annotations.
type hostileBackend struct {
	annotations map[string]string
	serve       func(net.Conn)
}

// backends1 are those of HTTP/1.1.
func backends1() map[string]hostileBackend {
	large := strings.Repeat("x", 1<<20)
	return map[string]hostileBackend{
		"closes":             {nil, func(net.Conn) {}},
		"says nothing":       {nil, func(conn net.Conn) { io.Copy(io.Discard, conn) }},
		"garbage":            {nil, speaks(large, "")},
		"header of 1 MB":     {nil, speaks("HTTP/1.1 200 OK\r\nA: "+large+"\r\n\r\n", "")},
		"header without end": {nil, speaks("HTTP/1.1 200 OK\r\n", "A: b\r\n")},
		"100 without end":    {nil, speaks("", "HTTP/1.1 100 Continue\r\n\r\n")},
		"103 without end":    {nil, speaks("", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")},
		"101 unasked":        {nil, speaks("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "x")},
		"body without end":   {nil, speaks("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n")},
		"extensions":         {nil, speaks("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", "x")},
		"trailers":           {nil, speaks("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "A: b\r\n")},
		"two answers":        {nil, speaks(strings.Repeat("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", 100), "")},
		"two lengths":        {nil, speaks("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "")},
		"negative length":    {nil, speaks("HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\nevil", "")},
		"split":              {nil, speaks("HTTP/1.1 302 Found\r\nLocation: /\rX-Evil: 1\nX-Evil: 1\r\nContent-Length: 0\r\n\r\n", "")},
		"no TLS": {map[string]string{"backend-protocol": "HTTPS"}, func(conn net.Conn) {
			go io.Copy(io.Discard, conn)
			for _, err := io.WriteString(conn, "\x16\x03\x03\x40\x00"+large[:16384]); err == nil; _, err = io.WriteString(conn, large) {
			}
		}},
		"loops by redirects": {map[string]string{"custom-http-errors": "500,302", "default-backend": "web"}, speaks("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", "")},
	}
}

// backends2 are those of HTTP/2.
func backends2() map[string]hostileBackend {
	large := strings.Repeat("x", 16_000)
	grpc := map[string]string{"backend-protocol": "GRPC"}
	bomb := func() []byte {
		var block strings.Builder
		e := hpack.NewEncoder(&block)
		e.WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
		e.WriteField(hpack.HeaderField{Name: "a", Value: strings.Repeat("x", 3900)})
		return []byte(block.String() + strings.Repeat("\xbe", 10_000))
	}()
	return map[string]hostileBackend{
		"no answer by gRPC": {grpc, func(conn net.Conn) { io.Copy(io.Discard, conn) }},
		"PING":              {grpc, calls2(func(f *http2.Framer, _ uint32) error { return f.WritePing(false, [8]byte{}) })},
		"SETTINGS": {grpc, calls2(func(f *http2.Framer, _ uint32) error {
			return f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1})
		})},
		"WINDOW_UPDATE": {grpc, calls2(func(f *http2.Framer, _ uint32) error { return f.WriteWindowUpdate(0, 1<<31-1) })},
		"GOAWAY":        {grpc, calls2(func(f *http2.Framer, _ uint32) error { return f.WriteGoAway(0, http2.ErrCodeNo, []byte(large[:1000])) })},
		"RST_STREAM":    {grpc, calls2(func(f *http2.Framer, s uint32) error { return f.WriteRSTStream(s, http2.ErrCodeRefusedStream) })},
		"PUSH_PROMISE": {grpc, calls2(func(f *http2.Framer, s uint32) error {
			return f.WritePushPromise(http2.PushPromiseParam{StreamID: s, PromiseID: 2, BlockFragment: bomb[:1], EndHeaders: true})
		})},
		"HPACK bomb": {grpc, calls2(func(f *http2.Framer, s uint32) error {
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: s, BlockFragment: bomb, EndHeaders: true})
		})},
		"CONTINUATION": {grpc, calls2(func(f *http2.Framer, s uint32) error {
			err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: s, BlockFragment: []byte{0x88}})
			for err == nil {
				err = f.WriteContinuation(s, false, []byte("\x00\x01a\x01b"))
			}
			return err
		})},
		"DATA beyond windows": {grpc, calls2(func(f *http2.Framer, s uint32) error {
			err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: s, BlockFragment: []byte{0x88}, EndHeaders: true})
			for err == nil {
				err = f.WriteData(s, false, []byte(large))
			}
			return err
		})},
	}
}

// TestHostileBackends has a tenant's endpoints answer as no endpoint should, while his
// clients ask for that: the victim's requests are answered, and nobody gets a part of
// somebody else's answer.
func TestHostileBackends(t *testing.T) {
	all := backends1()
	maps.Copy(all, backends2())
	for name, c := range all {
		t.Run(name, func(t *testing.T) {
			var asked, begun atomic.Int64
			w := startTenants(t, Config{ReadTimeout: 500 * time.Millisecond, WriteTimeout: time.Second, ConnectTimeout: time.Second}, func(*tenants) string {
				up := serveRaw(t, func(conn net.Conn) {
					asked.Add(1)
					c.serve(conn)
				})
				return evil("own", "evil.example", "/", "Prefix", c.annotations) + evilService(up, "")
			})
			w.unharmed("before")
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			var wait sync.WaitGroup
			for range 4 {
				wait.Go(func() {
					for ctx.Err() == nil {
						w.besiege(ctx, &siege{listener: "http", once: say(evilHead + "\r\n" + evilHead + "Connection: close\r\n\r\n")}, &begun)
					}
				})
			}
			until(t, func() bool { return asked.Load() >= 4 || asked.Load() > 0 && begun.Load() >= 8 })
			w.unharmed("meanwhile")
			w.unharmed("still")
			cancel()
			wait.Wait()
			w.unharmed("after")
			if n := w.tally.panics.Load(); n > 0 {
				t.Errorf("%d panics", n)
			}
		})
	}
}
