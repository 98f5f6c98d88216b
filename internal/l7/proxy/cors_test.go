package proxy

import (
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"testing"

	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// TestCORS holds what scripts of which origins are told, also with answers of the
// proxy's own, and which requests reach the backend.
func TestCORS(t *testing.T) {
	reached := false
	up := serveHTTP(t, func(w http.ResponseWriter, _ *http.Request) {
		reached = true
		w.Header().Set("Access-Control-Allow-Origin", "https://of.backend")
		w.Header().Set("Vary", "Accept")
	})
	origins, _, err := filter.ParseOrigins("https://*.shop.example")
	if err != nil {
		t.Fatal(err)
	}
	some := &filter.CORS{Origins: origins, Methods: "GET", Headers: "X-A", Expose: "X-B", Credentials: true, MaxAge: 5}
	any := &filter.CORS{Any: true, Methods: "GET", Headers: "X-A", MaxAge: 5}
	denied := &l7.Access{Deny: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	for name, c := range map[string]struct {
		cors         *filter.CORS
		access       *l7.Access
		method, from string
		status       int
		reaches      bool
		origin, vary string
	}{
		"allowed":               {some, nil, "GET", "https://a.shop.example", 200, true, "[https://a.shop.example]", "[Accept Origin]"},
		"other":                 {some, nil, "GET", "https://evil.example", 200, true, "[https://of.backend]", "[Accept]"},
		"preflight":             {some, nil, "OPTIONS", "https://a.shop.example", 204, false, "[https://a.shop.example]", "[Origin]"},
		"preflight, other":      {some, nil, "OPTIONS", "https://evil.example", 200, true, "[https://of.backend]", "[Accept]"},
		"any":                   {any, nil, "GET", "https://evil.example", 200, true, "[*]", "[Accept]"},
		"any, no origin":        {any, nil, "OPTIONS", "", 204, false, "[*]", "[]"},
		"not let in":            {some, denied, "GET", "https://a.shop.example", 403, false, "[https://a.shop.example]", "[Origin]"},
		"not let in, preflight": {some, denied, "OPTIONS", "https://a.shop.example", 204, false, "[https://a.shop.example]", "[Origin]"},
	} {
		p := startFiltered(t, Config{}, up, l7.Route{Access: c.access, Filters: &filter.Filters{CORS: c.cors}}, nil)
		reached = false
		response := ask(t, p, c.method, "/", "Origin: "+c.from)
		h := response.Header
		if response.StatusCode != c.status || reached != c.reaches || fmt.Sprint(h.Values("Access-Control-Allow-Origin")) != c.origin || fmt.Sprint(h.Values("Vary")) != c.vary {
			t.Errorf("%s: %d %v, want %+v", name, response.StatusCode, h, c)
		}
		told := c.origin != "[https://of.backend]"
		if (h.Get("Access-Control-Max-Age") == "5") != told || (h.Get("Access-Control-Allow-Credentials") == "true") != (told && c.cors == some) ||
			(h.Get("Access-Control-Expose-Headers") == "X-B") != (told && c.cors == some) || (h.Get("Access-Control-Allow-Methods") == "GET") != told {
			t.Errorf("%s: %v", name, h)
		}
	}
}

// TestAnswerFields holds that answers get the fields of a ConfigMap, and none is given
// if that is not there.
func TestAnswerFields(t *testing.T) {
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Frame-Options", "of the backend")
		if r.URL.Path == "/bad" {
			w.WriteHeader(500)
		}
	})
	ref := filter.Reference{Purpose: filter.AnswerFields, Namespace: "shop", Name: "fields"}
	content, problems := filter.Read(ref, map[string][]byte{"X-Frame-Options": []byte("DENY"), "X-Seen": []byte("$host $request_uri")})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	route := l7.Route{Filters: &filter.Filters{Headers: &filter.Headers{Answer: ref}}}
	p := startFiltered(t, Config{}, up, route, Contents{ref: content})
	for path, want := range map[string]int{"/a?b": 200, "/bad": 500} {
		response := ask(t, p, "GET", path)
		if got := response.Header; response.StatusCode != want || fmt.Sprint(got["X-Frame-Options"]) != "[DENY]" || got.Get("X-Seen") != "shop.example "+path {
			t.Errorf("%s: %d %v", path, response.StatusCode, got)
		}
	}
	if got := ask(t, startFiltered(t, Config{}, up, route, nil), "GET", "/").StatusCode; got != 503 {
		t.Errorf("without the ConfigMap: %d", got)
	}
	for name, value := range map[string]string{"Content-Length": "1", "A B": "x", "X": "$pid", "Y": "a\r\nb"} {
		if c, problems := filter.Read(ref, map[string][]byte{name: []byte(value)}); c != nil || len(problems) != 1 {
			t.Errorf("%s: %q is taken", name, value)
		}
	}
}

// TestFieldsOfAll holds what an administrator gives all answers and requests, and takes
// off answers.
func TestFieldsOfAll(t *testing.T) {
	var seen http.Header
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header
		w.Header().Set("X-Powered-By", "magic")
	})
	all := filter.Reference{Purpose: filter.AnswerFields, Namespace: "ops", Name: "answers"}
	backends := filter.Reference{Purpose: filter.RequestFields, Namespace: "ops", Name: "requests"}
	contents := Contents{}
	for _, r := range []filter.Reference{all, backends} {
		contents[r], _ = filter.Read(r, map[string][]byte{"X-Of": []byte(r.Name)})
	}
	headers := &filter.Headers{All: all, Backends: backends, Hide: []string{"X-Powered-By"}, HTTPS: "max-age=1"}
	config := Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	p := startFiltered(t, config, up, l7.Route{Filters: &filter.Filters{Headers: headers}}, contents)
	for scheme, want := range map[string]string{"http": "", "https": "max-age=1"} {
		h := ask(t, p, "GET", "/", "X-Forwarded-Proto: "+scheme, "X-Of: client").Header
		if h.Get("X-Of") != "answers" || h.Get("X-Powered-By") != "" || h.Get("Strict-Transport-Security") != want || fmt.Sprint(seen["X-Of"]) != "[requests]" {
			t.Errorf("%s: %v, the backend gets %v", scheme, h, seen["X-Of"])
		}
	}
	fewer := maps.Clone(contents)
	delete(fewer, backends)
	p.SetContents(fewer)
	if got := ask(t, p, "GET", "/").StatusCode; got != 503 {
		t.Errorf("without the ConfigMap: %d", got)
	}
}
