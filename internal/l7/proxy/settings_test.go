package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/accesslog"
	"github.com/fairlead-net/fairlead/internal/l7/nginx"
)

// TestSettings holds that settings change under an open connection: what the Table says
// of the engine, and what the Config does; and that each is as it was when it is said no
// more.
func TestSettings(t *testing.T) {
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, r.Header.Get("X-Real-Ip"))
	})
	p := start(t, Config{}, tableFor(up), toBackend())
	conn := dialWeb(t, p)
	answers := bufio.NewReader(conn)
	ask := func(path string) int {
		t.Helper()
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n", path)
		r, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		return r.StatusCode
	}
	apply := func(e *nginx.Engine) {
		t.Helper()
		table := tableFor(up)
		table.Engine = e
		if err := p.Apply(context.Background(), table); err != nil {
			t.Fatal(err)
		}
	}
	long := "/" + strings.Repeat("a", 3000)
	if got := ask(long); got != 200 {
		t.Fatal(got)
	}
	everyone := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
	apply(&nginx.Engine{MaxLine: 4096, MaxHead: 4096, IdleTimeout: time.Hour, Trusted: everyone})
	if got := ask(long); got != 200 { // the same connection
		t.Fatal(got)
	}
	if s := p.settings(); s.MaxLine != 4096 || s.IdleTimeout != time.Hour || s.HeadTimeout != time.Minute {
		t.Errorf("%+v", s)
	}
	if got := get(t, client(t), p.url(), "X-Forwarded-For", "192.0.2.1"); got != "192.0.2.1" {
		t.Errorf("a client of a new connection is %s", got)
	}
	apply(&nginx.Engine{MaxLine: 2048, MaxHead: 4096, Trusted: []netip.Prefix{}})
	if later, err := p.SetConfig(Config{TrustedProxies: everyone, MaxStreams: 7, HTTP3: true}); err != nil || len(later) != 2 {
		t.Errorf("%v %v", later, err)
	}
	if got := get(t, client(t), p.url(), "X-Forwarded-For", "192.0.2.1"); got != "127.0.0.1" {
		t.Errorf("what the Table says does not go before the Config: the client is %s", got)
	}
	if got := ask(long); got != 414 {
		t.Errorf("status %d", got)
	}
	apply(nil)
	if s := p.settings(); s.MaxLine != 8<<10 || s.MaxStreams != 7 || len(s.TrustedProxies) != 1 || s.HTTP3 {
		t.Errorf("%+v", s)
	}
	if _, err := p.SetConfig(Config{MaxStreams: -1}); err == nil || p.settings().MaxStreams != 7 {
		t.Error("a Config that is none counts", err)
	}
}

func get(t *testing.T, c *http.Client, url string, field, value string) string {
	t.Helper()
	r, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set(field, value)
	answer, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// TestSettingsLog holds that requests are written down as the settings of the moment say.
func TestSettingsLog(t *testing.T) {
	up := serveHTTP(t, func(http.ResponseWriter, *http.Request) {})
	parse := func(text string) *accesslog.Format {
		f, err := accesslog.Parse(text, false)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	var first, second lines
	p := start(t, Config{AccessLog: &AccessLog{Output: &first, Format: parse("one $status")}}, tableFor(up), toBackend())
	c := client(t)
	get(t, c, p.url(), "A", "b")
	if got := first.take(t, 1); got[0] != "one 200" {
		t.Errorf("%q", got)
	}
	table := tableFor(up)
	table.Engine = &nginx.Engine{Format: parse("two $upstream_http_date $status")}
	if err := p.Apply(context.Background(), table); err != nil {
		t.Fatal(err)
	}
	get(t, c, p.url(), "A", "b") // the same connection
	if got := first.take(t, 1); !strings.HasPrefix(got[0], "two ") || !strings.HasSuffix(got[0], " GMT 200") {
		t.Errorf("%q", got)
	}
	if _, err := p.SetConfig(Config{AccessLog: &AccessLog{Output: &second, Format: parse("three $status")}}); err != nil {
		t.Fatal(err)
	}
	if err := p.Apply(context.Background(), tableFor(up)); err != nil {
		t.Fatal(err)
	}
	get(t, c, p.url(), "A", "b")
	if got := second.take(t, 1); got[0] != "three 200" {
		t.Errorf("%q", got)
	}
	table.Engine = &nginx.Engine{NoLog: true}
	if err := p.Apply(context.Background(), table); err != nil || p.book.Load() != nil {
		t.Errorf("requests are written down still: %v", err)
	}
	get(t, c, p.url(), "A", "b")
	if written := p.lines.written.Load(); written != 3 {
		t.Errorf("%d lines were written", written)
	}
}

// TestSettingsTLS holds that a version of TLS that is allowed no more is not spoken any
// more.
func TestSettingsTLS(t *testing.T) {
	p := startTLS(t, serveHTTP(t, func(http.ResponseWriter, *http.Request) {}))
	dial := func() error {
		conn, err := tls.Dial("tcp", p.Addresses("web")[0].String(), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, ServerName: "a"})
		if err == nil {
			conn.Close()
		}
		return err
	}
	if err := dial(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.SetConfig(Config{TLS13: true}); err != nil {
		t.Fatal(err)
	}
	if err := dial(); err == nil {
		t.Error("TLS 1.2 is spoken still")
	}
}

// TestStreamPreambles holds that a Listener of TCP which demands the PROXY protocol takes
// it from everybody, and tells the endpoint in its turn.
func TestStreamPreambles(t *testing.T) {
	up := serveRaw(t, func(conn net.Conn) { _, _ = io.Copy(conn, conn) })
	table := l7.Table{Backends: backends(endpoints(up)...), Listeners: map[string]*l7.Listener{"web": {
		Name: "web", Protocol: l7.TCP, Preambles: true, Streams: l7.NewStreams(map[string]*l7.Stream{
			"": {Backends: []l7.Weighted{{Backend: backendID, Weight: 1}}, ProxyProtocol: 1},
		}),
	}}}
	p := start(t, Config{}, table, nil)
	say := func(text string) string {
		conn, err := net.Dial("tcp", p.Addresses("web")[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		fmt.Fprint(conn, text)
		_ = conn.(*net.TCPConn).CloseWrite()
		b, _ := io.ReadAll(conn)
		return string(b)
	}
	const head = "PROXY TCP4 192.0.2.1 192.0.2.2 1000 2000\r\n"
	if got := say(head + "hello"); got != head+"hello" {
		t.Errorf("%q", got)
	}
	if got := say("no preamble, but long enough to be one"); got != "" {
		t.Errorf("%q", got)
	}
	// Others' word does not count where there are ranges; but they have to say it.
	if _, err := p.SetConfig(Config{ProxyProtocol: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}); err != nil {
		t.Fatal(err)
	}
	if got := say(head + "hello"); !strings.HasPrefix(got, "PROXY TCP4 127.0.0.1 127.0.0.1 ") || !strings.HasSuffix(got, "\r\nhello") {
		t.Errorf("%q", got)
	}
}
