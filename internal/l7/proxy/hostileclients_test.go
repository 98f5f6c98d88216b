package proxy

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// siege is what a hostile client does over and over, until its context ends.
type siege struct {
	// annotations are those of the tenant's Ingress.
	annotations map[string]string
	// once does it once, on a connection to a listener of its own; there are several at a
	// time. It returns when the connection is closed.
	listener string
	once     func(ctx context.Context, conn net.Conn)
	// clients are how many do it at a time: 4, but where each keeps its connection.
	clients int
	// times is how often it has been done, or begun if it never ends, before the victim is
	// looked at.
	times int64
}

// say sends a text.
func say(text string) func(context.Context, net.Conn) {
	return func(_ context.Context, conn net.Conn) {
		go io.WriteString(conn, text)
		io.Copy(io.Discard, conn)
	}
}

// drip sends a text, and then something small again and again.
func drip(first, next string) func(context.Context, net.Conn) {
	return func(ctx context.Context, conn net.Conn) {
		if _, err := io.WriteString(conn, first); err != nil {
			return
		}
		for ctx.Err() == nil {
			if _, err := io.WriteString(conn, next); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// hold sends a text, and keeps the connection without taking an answer.
func hold(first string) func(context.Context, net.Conn) {
	return func(ctx context.Context, conn net.Conn) {
		io.WriteString(conn, first)
		<-ctx.Done()
	}
}

// frames sends what is written by a Framer after the preface, as fast as it goes.
func frames(write func(f *http2.Framer, encoder *hpack.Encoder, block *strings.Builder) error) func(context.Context, net.Conn) {
	return func(_ context.Context, conn net.Conn) {
		go io.Copy(io.Discard, conn)
		io.WriteString(conn, http2.ClientPreface)
		f := http2.NewFramer(conn, nil)
		f.AllowIllegalWrites = true
		f.WriteSettings()
		block := new(strings.Builder)
		write(f, hpack.NewEncoder(block), block)
	}
}

// headerList encodes a header list for the tenant's host.
func headerList(e *hpack.Encoder, block *strings.Builder, fields ...string) []byte {
	block.Reset()
	for i, fields := 0, append([]string{":method", "GET", ":scheme", "http", ":path", "/", ":authority", "evil.example"}, fields...); i < len(fields); i += 2 {
		e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return []byte(block.String())
}

// flood repeats a frame for ever.
func flood(write func(f *http2.Framer) error) func(context.Context, net.Conn) {
	return frames(func(f *http2.Framer, _ *hpack.Encoder, _ *strings.Builder) (err error) {
		for err == nil {
			err = write(f)
		}
		return err
	})
}

const evilHead = "GET / HTTP/1.1\r\nHost: evil.example\r\n"

// sieges1 are those of HTTP/1.1 and of connections.
func sieges1() map[string]siege {
	large := strings.Repeat("x", 1<<20)
	password := map[string]string{"auth-type": "basic", "auth-secret": "users"}
	return map[string]siege{
		"nothing said":          {listener: "http", once: hold(""), clients: 40, times: 30},
		"no handshake":          {listener: "https", once: hold(""), clients: 40, times: 30},
		"half a handshake":      {listener: "https", once: drip("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "x"), clients: 40, times: 30},
		"garbage for handshake": {listener: "https", once: say(large), times: 30},
		"slow header":           {listener: "http", once: drip(evilHead+"X-A: ", "a"), clients: 40, times: 30},
		"slow body":             {listener: "http", once: drip("POST / HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 1000000\r\n\r\n", "a"), clients: 40, times: 30},
		"slow chunks":           {listener: "http", once: drip("POST / HTTP/1.1\r\nHost: evil.example\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\na\r\n"), clients: 40, times: 30},
		"answer not taken":      {listener: "http", once: hold(strings.Repeat("GET /large HTTP/1.1\r\nHost: evil.example\r\n\r\n", 100)), clients: 40, times: 30},
		"header of 1 MB":        {listener: "http", once: say(evilHead + "X-A: " + large + "\r\n\r\n"), times: 30},
		"line of 1 MB":          {listener: "http", once: say("GET /" + large + " HTTP/1.1\r\nHost: evil.example\r\n\r\n"), times: 30},
		"many fields":           {listener: "http", once: say(evilHead + strings.Repeat("A: b\r\n", 100_000) + "\r\n"), times: 30},
		"large extension":       {listener: "http", once: say("POST / HTTP/1.1\r\nHost: evil.example\r\nTransfer-Encoding: chunked\r\n\r\n1;" + large), times: 30},
		"two meanings":          {listener: "http", once: say("POST / HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n5c\r\nGET /admin HTTP/1.1\r\nHost: plain.victim.example\r\nContent-Length: 15\r\n\r\nx=1\r\n0\r\n\r\n"), times: 30},
		"pipelined":             {listener: "http", once: say(strings.Repeat(evilHead+"\r\n", 2000) + evilHead + "Connection: close\r\n\r\n"), times: 5},
		"passwords":             {annotations: password, listener: "http", once: say(evilHead + basicOf("eve", "x") + "\r\nConnection: close\r\n\r\n"), times: 30},
		"reset": {listener: "http", once: func(_ context.Context, conn net.Conn) {
			io.WriteString(conn, evilHead+"\r\n")
			conn.(*net.TCPConn).SetLinger(0)
		}, times: 100},
	}
}

// sieges2 are those of HTTP/2: of requests.
func sieges2() map[string]siege {
	large := strings.Repeat("x", 1<<20)
	return map[string]siege{
		"rapid reset": {listener: "http", times: 5, once: frames(func(f *http2.Framer, e *hpack.Encoder, block *strings.Builder) (err error) {
			for id := uint32(1); err == nil; id += 2 {
				if err = f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: headerList(e, block), EndHeaders: true, EndStream: true}); err == nil {
					err = f.WriteRSTStream(id, http2.ErrCodeCancel)
				}
			}
			return err
		})},
		"resets provoked": {listener: "http", times: 5, once: frames(func(f *http2.Framer, e *hpack.Encoder, block *strings.Builder) (err error) {
			for id := uint32(1); err == nil; id += 2 {
				if err = f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: headerList(e, block), EndHeaders: true, EndStream: true}); err == nil {
					err = f.WriteWindowUpdate(id, 0)
				}
			}
			return err
		})},
		"CONTINUATION": {listener: "http", times: 5, once: frames(func(f *http2.Framer, e *hpack.Encoder, block *strings.Builder) error {
			err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: headerList(e, block)})
			for err == nil {
				err = f.WriteContinuation(1, false, []byte("\x00\x01a\x01b"))
			}
			return err
		})},
		"empty CONTINUATION": {listener: "http", times: 5, once: frames(func(f *http2.Framer, e *hpack.Encoder, block *strings.Builder) error {
			err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: headerList(e, block)})
			for err == nil {
				err = f.WriteContinuation(1, false, nil)
			}
			return err
		})},
		"list of 1 MB": {listener: "http", times: 5, once: frames(func(f *http2.Framer, e *hpack.Encoder, block *strings.Builder) error {
			b := headerList(e, block, "a", large)
			err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b[:16000]})
			for b = b[16000:]; err == nil && len(b) > 0; b = b[min(len(b), 16000):] {
				err = f.WriteContinuation(1, len(b) <= 16000, b[:min(len(b), 16000)])
			}
			return err
		})},
		"HPACK bomb": {listener: "http", times: 5, once: frames(func(f *http2.Framer, e *hpack.Encoder, block *strings.Builder) (err error) {
			first := headerList(e, block, "a", strings.Repeat("x", 3900))
			for id := uint32(1); err == nil; id += 2 {
				err = f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndStream: true, EndHeaders: true, BlockFragment: append(first, strings.Repeat("\xbe", 10_000)...)})
				first = nil
			}
			return err
		})},
	}
}

// sieges3 are those of HTTP/2: of other frames.
func sieges3() map[string]siege {
	return map[string]siege{
		"no window": {listener: "http", clients: 30, times: 25, once: func(ctx context.Context, conn net.Conn) {
			io.WriteString(conn, http2.ClientPreface)
			f := http2.NewFramer(conn, nil)
			f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
			block := new(strings.Builder)
			e := hpack.NewEncoder(block)
			for id := uint32(1); id < 32; id += 2 {
				f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: headerList(e, block), EndHeaders: true, EndStream: true})
			}
			<-ctx.Done()
		}},
		"PING":          {listener: "http", times: 5, once: flood(func(f *http2.Framer) error { return f.WritePing(false, [8]byte{}) })},
		"SETTINGS":      {listener: "http", times: 5, once: flood(func(f *http2.Framer) error { return f.WriteSettings() })},
		"WINDOW_UPDATE": {listener: "http", times: 5, once: flood(func(f *http2.Framer) error { return f.WriteWindowUpdate(0, 1) })},
		"PRIORITY":      {listener: "http", times: 5, once: flood(func(f *http2.Framer) error { return f.WritePriority(1, http2.PriorityParam{}) })},
		"empty DATA": {listener: "http", times: 5, once: frames(func(f *http2.Framer, e *hpack.Encoder, block *strings.Builder) error {
			err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: headerList(e, block), EndHeaders: true})
			for err == nil {
				err = f.WriteData(1, false, nil)
			}
			return err
		})},
	}
}

// TestHostileClients has clients do to the tenant's own host, and to the proxy, what they
// can, all the time: the victim's requests are answered meanwhile.
func TestHostileClients(t *testing.T) {
	all := sieges1()
	maps.Copy(all, sieges2())
	maps.Copy(all, sieges3())
	for name, s := range all {
		t.Run(name, func(t *testing.T) {
			w := startTenants(t, Config{MaxConnections: 64, MaxStreams: 16, HeadTimeout: 2 * time.Second, BodyTimeout: 2 * time.Second, WriteTimeout: 2 * time.Second}, func(w *tenants) string {
				up := serveHTTP(t, func(rw http.ResponseWriter, r *http.Request) {
					io.Copy(io.Discard, r.Body)
					if r.URL.Path == "/large" {
						rw.Write(make([]byte, 1<<20))
					}
				})
				return evil("own", "evil.example", "/", "Prefix", s.annotations) + evilService(up, "")
			})
			w.unharmed("before")
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			var done atomic.Int64
			var wait sync.WaitGroup
			for range max(s.clients, 4) {
				wait.Go(func() {
					for ctx.Err() == nil {
						w.besiege(ctx, &s, &done)
					}
				})
			}
			until(t, func() bool { return done.Load() >= s.times })
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

// besiege does once what a siege does.
func (w *tenants) besiege(ctx context.Context, s *siege, done *atomic.Int64) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	conn, err := d.DialContext(ctx, "tcp", w.at(s.listener))
	if err != nil {
		return
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()
	done.Add(1)
	s.once(ctx, conn)
}

// TestHostileHTTP3 does the same with requests that are given up at once, by HTTP/3.
func TestHostileHTTP3(t *testing.T) {
	w := startTenants(t, Config{MaxConnections: 64, MaxStreams: 16, HTTP3: true}, func(w *tenants) string {
		return evil("own", "evil.example", "/", "Prefix", nil) + evilService(serveHTTP(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), "")
	})
	ctx, cancel := context.WithCancel(context.Background())
	var done atomic.Int64
	var wait sync.WaitGroup
	for range 10 {
		wait.Go(func() {
			c := client3(t)
			for ctx.Err() == nil {
				short, stop := context.WithTimeout(ctx, time.Millisecond)
				request, _ := http.NewRequestWithContext(short, "GET", "https://"+w.at("https")+"/", nil)
				request.Host = "evil.example"
				if response, err := c.Do(request); err == nil {
					response.Body.Close()
				}
				stop()
				done.Add(1)
			}
		})
	}
	until(t, func() bool { return done.Load() > 500 })
	w.unharmed("meanwhile")
	cancel()
	wait.Wait()
	w.unharmed("after")
}

// TestHostileDecisions holds that the tenant's cache of decisions, however much is in it,
// costs the victim none of his.
func TestHostileDecisions(t *testing.T) {
	decider := serveAt(t, "127.0.0.77", func(http.ResponseWriter, *http.Request) {})
	w := startTenants(t, Config{}, func(w *tenants) string {
		return evil("own", "evil.example", "/", "Prefix", map[string]string{
			"auth-url": fmt.Sprintf("http://loop.evil.example:%d/", decider.Port()), "auth-cache-key": "$http_x_token", "auth-cache-duration": "200 1h",
		}) + evilService(w.up, "")
	})
	w.unharmed("before")
	c := client(t)
	for i := range 3000 {
		request, _ := http.NewRequest("GET", "http://"+w.at("http")+"/", nil)
		request.Host = "evil.example"
		request.Header.Set("X-Token", fmt.Sprint(i, strings.Repeat("x", 7000)))
		response, err := c.Do(request)
		if err != nil || response.StatusCode != 200 {
			t.Fatal(response, err)
		}
		io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
	w.unharmed("after")
	if w.decisions.size > maxDecisions || w.decisions.size < maxDecisions/2 {
		t.Errorf("%d octets of decisions", w.decisions.size)
	}
}

// TestLoops holds that a tenant who makes the proxy its own backend, or the server that it
// asks, or that it sends copies to, has each request end soon, and knows why.
func TestLoops(t *testing.T) {
	url := func(w *tenants) string { return fmt.Sprintf("http://loop.evil.example:%d/", w.ports["http"]) }
	for name, c := range map[string]struct {
		annotations func(w *tenants) map[string]string
		status      int
		says        string
		most        uint64
	}{
		"backend":  {func(*tenants) map[string]string { return nil }, 508, "come back to this proxy again and again", maxRounds + 1},
		"auth-url": {func(w *tenants) map[string]string { return map[string]string{"auth-url": url(w)} }, 500, "decides who is let in", maxRounds + 1},
		"mirror": {func(w *tenants) map[string]string {
			return map[string]string{"mirror-target": url(w), "upstream-vhost": "evil.example"}
		}, 508, "again and again", 1<<(maxRounds+1) - 1},
		"stripped": {func(*tenants) map[string]string {
			return map[string]string{"configuration-snippet": `proxy_set_header CDN-Loop "";`}
		}, 508, "again and again", maxRounds + 1},
		"error page": {func(*tenants) map[string]string {
			return map[string]string{"custom-http-errors": "508", "default-backend": "web"}
		}, 508, "Loop Detected", 1 << (maxRounds + 1)},
	} {
		t.Run(name, func(t *testing.T) {
			w := startTenants(t, Config{}, func(w *tenants) string {
				own := evil("own", "evil.example", "/", "Prefix", c.annotations(w)) + evil("alias", "loop.evil.example", "/", "Prefix", c.annotations(w))
				return strings.ReplaceAll(own, `"number":80`, fmt.Sprintf(`"number":%d`, w.ports["http"])) + evilService(netip.AddrPort{}, "loop.evil.example")
			})
			status, said := w.get("127.0.0.2", "http", "evil.example", "/")
			if status != c.status || !strings.Contains(said, c.says) {
				t.Errorf("%d %s", status, said)
			}
			for before := uint64(0); ; { // copies are still on their way
				time.Sleep(50 * time.Millisecond)
				n := w.requests()
				if n == before {
					break
				}
				before = n
			}
			if n := w.requests(); n > c.most {
				t.Errorf("%d requests, want %d at most", n, c.most)
			}
			w.unharmed("after")
		})
	}
}

// requests is how many have been answered.
func (w *tenants) requests() (n uint64) {
	w.tally.mu.Lock()
	defer w.tally.mu.Unlock()
	for _, s := range w.tally.all {
		for i := range s.counts {
			n += s.counts[i].Load()
		}
	}
	return n
}
