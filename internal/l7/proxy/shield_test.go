package proxy

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/filter"
	"github.com/fairlead-net/fairlead/internal/l7/http2"
)

// heard is an output that several may write to.
type heard struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *heard) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *heard) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestClockPanics holds that a bug in what is done every tick ends neither the process nor
// what else is done then, is counted each time and logged once.
func TestClockPanics(t *testing.T) {
	var log heard
	up := serveHTTP(t, func(http.ResponseWriter, *http.Request) {})
	config := Config{Log: slog.New(slog.NewTextHandler(&log, nil)), BodyTimeout: 40 * time.Millisecond, UpstreamIdleTimeout: 40 * time.Millisecond}
	old := desired.Ref{Name: "old"}
	p := startChanged(t, config, tableFor(up), toBackend(), func(p *Proxy) {
		p.tally.all[key{rule: "bug"}] = nil
		p.limiters.get(old).used.Store(-1 << 62)
	})
	until(t, func() bool {
		p.limiters.mu.RLock()
		defer p.limiters.mu.RUnlock()
		return p.tally.panics.Load() > 2 && p.limiters.of[old] == nil
	})
	if status := ask(t, p, "GET", "/").StatusCode; status != 200 {
		t.Error(status)
	}
	if s := log.String(); strings.Count(s, "the proxy has a bug") != 1 || !strings.Contains(s, "(*tallies).prune") {
		t.Errorf("%s", s)
	}
}

// waitingAt has requests wait for an endpoint of HTTP/2 that does not answer, and returns
// their answers and the connection to it.
func waitingAt(t *testing.T, p *Proxy, arrived chan bool) (answer chan string, on *trunk) {
	t.Helper()
	answer = make(chan string, 1)
	go func() { answer <- talk(t, p, "POST /wait HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n") }()
	<-arrived
	b, _ := p.state.Load().backends.Get(backendID)
	l := &b.all[0].plain.trunks
	l.mu.Lock()
	defer l.mu.Unlock()
	return answer, l.all[0]
}

// TestTrunkPanics holds that no request waits for ever when the proxy has a bug with a
// connection to an endpoint that carries several, whichever goroutine meets it.
func TestTrunkPanics(t *testing.T) {
	arrived, end := make(chan bool, 1), make(chan bool)
	up := serveHTTP2(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			arrived <- true
			<-end
		}
	})
	t.Cleanup(func() { close(end) })
	for name, c := range map[string]struct {
		meet func(*Proxy, *trunk)
		want string
	}{
		"reader, and what ends streams": {func(_ *Proxy, on *trunk) {
			on.locked(func() { on.h2.Reset = func(*http2.Stream) { panic("a bug") } })
			on.socket.TCPConn.CloseRead()
		}, "HTTP/1.1 502"},
		"clock": {func(_ *Proxy, on *trunk) {
			on.locked(func() { on.h2 = nil }) // the request that waits meets it too, when it lets go of its stream
		}, "HTTP/1.1 500"},
		"another request that writes": {func(p *Proxy, on *trunk) {
			// One after another, so that it is this request whose goroutine writes, and not one
			// that is still at its own or at the answer to the endpoint's settings.
			if got := talk(t, p, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 200") {
				t.Errorf("before that %q", got)
			}
			until(t, func() (quiet bool) {
				on.locked(func() { quiet = !on.writing && len(on.h2.Out) == 0 && on.h2.Active() == 1 })
				return quiet
			})
			on.locked(func() { on.write = func([]byte) (int, error) { panic("a bug") } })
			if got := talk(t, p, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); got != answerOfBug {
				t.Errorf("%q", got)
			}
		}, "HTTP/1.1 502"},
	} {
		config := Config{}
		if name == "clock" {
			config.BodyTimeout = 40 * time.Millisecond // so that it looks
		}
		p := start(t, config, tableFor(up), to(grpcRoute()))
		answer, on := waitingAt(t, p, arrived)
		c.meet(p, on)
		select {
		case got := <-answer:
			if !strings.HasPrefix(got, c.want) {
				t.Errorf("%s: %q, want %s", name, got, c.want)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s: the request waits", name)
		}
		until(t, func() bool { return p.tally.panics.Load() > 0 })
		if got := talk(t, p, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 200") {
			t.Errorf("%s: after that %q", name, got)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestMirrorPanics holds that a bug with the copy of a request ends nothing else.
func TestMirrorPanics(t *testing.T) {
	up := serveHTTP(t, func(http.ResponseWriter, *http.Request) {})
	route := *toBackend()(nil)
	route.Filters = &filter.Filters{Mirror: &filter.Mirror{URL: template(t, "http://mirror.example/")}}
	p := startChanged(t, Config{}, tableFor(up), to(&route), func(p *Proxy) {
		p.asker.Transport = roundTripper(func(*http.Request) (*http.Response, error) { panic("a bug") })
	})
	if status := ask(t, p, "GET", "/").StatusCode; status != 200 {
		t.Error(status)
	}
	until(t, func() bool {
		p.mirrors.mu.Lock()
		defer p.mirrors.mu.Unlock()
		return p.tally.panics.Load() == 1 && p.mirrors.taken == 0
	})
}

// writer is an output that f writes to.
type writer func([]byte) (int, error)

func (f writer) Write(b []byte) (int, error) { return f(b) }

// TestLogbookPanics holds that a bug of who writes lines down ends nothing else, and that
// later lines are written.
func TestLogbookPanics(t *testing.T) {
	up := serveHTTP(t, func(http.ResponseWriter, *http.Request) {})
	var calls atomic.Int64
	var got heard
	output := writer(func(b []byte) (int, error) {
		if calls.Add(1) == 1 {
			panic(errors.New("a bug"))
		}
		return got.Write(b)
	})
	p := start(t, Config{AccessLog: &AccessLog{Output: output}}, tableFor(up), toBackend())
	ask(t, p, "GET", "/one")
	until(t, func() bool { return p.tally.panics.Load() == 1 && p.lines.failed.Load() == 1 })
	ask(t, p, "GET", "/two")
	until(t, func() bool { return strings.Contains(got.String(), "/two") })
}

// TestPassagePanics holds that a bug with a connection that is passed on leaves none to an
// endpoint, nor anything counted.
func TestPassagePanics(t *testing.T) {
	ended := make(chan bool, 1)
	up := serveRaw(t, func(conn net.Conn) {
		io.Copy(io.Discard, conn)
		ended <- true
	})
	limited := balanced(func(by *l7.Balance) { by.Limits.Connections = 1 }, up)
	table := streamTable(l7.TCP, anyStream(streamTo("")))
	table.Backends = limited.Backends
	p := start(t, Config{}, table, nil)
	client := netip.MustParseAddrPort("127.0.0.1:1")
	one := &passage{
		conn:  &conn{listener: p.listeners["web"], proxy: p, said: &[2]netip.AddrPort{client, client}}, // and no socket, which is met once the endpoint is connected
		state: p.state.Load(), stream: table.Listeners["web"].Stream(""), begin: p.clock.now(),
	}
	p.shield(one.run)
	if p.tally.panics.Load() != 1 || one.up == nil {
		t.Fatal("there was no bug with a connection to the endpoint")
	}
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("the connection to the endpoint stays open")
	}
	b := backendOf(p)
	if n, m, active := b.shared.counts.Load(), one.meter.open.Load(), b.all[0].active.Load(); n != 0 || m != 0 || active != 0 {
		t.Errorf("counted are %x by the limits, %d by the metrics, %d with the endpoint", n, m, active)
	}
}
