package proxy

import (
	"context"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7"
)

// TestRouteSays holds that each part of a Route is acted on, in its order, and that
// what is not acted on yet leads nowhere.
func TestRouteSays(t *testing.T) {
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	denied := &l7.Access{Deny: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	allowed := &l7.Access{Allow: denied.Deny}
	tls := &l7.Redirect{Status: 308, Scheme: "https"}
	other := &l7.Redirect{Status: 301, Location: "https://other.example/x", AppendURI: true}
	backends := toBackend()(nil).Backends
	for name, c := range map[string]struct {
		route    l7.Route
		want     int
		location string
	}{
		"https":        {l7.Route{HTTPSRedirect: tls, Redirect: other, Access: denied}, 308, "https://shop.example/a/b?c=d"},
		"redirect":     {l7.Route{Redirect: other, Access: denied}, 301, "https://other.example/x/a/b?c=d"},
		"without URI":  {l7.Route{Redirect: &l7.Redirect{Status: 302, Location: "/new"}}, 302, "/new"},
		"no host":      {l7.Route{Redirect: &l7.Redirect{Status: 302, Location: "/", AppendURI: true}}, 302, "/a/b?c=d"},
		"denied":       {l7.Route{Access: denied, Backends: backends, MaxBody: 1}, 403, ""},
		"allowed":      {l7.Route{Access: allowed, Backends: backends}, 200, ""},
		"body":         {l7.Route{MaxBody: 9, Backends: backends}, 413, ""},
		"body allowed": {l7.Route{MaxBody: 10, Backends: backends}, 200, ""},
		"status":       {l7.Route{Status: 404}, 404, ""},
		"no weight":    {l7.Route{Status: 410, Backends: []l7.Weighted{{Backend: backendID}}}, 410, ""},
		"rewrite":      {l7.Route{Rewrite: &l7.Rewrite{Host: "x"}, Backends: backends}, 200, ""},
		"no HTTP/2":    {l7.Route{Upstream: l7.Upstream{Protocol: l7.UpstreamGRPC}, Backends: backends}, 502, ""},
	} {
		p := start(t, Config{MaxBody: 5000}, tableFor(up), func(*l7.Request) *l7.Route { return &c.route })
		for _, chunked := range []bool{false, true} {
			request, _ := http.NewRequest("POST", p.url()+"/a/./b?c=d", strings.NewReader("ten octets"))
			request.Host = "shop.example:80"
			if chunked {
				request.ContentLength = -1
			}
			response, err := client(t).Do(request)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if response.StatusCode != c.want || response.Header.Get("Location") != c.location {
				t.Errorf("%s, chunked %t: %d, Location %q, want %d, %q", name, chunked, response.StatusCode, response.Header.Get("Location"), c.want, c.location)
			}
		}
	}
}

// TestAccessBehindProxy holds that the client is who a trusted proxy says, and nobody
// else may say it.
func TestAccessBehindProxy(t *testing.T) {
	up := serveHTTP(t, func(http.ResponseWriter, *http.Request) {})
	route := *toBackend()(nil)
	route.Access = &l7.Access{Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
	for _, c := range []struct {
		trusted []netip.Prefix
		want    string
	}{{nil, "403"}, {[]netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, "200"}} {
		p := start(t, Config{TrustedProxies: c.trusted}, tableFor(up), func(*l7.Request) *l7.Route { return &route })
		if got := talk(t, p, "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 "+c.want) {
			t.Errorf("%v: %.80q", c.trusted, got)
		}
	}
}

// TestRouteTimeout holds that a Route's own time for an answer holds.
func TestRouteTimeout(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	up := serveHTTP(t, func(http.ResponseWriter, *http.Request) { <-ctx.Done() })
	route := *toBackend()(nil)
	route.Upstream.Read = 50 * time.Millisecond
	p := start(t, Config{}, tableFor(up), func(*l7.Request) *l7.Route { return &route })
	got := talk(t, p, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	cancel()
	if !strings.HasPrefix(got, "HTTP/1.1 504") {
		t.Errorf("%.80q", got)
	}
}
