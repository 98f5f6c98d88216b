package proxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// TestHTTP2Drains holds that a client is told before its connection ends, that what is
// under way and what it asks for until it knows is answered, and nothing after that.
func TestHTTP2Drains(t *testing.T) {
	release := make(chan struct{})
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		<-release
		io.WriteString(w, r.URL.Path)
	})
	p := start(t, Config{ReadTimeout: time.Second, HeadTimeout: time.Second}, tableFor(up), toBackend())
	f := dialFrames(t, p)
	f.get(1)
	if got := f.hear(); got != "" {
		t.Fatal(got)
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		p.Close()
	}()
	next := func() http2.Frame {
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			switch frame.(type) {
			case *http2.SettingsFrame, *http2.WindowUpdateFrame:
				continue
			}
			return frame
		}
	}
	if last := next().(*http2.GoAwayFrame).LastStreamID; last != 1<<31-1 {
		t.Errorf("GOAWAY of %d", last)
	}
	ping := next().(*http2.PingFrame)
	f.get(3)
	f.WritePing(true, ping.Data)
	f.out.Flush()
	if last := next().(*http2.GoAwayFrame).LastStreamID; last != 3 {
		t.Errorf("GOAWAY of %d", last)
	}
	f.get(5)
	f.out.Flush()
	close(release)
	got := f.listen()
	for _, want := range []string{"headers 1", "headers 3", "end of connection"} {
		if !strings.Contains(got, want) || strings.Contains(got, "headers 5") {
			t.Errorf("%s: there should be %s", got, want)
		}
	}
	<-closed
}

// TestHTTP2Slow holds that clients which do not go on, in any way, do not hold what
// they have.
func TestHTTP2Slow(t *testing.T) {
	const patient = 2 * time.Second // a slow machine has sent what it is to send by then
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Write(make([]byte, 1<<20))
	})
	for name, c := range map[string]struct {
		do   func(f *framer)
		want string
	}{
		"idle":            {func(f *framer) {}, "goaway 0 NO_ERROR\nend"},
		"part of a frame": {func(f *framer) { f.out.Write([]byte{0, 0, 4, 1}) }, "goaway 0 NO_ERROR\nend"},
		"part of a header": {func(f *framer) {
			f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.header(":method", "GET")})
		}, "goaway 0 NO_ERROR\nend"},
		"part of a body": {func(f *framer) {
			f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: f.header(
				":method", "POST", ":scheme", "http", ":path", "/", ":authority", "x")})
			f.WriteData(1, false, []byte("x"))
		}, "408 Request Timeout: the body took too long to arrive"},
		"no window": {func(f *framer) {
			f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
			f.get(1)
		}, "reset 1 CANCEL"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, Config{
				HeadTimeout: patient, IdleTimeout: patient, BodyTimeout: patient, WriteTimeout: patient,
			}, tableFor(up), toBackend())
			f := dialFrames(t, p)
			c.do(f)
			f.out.Flush()
			got := ""
			for over := false; !over && !strings.Contains(got, c.want); {
				var text string
				text, over = f.frame()
				got += text
			}
			if !strings.Contains(got, c.want) {
				t.Errorf("%s, want %s", got, c.want)
			}
			until(t, func() bool { return p.streams.Load() == 0 })
		})
	}
}

// TestHTTP2GivenUp holds that an endpoint of HTTP/1.1 learns that nobody waits for its
// answer.
func TestHTTP2GivenUp(t *testing.T) {
	begun, gone := make(chan struct{}), make(chan struct{})
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
		close(gone)
	})
	p := start(t, Config{}, tableFor(up), toBackend())
	f := dialFrames(t, p)
	f.get(1)
	f.hear()
	f.out.Flush()
	<-begun // one that is given up before does not reach the endpoint
	f.WriteRSTStream(1, http2.ErrCodeCancel)
	f.out.Flush()
	<-gone
	until(t, func() bool { return p.streams.Load() == 0 })
}

// TestCallsWithinTLS holds that endpoints are spoken with by HTTP/2 within TLS.
func TestCallsWithinTLS(t *testing.T) {
	s := new(calls)
	source := startTLS(t, netip.AddrPort{})
	var certificate *tls.Certificate
	for _, c := range *source.certificates.Load() {
		certificate = c
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(certificate)), grpc.UnknownServiceHandler(s.echo))
	go server.Serve(l)
	t.Cleanup(server.Stop)
	route := grpcRoute()
	route.Upstream.Protocol = l7.UpstreamGRPCS
	conn := dialGRPC(t, start(t, Config{}, tableFor(l.Addr().(*net.TCPAddr).AddrPort()), to(route)))
	for _, size := range []int{10, 300_000} {
		out := new(wrapperspb.BytesValue)
		if err := conn.Invoke(contextFor(t, 20*time.Second), "/shop.Cart/Echo", &wrapperspb.BytesValue{Value: make([]byte, size)}, out); err != nil || len(out.Value) != size {
			t.Error(err, len(out.Value))
		}
	}
}

// refuser is an endpoint of HTTP/2 that refuses the first requests in some way and
// answers the others.
func refuser(t *testing.T, refusals int64, refuse func(f *http2.Framer, stream uint32)) (netip.AddrPort, *atomic.Int64) {
	got := new(atomic.Int64)
	return serveRaw(t, func(conn net.Conn) {
		if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		f := http2.NewFramer(conn, conn)
		f.WriteSettings()
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			if h, ok := frame.(*http2.HeadersFrame); ok {
				if got.Add(1) <= refusals {
					refuse(f, h.StreamID)
					continue
				}
				f.WriteHeaders(http2.HeadersFrameParam{StreamID: h.StreamID, BlockFragment: []byte{0x88}, EndHeaders: true, EndStream: true})
			}
		}
	}), got
}

// TestRefusedCalls holds that what an endpoint has not looked at is sent again, and
// nothing else, and that its connection is used as long as it may be.
func TestRefusedCalls(t *testing.T) {
	for name, c := range map[string]struct {
		refuse     func(f *http2.Framer, stream uint32)
		status     int
		sent, open int64
	}{
		"refused":  {func(f *http2.Framer, s uint32) { f.WriteRSTStream(s, http2.ErrCodeRefusedStream) }, 200, 2, 1},
		"farewell": {func(f *http2.Framer, s uint32) { f.WriteGoAway(s-1, http2.ErrCodeNo, nil) }, 200, 2, 2},
		"reset":    {func(f *http2.Framer, s uint32) { f.WriteRSTStream(s, http2.ErrCodeInternal) }, 502, 1, 1},
	} {
		up, got := refuser(t, 1, c.refuse)
		p := start(t, Config{}, tableFor(up), to(grpcRoute()))
		response, err := client2(t).Get(p.url()) // a body could come too late to be sent again
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != c.status || got.Load() != c.sent {
			t.Errorf("%s: %s, sent %d times", name, response.Status, got.Load())
		}
	}
}

// serveHTTP2 runs an endpoint of net/http that speaks HTTP/2.
func serveHTTP2(t testing.TB, handler http.HandlerFunc) netip.AddrPort {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Protocols: protocols, Handler: handler}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// TestCallsOfHTTP1 holds that clients of HTTP/1.1 get answers of endpoints that speak
// HTTP/2.
func TestCallsOfHTTP1(t *testing.T) {
	up := serveHTTP2(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %d", r.Proto, r.Host, r.Header.Get("Te"), len(body))
	})
	p := start(t, Config{}, tableFor(up), to(grpcRoute()))
	for _, size := range []int{0, 10, 100_000} {
		for _, length := range []int64{int64(size), -1} {
			request, _ := http.NewRequest("POST", p.url(), strings.NewReader(strings.Repeat("x", size)))
			request.ContentLength = length
			request.Host = "shop.example"
			response, err := client(t).Do(request)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			response.Body.Close()
			if want := fmt.Sprintf("HTTP/2.0 shop.example trailers %d", size); err != nil || string(body) != want {
				t.Errorf("%q, want %q, error %v", body, want, err)
			}
		}
	}
}

// TestStuckClient holds that a client which takes nothing of its answer does not hold up
// another's call over the same connection to the endpoint.
func TestStuckClient(t *testing.T) {
	_, up := serveGRPC(t)
	p := start(t, Config{}, tableFor(up), to(grpcRoute()))
	stuck := dialGRPC(t, p)
	var wait sync.WaitGroup
	ctx, cancel := context.WithCancel(contextFor(t, 20*time.Second))
	for range 20 {
		stream, err := stuck.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/shop.Cart/Chat")
		if err != nil {
			t.Fatal(err)
		}
		wait.Go(func() {
			for stream.SendMsg(&wrapperspb.BytesValue{Value: make([]byte, 100_000)}) == nil { // and never receive
			}
		})
	}
	time.Sleep(100 * time.Millisecond) // more or less stuck; the test holds either way
	out := new(wrapperspb.BytesValue)
	err := dialGRPC(t, p).Invoke(contextFor(t, 10*time.Second), "/shop.Cart/Echo", &wrapperspb.BytesValue{Value: make([]byte, 50_000)}, out)
	if err != nil || len(out.Value) != 50_000 {
		t.Error(err, len(out.Value))
	}
	cancel()
	wait.Wait()
}

// TestNoEndpointForCalls holds that a call to what cannot be reached is unavailable.
func TestNoEndpointForCalls(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	conn := dialGRPC(t, start(t, Config{}, tableFor(l.Addr().(*net.TCPAddr).AddrPort()), to(grpcRoute())))
	err = conn.Invoke(contextFor(t, 10*time.Second), "/shop.Cart/Echo", new(wrapperspb.BytesValue), new(wrapperspb.BytesValue))
	if status.Code(err) != codes.Unavailable {
		t.Error(err)
	}
}

// TestRapidReset holds that a client which gives up all it asks for has no more under
// way at the endpoint than one that does not, and is cut off (CVE-2023-44487).
func TestRapidReset(t *testing.T) {
	var under, most atomic.Int64
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		for now := under.Add(1); ; {
			if before := most.Load(); now <= before || most.CompareAndSwap(before, now) {
				break
			}
		}
		defer under.Add(-1)
		<-r.Context().Done()
	})
	p := start(t, Config{MaxStreams: 8}, tableFor(up), toBackend())
	f := dialFrames(t, p)
	go func() {
		for id := uint32(1); id < 100_000; id += 2 {
			if f.get(id) != nil || f.WriteRSTStream(id, http2.ErrCodeCancel) != nil {
				return
			}
		}
	}()
	got := f.listen()
	if !strings.Contains(got, "ENHANCE_YOUR_CALM") {
		t.Errorf("%.500s", got)
	}
	until(t, func() bool { return under.Load() == 0 && p.streams.Load() == 0 })
	if most.Load() > 2*8 { // an endpoint may notice a little later
		t.Errorf("%d requests at a time at the endpoint", most.Load())
	}
}

// TestCallsAreRetried holds that the statuses which a Route names have another endpoint
// of HTTP/2 asked, with the same body.
func TestCallsAreRetried(t *testing.T) {
	var asked atomic.Int64
	up := serveHTTP2(t, func(w http.ResponseWriter, r *http.Request) {
		if body, err := io.ReadAll(r.Body); err != nil || string(body) != "small" {
			t.Errorf("%q, error %v", body, err)
		}
		if asked.Add(1) < 3 {
			w.WriteHeader(503)
		}
	})
	route := grpcRoute()
	route.Filters = &filter.Filters{Retry: &filter.Retry{Statuses: []int{503}, Always: true}}
	p := start(t, Config{}, tableFor(up), to(route))
	f := dialFrames(t, p)
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: f.header(
		":method", "POST", ":scheme", "http", ":path", "/", ":authority", "x")})
	f.WriteData(1, true, []byte("small"))
	f.out.Flush()
	if text, _ := f.frame(); text != "" { // the settings
		t.Error(text)
	}
	got := ""
	for !strings.Contains(got, "headers 1") {
		text, over := f.frame()
		if got += text; over {
			break
		}
	}
	if !strings.Contains(got, ":status: 200") || asked.Load() != 3 {
		t.Errorf("%s after %d", got, asked.Load())
	}
}
