package proxy

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/filter"
	"github.com/fairlead-net/fairlead/internal/l7/nginx"
)

// TestSnippet holds that what is read of a snippet is what is done.
func TestSnippet(t *testing.T) {
	var seen http.Header
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header
		w.Header().Set("X-Powered-By", "magic")
		w.Header().Set("X-Set", "of the backend")
		if r.URL.Path == "/bad" {
			w.WriteHeader(500)
		}
	})
	o, problems := nginx.Read(map[string]string{nginx.Prefix + "configuration-snippet": `
		add_header X-Usual u; add_header X-Always $host always; more_set_headers "X-Set: s"; more_clear_headers X-Powered-By;
		proxy_set_header X-Forwarded-Proto https; proxy_set_header X-Real-IP "$http_x_who"; proxy_set_header X-Gone ""; proxy_set_header X-Forwarded-Prefix /p;
		if ($http_user_agent ~* bot) { return 403; }
		rewrite ^/old/(.*) /new/$1 permanent;
		if ($uri = /text) { return 200 "for $host"; }
	`, nginx.Prefix + "server-snippet": "if ($http_x_teapot) { return 418; }"})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	p := startFiltered(t, Config{}, up, l7.Route{Filters: &filter.Filters{Snippet: o.Filters.Snippet, CORS: &filter.CORS{Any: true}}}, nil)
	response := ask(t, p, "GET", "/", "X-Gone: x", "X-Who: me", "X-Forwarded-Proto: gopher")
	h := response.Header
	if response.StatusCode != 200 || h.Get("X-Usual") != "u" || h.Get("X-Always") != "shop.example" || fmt.Sprint(h["X-Set"]) != "[s]" || h.Get("X-Powered-By") != "" {
		t.Errorf("%d %v", response.StatusCode, h)
	}
	if fmt.Sprint(seen["X-Forwarded-Proto"], seen["X-Real-Ip"], seen["X-Gone"], seen["X-Forwarded-Prefix"], seen["X-Forwarded-For"]) != "[https] [me] [] [/p] [127.0.0.1]" {
		t.Errorf("the backend gets %v", seen)
	}
	if h := ask(t, p, "GET", "/bad").Header; h.Get("X-Usual") != "" || h.Get("X-Always") != "shop.example" {
		t.Errorf("with an error: %v", h)
	}
	for _, c := range []struct {
		path, field string
		status      int
		location    string
	}{
		{"/", "User-Agent: some Bot", 403, ""}, {"/old/a%20b?c", "A: b", 301, "/new/a%20b?c"}, {"/text", "A: b", 200, ""}, {"/old/x", "X-Teapot: 1", 418, ""},
	} {
		seen = nil
		response := ask(t, p, "GET", c.path, c.field)
		if response.StatusCode != c.status || response.Header.Get("Location") != c.location || seen != nil || response.Header.Get("X-Always") == "" {
			t.Errorf("%+v: %d %v", c, response.StatusCode, response.Header)
		}
	}
	got := talk(t, p, "POST /text HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhiHEAD /text HTTP/1.1\r\nHost: y\r\n\r\n")
	body, head, _ := strings.Cut(got, "for x")
	if !strings.Contains(body, "Content-Type: text/html\r\nX-Usual: u\r\n") || !strings.HasPrefix(head, "HTTP/1.1 200 OK") || strings.Contains(head, "for y") {
		t.Errorf("%q", got)
	}
}
