package proxy

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/fairlead-net/fairlead/internal/l7"
)

// TestPanics holds that a request which the proxy has a bug with ends its connection, in
// either version, and nothing else; that HTTP/1.1 says so; that it is counted and logged; and that nothing waits
// for it later.
func TestPanics(t *testing.T) {
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "fine") })
	var log bytes.Buffer
	config := Config{Log: slog.New(slog.NewTextHandler(&log, nil))}
	route := func(q *l7.Request) *l7.Route {
		if q.Path == "/bug" {
			panic("a bug")
		}
		return toBackend()(q)
	}
	p := start(t, config, tableFor(up), route)
	if got := talk(t, p, "GET /bug HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"); got != answerOfBug {
		t.Errorf("%q", got)
	}
	two := client2(t)
	if response, err := two.Get(p.url() + "/bug"); err == nil {
		t.Errorf("%v", response)
	}
	response, err := two.Get(p.url() + "/")
	if err != nil || response.StatusCode != 200 {
		t.Fatalf("%v, %v", response, err)
	}
	response.Body.Close()
	if got := talk(t, p, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.Contains(got, "fine") {
		t.Errorf("%q", got)
	}
	counters(t, p, "panics_total", 2)
	until(t, func() bool { return p.streams.Load() == 0 })
	two.CloseIdleConnections()
	p.Close()
	if s := log.String(); !strings.Contains(s, "a bug") || !strings.Contains(s, "(*exchange).run") {
		t.Errorf("%s", s)
	}
}

// TestGuard holds that a panic of another goroutine comes to the one that waits for it,
// with where it was.
func TestGuard(t *testing.T) {
	err := guard(func() error { panic("a bug") })
	var bug *panicked
	if !errors.As(err, &bug) || err.Error() != "a bug" || !strings.Contains(string(bug.stack), "TestGuard") {
		t.Errorf("%v", err)
	}
	if err := guard(func() error { return io.EOF }); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}
