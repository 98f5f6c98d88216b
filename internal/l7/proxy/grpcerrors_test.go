package proxy

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// serve2 runs a server of HTTP/2 without TLS.
func serve2(t testing.TB, handler http.HandlerFunc) netip.AddrPort {
	s := httptest.NewUnstartedServer(handler)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return addressOf(s)
}

// TestErrorsOverHTTP2 holds that what is done after a status is done as well where
// endpoints speak HTTP/2: another one is asked, and another backend answers, whether the
// request was sent whole or as it came.
func TestErrorsOverHTTP2(t *testing.T) {
	var asked atomic.Int64
	failing := func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(503)
		io.WriteString(w, "own")
	}
	pages := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "page for %s %s", r.Header.Get("X-Code"), r.Header.Get("X-Format"))
	})
	id := l7.BackendID{Service: backendID.Service, Port: "errors"}
	table := tableFor(serve2(t, failing), serve2(t, failing))
	table.Backends = table.Backends.Set(id, &l7.Backend{ID: id, Endpoints: endpoints(pages)})
	route := grpcRoute()
	route.Errors = &l7.Errors{Backend: id, Statuses: []int{503}}
	route.Filters = &filter.Filters{Retry: &filter.Retry{Statuses: []int{503}, Tries: 2}}
	p := start(t, Config{}, table, to(route))
	large := strings.Repeat("x", 100_000)
	for name, c := range map[string]struct {
		method, body string
		asked        int64
	}{"none": {"GET", "", 2}, "small": {"PUT", "hi", 2}, "large": {"PUT", large, 1}} {
		asked.Store(0)
		request := c.method + " / HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n"
		if c.body != "" {
			request += fmt.Sprintf("Content-Length: %d\r\n", len(c.body))
		}
		got := talk(t, p, request+"\r\n"+c.body)
		if !strings.Contains(got, "page for 503 text/html") || asked.Load() != c.asked {
			t.Errorf("%s: asked %d, want %d; %q", name, asked.Load(), c.asked, got)
		}
	}
}
