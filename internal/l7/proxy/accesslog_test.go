package proxy

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/accesslog"
	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// lines gets what is written, and waits for it.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// take waits until there are so many lines.
func (l *lines) take(t *testing.T, n int) []string {
	t.Helper()
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		l.mu.Lock()
		text := l.buf.String()
		if strings.Count(text, "\n") >= n {
			l.buf.Reset()
			l.mu.Unlock()
			return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		}
		l.mu.Unlock()
	}
	t.Fatalf("%d lines have not been written", n)
	return nil
}

// TestAccessLog holds what is written of requests in either version, with bodies that
// overwrite the header in the buffer and without, and of the proxy's own answers.
func TestAccessLog(t *testing.T) {
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/large" {
			w.Write(bytes.Repeat([]byte("x"), 1<<20))
			return
		}
		w.WriteHeader(201)
		io.WriteString(w, strings.Repeat("y", int(min(n, 10))))
	})
	inner := toBackend()
	route := func(q *l7.Request) *l7.Route {
		if q.Path == "/none" {
			return nil
		}
		return inner(q)
	}
	out := new(lines)
	p := start(t, Config{AccessLog: &AccessLog{Output: out}, MaxBody: -1}, tableFor(up), route)
	for i, c := range []*http.Client{client(t), client2(t)} {
		for _, try := range []struct {
			path   string
			body   int
			status int
		}{{"/a%20b?c=d", 0, 201}, {"/small", 10, 201}, {"/upload", 300_000, 201}, {"/none", 0, 404}, {"/large", 0, 200}} {
			request, _ := http.NewRequest("POST", p.url()+try.path, strings.NewReader(strings.Repeat("z", try.body)))
			request.Host = "shop.example"
			request.Header.Set("User-Agent", "te\"st")
			request.Header.Set("Referer", "http://elsewhere/")
			request.Header.Set("X-Request-ID", "id-of-it")
			response, err := c.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(response.Body)
			response.Body.Close()
			line := out.take(t, 1)[0]
			path, query, _ := strings.Cut(try.path, "?")
			want := map[string]any{
				"client": "127.0.0.1", "method": "POST", "host": "shop.example", "path": path, "status": float64(try.status),
				"protocol": []string{"HTTP/1.1", "HTTP/2.0"}[i], "user_agent": "te\"st", "referer": "http://elsewhere/", "request_id": "id-of-it",
			}
			if query != "" {
				want["query"] = query
			}
			if try.status == 404 {
				want["reason"] = "no route matches the request"
			} else {
				want["route"], want["rule"], want["kind"], want["backend"] = "shop/web", "/", "Ingress", "shop/web:http"
				want["upstream"], want["upstream_status"] = up.String(), float64(try.status)
			}
			compareLine(t, line, want, try.body, len(body), 1-i)
		}
	}
	talk(t, p, "GET / HTTP/1.1\r\nHost: a\nb\r\n\r\n")
	if line := out.take(t, 1)[0]; !strings.Contains(line, `"status":400`) || !strings.Contains(line, `"reason":`) || strings.Contains(line, `"method"`) {
		t.Error(line)
	}
}

// compareLine compares a line of JSON, of a request and an answer with bodies of such sizes.
// That the headers have bytes too is certain in HTTP/1.1.
func compareLine(t *testing.T, line string, want map[string]any, request, answer, certain int) {
	t.Helper()
	var got map[string]any
	if err := json.Unmarshal([]byte(line), &got); err != nil {
		t.Fatal(line, err)
	}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s: %s is %v, want %v", line, name, got[name], value)
		}
	}
	in, sent := int(got["bytes_in"].(float64)), int(got["bytes_out"].(float64))
	if in < request+100*certain || in > request+2000 || sent < answer+40*certain || sent > answer+answer/10+600 {
		t.Errorf("%s: %d bytes of body were sent, %d came", line, request, answer)
	}
	if began, err := time.Parse(time.RFC3339Nano, got["time"].(string)); err != nil || time.Since(began).Abs() > time.Minute {
		t.Errorf("%s: error %v", line, err)
	}
}

// TestAccessLogOfNginx holds the lines in ingress-nginx's default format, and which are
// left out.
func TestAccessLogOfNginx(t *testing.T) {
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-From", "up \"1\"")
		io.WriteString(w, "hello")
	})
	format, err := accesslog.Parse(accesslog.Default+" $upstream_http_x_from $sent_http_content_length $cookie_a $arg_b", false)
	if err != nil {
		t.Fatal(err)
	}
	skips, err := accesslog.ParseSkips([]string{"/healthz", "~^/quiet/"})
	if err != nil {
		t.Fatal(err)
	}
	route := *toBackend()(nil)
	hidden := route
	hidden.Filters = &filter.Filters{NoAccessLog: true}
	out := new(lines)
	p := start(t, Config{AccessLog: &AccessLog{Output: out, Format: format, Skips: skips}}, tableFor(up), func(q *l7.Request) *l7.Route {
		if q.Path == "/hidden" {
			return &hidden
		}
		return &route
	})
	talk(t, p, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /quiet/a HTTP/1.1\r\nHost: x\r\n\r\nGET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"+
		"GET /seen?b=2 HTTP/1.1\r\nHost: x\r\nUser-Agent: a\"b\\\xff\r\nX-Request-ID: i\r\nCookie: c=d; a=1\r\nAuthorization: Basic am9lOnNlY3JldA==\r\n\r\n")
	line := out.take(t, 1)[0]
	before, rest, _ := strings.Cut(line, "[")
	_, rest, _ = strings.Cut(rest, "] ")
	if want := "127.0.0.1 - joe "; before != want {
		t.Errorf("%q, want %q", before, want)
	}
	fields := strings.Fields(rest)
	for i := range fields {
		if strings.Contains(fields[i], ".") && strings.HasPrefix(fields[i], "0.") {
			fields[i] = "T"
		}
	}
	if want := `"GET /seen?b=2 HTTP/1.1" 200 5 "-" "a\x22b\x5C\xFF" 128 T [shop-web-http] [] ` + up.String() + ` 5 T 200 i up \x221\x22 5 1 2`; strings.Join(fields, " ") != want {
		t.Errorf("%s, want\n%s", strings.Join(fields, " "), want)
	}
}

// TestAccessLogNeverBlocks holds that requests go on when nobody takes the lines, and
// that those which are dropped are counted.
func TestAccessLogNeverBlocks(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	p := start(t, Config{}, tableFor(), toBackend())
	b := newLogbook(&AccessLog{Output: writer}, new(lineCounts), p.config.Log)
	stop := make(chan struct{})
	p.books.Go(func() { b.run(stop) })
	line := bytes.Repeat([]byte("x"), 1000)
	const all = 5000
	for range all {
		b.add(line) // would never return if it waited
	}
	if b.full.Load() == 0 || b.full.Load() > all-maxBook/1000 {
		t.Errorf("%d lines of %d were dropped", b.full.Load(), all)
	}
	go io.Copy(io.Discard, reader)
	close(stop)
	p.waitForBooks()
	if b.written.Load()+b.full.Load()+b.failed.Load() != all {
		t.Errorf("%d written, %d and %d dropped, of %d", b.written.Load(), b.full.Load(), b.failed.Load(), all)
	}
	writer.Close()
}

// TestAccessLogFile holds that a file which was moved away is made anew, and that lines
// which cannot be written are counted.
func TestAccessLogFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	b := newLogbook(&AccessLog{Path: path}, new(lineCounts), start(t, Config{}, tableFor(), toBackend()).config.Log)
	b.add([]byte("one\n"))
	b.flush()
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	b.add([]byte("two\n"))
	b.flush()
	for name, want := range map[string]string{path: "two\n", path + ".1": "one\n"} {
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("%s: %q, error %v", name, got, err)
		}
	}
	b.file.Close()
	b = newLogbook(&AccessLog{Path: filepath.Join(path, "no")}, new(lineCounts), b.log)
	b.add([]byte("three\n"))
	b.flush()
	if b.failed.Load() != 1 || b.written.Load() != 0 {
		t.Errorf("%d failed, %d were written", b.failed.Load(), b.written.Load())
	}
}

// TestAccessLogTLS holds that what was agreed on by the handshake is written.
func TestAccessLogTLS(t *testing.T) {
	out := new(lines)
	format, _ := accesslog.Parse("$ssl_protocol $ssl_server_name $scheme $https $ssl_cipher", false)
	up := serveHTTP(t, func(http.ResponseWriter, *http.Request) {})
	p := startTLSWith(t, Config{AccessLog: &AccessLog{Output: out, Format: format}}, up)
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "shop.example"}}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Get("https://" + p.Addresses("web")[0].String())
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if line := out.take(t, 1)[0]; !strings.HasPrefix(line, "TLSv1.3 shop.example https on TLS_") {
		t.Error(line)
	}
}
