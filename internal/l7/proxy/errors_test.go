package proxy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// TestErrorPages holds that another backend answers in place of errors, of the backend
// and of the proxy, with what it has to know, and that the connection goes on.
func TestErrorPages(t *testing.T) {
	var asked *http.Request
	pages := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r
		w.WriteHeader(404)
		io.WriteString(w, "page for "+r.Header.Get("X-Code"))
	})
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		var status int
		fmt.Sscan(strings.TrimPrefix(r.URL.Path, "/"), &status)
		w.WriteHeader(status)
		io.WriteString(w, "own")
	})
	id := l7.BackendID{Service: backendID.Service, Port: "errors"}
	none := l7.BackendID{Service: backendID.Service, Port: "none"}
	table := tableFor(up)
	table.Backends = table.Backends.Set(id, &l7.Backend{ID: id, Endpoints: endpoints(pages)}).Set(none, &l7.Backend{ID: none})
	p := start(t, Config{}, table, func(q *l7.Request) *l7.Route {
		route := *toBackend()(nil)
		route.Errors = &l7.Errors{Backend: id, Statuses: []int{403, 503}, Absent: true}
		switch q.Path {
		case "/denied":
			route.Access = &l7.Access{Deny: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
		case "/absent":
			route.Backends = []l7.Weighted{{Backend: none, Weight: 1}}
		case "/503/no-page":
			route.Errors.Backend = none
		}
		return &route
	})
	send := func(path string) string {
		return "POST " + path + " HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\nX-Code: 1\r\nContent-Length: 2\r\n\r\nhi"
	}
	for path, want := range map[string]string{
		"/200": "200 own", "/500": "500 own", "/503?a": "404 page for 503", "/403": "404 page for 403", "/denied": "404 page for 403", "/absent": "404 page for 503",
	} {
		asked = nil
		got := talk(t, p, send(path)+"GET /200 HTTP/1.1\r\nHost: x\r\n\r\n")
		if code, _, _ := strings.Cut(want, " "); !strings.HasPrefix(got, "HTTP/1.1 "+code) || !strings.Contains(got, want[4:]+"HTTP/1.1 200 OK\r\n") && !strings.Contains(got, want[4:]+"\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n") {
			t.Errorf("%s: %q, want %s, then 200", path, got, want)
		}
		if asked == nil {
			continue
		}
		h := asked.Header
		if asked.Method != "GET" || asked.URL.Path != "/" || len(h["X-Code"]) != 1 || h.Get("X-Format") != "text/html" || h.Get("X-Original-Uri") != path ||
			h.Get("X-Namespace") != "shop" || h.Get("X-Ingress-Name") != "web" || h.Get("Content-Length") != "" {
			t.Errorf("%s: asked %s %s %v", path, asked.Method, asked.URL, h)
		}
	}
	if got := talk(t, p, send("/503/no-page")); !strings.HasPrefix(got, "HTTP/1.1 503") {
		t.Errorf("without a page: %q", got)
	}
}

// TestNextUpstream holds after which answers, and of which requests, another endpoint is
// asked.
func TestNextUpstream(t *testing.T) {
	var requests atomic.Int64
	bad := func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Body", string(body))
		w.WriteHeader(503)
	}
	addresses := []netip.AddrPort{serveHTTP(t, bad), serveHTTP(t, bad), serveHTTP(t, bad), serveHTTP(t, bad)}
	for name, c := range map[string]struct {
		retry  filter.Retry
		method string
		want   int64
	}{
		"usual":        {filter.Retry{}, "GET", 1},
		"status":       {filter.Retry{Statuses: []int{503}}, "GET", 3},
		"other status": {filter.Retry{Statuses: []int{502}}, "GET", 1},
		"two":          {filter.Retry{Statuses: []int{503}, Tries: 2}, "PUT", 2},
		"post":         {filter.Retry{Statuses: []int{503}}, "POST", 1},
		"post too":     {filter.Retry{Statuses: []int{503}, Always: true, Tries: 4}, "POST", 4},
		"off":          {filter.Retry{Off: true, Statuses: []int{503}}, "GET", 1},
		"no time":      {filter.Retry{Statuses: []int{503}, Within: 1}, "GET", 1},
	} {
		p := startFiltered(t, Config{}, addresses[0], l7.Route{Filters: &filter.Filters{Retry: &c.retry}}, nil)
		apply(t, p, addresses...)
		for range 2 { // over new connections, then over idle ones
			requests.Store(0)
			got := talk(t, p, c.method+" / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
			if requests.Load() != c.want || !strings.HasPrefix(got, "HTTP/1.1 503") || !strings.Contains(got, "X-Body: hi\r\n") {
				t.Errorf("%s: %d requests, want %d; %q", name, requests.Load(), c.want, got)
			}
		}
	}
	// A connection that breaks: only Off keeps a request from another endpoint.
	broken := serveRaw(t, func(conn net.Conn) {})
	for _, off := range []bool{false, true} {
		p := startFiltered(t, Config{}, broken, l7.Route{Filters: &filter.Filters{Retry: &filter.Retry{Off: off}}}, nil)
		apply(t, p, broken, serveHTTP(t, func(http.ResponseWriter, *http.Request) {}))
		statuses := map[int]bool{}
		for range 4 {
			statuses[ask(t, p, "GET", "/").StatusCode] = true
		}
		if statuses[502] != off || !statuses[200] {
			t.Errorf("off %t: %v", off, statuses)
		}
	}
}

// TestRevised holds what clients get of a backend's redirects and cookies.
func TestRevised(t *testing.T) {
	up := serveHTTP(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "http://inner/a")
		w.Header().Add("Set-Cookie", "a=b; Path=/two/x")
		w.Header().Add("Set-Cookie", "c=d; Domain=inner")
		w.WriteHeader(302)
	})
	a := &filter.Answer{
		Redirects: []filter.Replacement{{From: "http://inner/", To: template(t, "https://$host/")}}, CookiePaths: []filter.Replacement{{From: "/two/", To: template(t, "/")}},
		CookieDomains: []filter.Replacement{{From: "inner", To: template(t, "$host")}},
	}
	p := startFiltered(t, Config{}, up, l7.Route{Filters: &filter.Filters{Answer: a}}, nil)
	if h := ask(t, p, "GET", "/").Header; h.Get("Location") != "https://shop.example/a" || fmt.Sprint(h["Set-Cookie"]) != "[a=b; Path=/x c=d; Domain=shop.example]" {
		t.Errorf("%v", h)
	}
}
