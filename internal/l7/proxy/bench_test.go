package proxy

import (
	"encoding/binary"
	"io"
	"net"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/fairlead-net/fairlead/internal/l7/accesslog"
	"github.com/fairlead-net/fairlead/internal/l7/tracing"
)

// answer1K is an answer of 1 KB, without anything that takes time to make.
var answer1K = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\r\n" + strings.Repeat("x", 1024)

const request1K = "GET /path HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: bench\r\nAccept: */*\r\nCookie: a=b\r\n\r\n"

// quick answers each read with the same bytes.
func quick(answer string) func(net.Conn) {
	reply := []byte(answer)
	return func(conn net.Conn) {
		buffer := make([]byte, 16<<10)
		for {
			if _, err := conn.Read(buffer); err != nil {
				return
			}
			if _, err := conn.Write(reply); err != nil {
				return
			}
		}
	}
}

// roundTrip returns what sends a request and waits for the answer.
func roundTrip(t testing.TB, p *Proxy) func() {
	conn, err := net.Dial("tcp", p.Addresses("web")[0].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	request, buffer := []byte(request1K), make([]byte, 16<<10)
	return func() {
		if _, err := conn.Write(request); err != nil {
			t.Fatal(err)
		}
		for total := 0; total < len(answer1K); {
			n, err := conn.Read(buffer)
			if err != nil {
				t.Fatal(err)
			}
			if total += n; string(buffer[:12]) != "HTTP/1.1 200" && total == n {
				t.Fatalf("%.100s", buffer)
			}
		}
	}
}

func BenchmarkRequest(b *testing.B) {
	up := serveRaw(b, quick(answer1K))
	for name, log := range map[string]*AccessLog{"plain": nil, "logged": {Output: io.Discard}} {
		b.Run(name, func(b *testing.B) {
			once := roundTrip(b, start(b, Config{AccessLog: log}, tableFor(up), toBackend()))
			once()
			b.ReportAllocs()
			for b.Loop() {
				once()
			}
		})
	}
}

// TestNoAllocations holds what the engine promises: a usual request allocates
// nothing, in any goroutine.
func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	nginx, err := accesslog.Parse(accesslog.Default, false)
	if err != nil {
		t.Fatal(err)
	}
	never, err := tracing.ParseSampler("always_off", 0)
	if err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]Config{
		"plain": {}, "JSON": {AccessLog: &AccessLog{Output: io.Discard}}, "nginx": {AccessLog: &AccessLog{Output: io.Discard, Format: nginx}},
		"not sampled": {Tracing: &Tracing{Sampler: never}},
	} {
		up := serveRaw(t, quick(answer1K))
		once := roundTrip(t, start(t, config, tableFor(up), toBackend()))
		for range 100 {
			once()
		}
		func() {
			defer debug.SetGCPercent(debug.SetGCPercent(-1)) // which would empty the pools
			if n := testing.AllocsPerRun(2000, once); n != 0 {
				t.Errorf("%s: %v allocations a request", name, n)
			}
		}()
	}
}

// streams returns what sends so many requests of HTTP/2 at once, and waits for all
// answers.
func streams(t testing.TB, p *Proxy, n int) func() {
	f := dialFrames(t, p)
	f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
	f.WriteWindowUpdate(0, 1<<30)
	f.get(1, "user-agent", "bench", "accept", "*/*")
	f.hear()
	for ended := false; !ended; {
		text, _ := f.frame()
		ended = strings.HasPrefix(text, "data")
	}
	id, block := uint32(3), f.header(":method", "GET", ":scheme", "http", ":path", "/", ":authority", "shop.example", "user-agent", "bench", "accept", "*/*")
	buffer := make([]byte, 64<<10)
	var sent []byte
	return func() {
		sent = sent[:0]
		for range n {
			sent = append(sent, 0, 0, byte(len(block)), 1, 5)
			sent = append(binary.BigEndian.AppendUint32(sent, id), block...)
			id += 2
		}
		if _, err := f.conn.Write(sent); err != nil {
			t.Fatal(err)
		}
		for total := 0; total < n*(len(answer1K)-len("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\r\n")+2*9+1+2+10+2+4); {
			m, err := f.conn.Read(buffer)
			if err != nil {
				t.Fatal(err)
			}
			total += m
		}
		f.conn.SetDeadline(time.Now().Add(20 * time.Second))
	}
}

func BenchmarkHTTP2(b *testing.B) {
	for _, n := range []int{1, 32} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			up := serveRaw(b, quick(answer1K))
			once := streams(b, start(b, Config{}, tableFor(up), toBackend()), n)
			once()
			b.ReportAllocs()
			for i := 0; i < b.N; i += n {
				once()
			}
		})
	}
}
