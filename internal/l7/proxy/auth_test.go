package proxy

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// reachAll lets requests of the proxy's own reach loopback.
func reachAll(p *Proxy) { p.forbidden = func(netip.Addr) bool { return false } }

// startFiltered serves a Route to an upstream, with Filters, and lets requests of the
// proxy's own reach loopback.
func startFiltered(t *testing.T, config Config, up netip.AddrPort, route l7.Route, contents Contents) *Proxy {
	t.Helper()
	base := *toBackend()(nil)
	base.Filters, base.Access, base.Upstream = route.Filters, route.Access, route.Upstream
	p := startChanged(t, config, tableFor(up), to(&base), reachAll)
	p.SetContents(contents)
	return p
}

// ask sends a request with some fields, each "NAME: VALUE".
func ask(t *testing.T, p *Proxy, method, path string, fields ...string) *http.Response {
	t.Helper()
	request, err := http.NewRequest(method, p.url()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = "shop.example"
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		request.Header.Add(name, value)
	}
	response, err := client(t).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response
}

func template(t *testing.T, text string) filter.Template {
	t.Helper()
	made, err := filter.ParseTemplate(text)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func basicOf(name, password string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
}

var users = filter.Reference{Purpose: filter.UserFile, Namespace: "shop", Name: "users"}

// letsIn are Contents with one user, anna, whose password is secret.
func letsIn(t *testing.T) Contents {
	t.Helper()
	content, problems := filter.Read(users, map[string][]byte{"auth": []byte("anna:$apr1$saltsalt$LrttParrLPdxvgutaSXWJ0\n")})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return Contents{users: content}
}

func TestBasicAuth(t *testing.T) {
	var arrived atomic.Int64
	up := serveHTTP(t, func(_ http.ResponseWriter, r *http.Request) {
		arrived.Add(1)
		if _, has := r.Header["Authorization"]; has {
			t.Errorf("the backend gets %v", r.Header)
		}
	})
	route := l7.Route{Filters: &filter.Filters{Auth: &filter.Auth{Basic: &filter.Basic{Users: users, Realm: "Shop"}}}}
	p := startFiltered(t, Config{}, up, route, letsIn(t))
	for authorization, want := range map[string]int{
		basicOf("anna", "secret"): 200, strings.Replace(basicOf("anna", "secret"), "Basic", "bAsIc ", 1): 200,
		basicOf("anna", "Secret"): 401, basicOf("", ""): 401, basicOf("nobody", "secret"): 401,
		"Authorization: Bearer x": 401, "Authorization: Basic ?": 401, "Authorization: Basic": 401, "X-Nothing: x": 401,
	} {
		before := arrived.Load()
		response := ask(t, p, "GET", "/", authorization)
		if response.StatusCode != want || arrived.Load()-before != map[int]int64{200: 1, 401: 0}[want] {
			t.Errorf("%q: %d, want %d", authorization, response.StatusCode, want)
		}
		if challenge := response.Header.Get("WWW-Authenticate"); challenge != map[int]string{401: `Basic realm="Shop"`}[want] {
			t.Errorf("%q: challenge %q", authorization, challenge)
		}
	}
	p.SetContents(nil)
	if response := ask(t, p, "GET", "/", basicOf("anna", "secret")); response.StatusCode != 503 {
		t.Errorf("without the Secret: %d", response.StatusCode)
	}
}

// TestSatisfy holds which of an address, a password and another server's word let in.
func TestSatisfy(t *testing.T) {
	up := serveHTTP(t, func(http.ResponseWriter, *http.Request) {})
	decider := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Token") != "good" {
			w.WriteHeader(403)
		}
	})
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	basic := &filter.Basic{Users: users}
	external := &filter.External{URL: template(t, "http://"+decider.String())}
	for name, c := range map[string]struct {
		access   *l7.Access
		any      bool
		external *filter.External
		fields   []string
		want     int
	}{
		"all, password":              {&l7.Access{Allow: loopback}, false, nil, []string{basicOf("anna", "secret")}, 200},
		"all, no password":           {&l7.Access{Allow: loopback}, false, nil, nil, 401},
		"all, address":               {&l7.Access{Deny: loopback}, false, nil, []string{basicOf("anna", "secret")}, 403},
		"all, no token":              {nil, false, external, []string{basicOf("anna", "secret")}, 403},
		"all, everything":            {nil, false, external, []string{basicOf("anna", "secret"), "X-Token: good"}, 200},
		"any, address":               {&l7.Access{Allow: loopback}, true, external, nil, 200},
		"any, password":              {&l7.Access{Deny: loopback}, true, external, []string{basicOf("anna", "secret")}, 200},
		"any, token":                 {&l7.Access{Deny: loopback}, true, external, []string{"X-Token: good"}, 200},
		"any, none":                  {&l7.Access{Deny: loopback}, true, external, nil, 401},
		"any, none, without address": {nil, true, external, nil, 401},
	} {
		filters := &filter.Filters{Auth: &filter.Auth{Any: c.any, Basic: basic, External: c.external}}
		p := startFiltered(t, Config{}, up, l7.Route{Access: c.access, Filters: filters}, letsIn(t))
		if response := ask(t, p, "GET", "/", c.fields...); response.StatusCode != c.want {
			t.Errorf("%s: %d, want %d", name, response.StatusCode, c.want)
		}
	}
}

func TestExternalAuth(t *testing.T) {
	var asked *http.Request
	var questions atomic.Int64
	decider := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r
		questions.Add(1)
		w.Header().Set("X-User", "anna")
		w.Header().Add("Set-Cookie", "session=1")
		w.Header().Set("WWW-Authenticate", "Token")
		var status int
		fmt.Sscan(r.Header.Get("X-Want"), &status)
		w.WriteHeader(status)
	})
	var seen *http.Request
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		seen = r
		w.Header().Add("Set-Cookie", "own=2")
		if r.URL.Path == "/bad" {
			w.WriteHeader(500)
		}
	})
	e := &filter.External{URL: template(t, "http://"+decider.String()+"/check?for=$host"), AnswerFields: []string{"x-user", "x-group"}}
	p := startFiltered(t, Config{}, up, l7.Route{Filters: &filter.Filters{Auth: &filter.Auth{External: e}}}, nil)
	for want, status := range map[string]int{"200": 200, "204": 200, "401": 401, "403": 403, "302": 500, "500": 500, "404": 500} {
		seen = nil
		response := ask(t, p, "POST", "/a?b=c", "X-Want: "+want, "X-User: root", "X-Group: wheel", "X-Original-Url: x", "X-Original-Uri: /free")
		if response.StatusCode != status || (seen != nil) != (status == 200) {
			t.Errorf("after %s: %d, want %d", want, response.StatusCode, status)
		}
		if got := response.Header.Get("WWW-Authenticate"); got != map[int]string{401: "Token"}[status] {
			t.Errorf("after %s: challenge %q", want, got)
		}
		if got := fmt.Sprint(response.Header.Values("Set-Cookie")); got != map[bool]string{true: "[own=2 session=1]", false: "[]"}[status == 200] {
			t.Errorf("after %s: cookies %s", want, got)
		}
	}
	ask(t, p, "POST", "/a?b=c", "X-Want: 200", "X-User: root", "X-Group: wheel")
	if seen.Header.Get("X-User") != "anna" || seen.Header.Get("X-Group") != "" {
		t.Errorf("the backend gets %v", seen.Header)
	}
	for name, want := range map[string]string{
		"X-Original-Url": "http://shop.example/a?b=c", "X-Original-Uri": "/a?b=c", "X-Original-Method": "POST", "X-Sent-From": "nginx-ingress-controller",
		"X-Real-Ip": "127.0.0.1", "X-Forwarded-For": "127.0.0.1", "X-Auth-Request-Redirect": "/a?b=c", "X-Want": "200", "Content-Length": "",
	} {
		if asked.Header.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, asked.Header.Get(name), want)
		}
	}
	if asked.Method != "GET" || asked.RequestURI != "/check?for=shop.example" || asked.Host != "127.0.0.1" {
		t.Errorf("asked %s %s of %s", asked.Method, asked.RequestURI, asked.Host)
	}
	if got := fmt.Sprint(ask(t, p, "GET", "/bad", "X-Want: 200").Header.Values("Set-Cookie")); got != "[own=2]" {
		t.Errorf("with an error: cookies %s", got)
	}
}

// TestForgedClaims holds that neither a backend nor a page for errors gets what a client
// says in place of those that know, whoever has let it in.
func TestForgedClaims(t *testing.T) {
	var seen http.Header
	up := serveHTTP(t, func(_ http.ResponseWriter, r *http.Request) { seen = r.Header })
	decider := serveHTTP(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) })
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	for name, access := range map[string]*l7.Access{"let in": {Allow: loopback}, "page": {Deny: loopback}} {
		e := &filter.External{URL: template(t, "http://"+decider.String()), AnswerFields: []string{"x-user"}}
		route := *toBackend()(nil)
		route.Access, route.Filters = access, &filter.Filters{Auth: &filter.Auth{Any: true, External: e}}
		route.Errors = &l7.Errors{Backend: route.Backends[0].Backend, Statuses: []int{403}}
		p := startChanged(t, Config{}, tableFor(up), to(&route), reachAll)
		seen = nil
		ask(t, p, "GET", "/", "X-User: root", "Ssl-Client-Verify: SUCCESS", "Ssl-Client-Subject-Dn: CN=root", "X-Original-Method: PUT", "Authorization: Basic eDp5", "X-Other: x")
		for _, field := range []string{"X-User", "Ssl-Client-Verify", "Ssl-Client-Subject-Dn", "X-Original-Method"} {
			if seen.Get(field) != "" {
				t.Errorf("%s: a client has its own %s passed on: %v", name, field, seen)
			}
		}
		if seen.Get("X-Other") != "x" || (seen.Get("Authorization") != "") != (name == "let in") {
			t.Errorf("%s: %v", name, seen)
		}
	}
}

// TestExternalSignIn holds where clients are sent that are not known, and that no
// address of this machine is asked.
func TestExternalSignIn(t *testing.T) {
	var asked *http.Request
	decider := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r
		w.Header().Add("Set-Cookie", "session=1")
		w.WriteHeader(401)
	})
	up := serveHTTP(t, func(http.ResponseWriter, *http.Request) {})
	e := &filter.External{URL: template(t, "http://"+decider.String())}
	e.AlwaysSetCookie, e.Method = true, "HEAD"
	e.SignIn, e.Redirect = template(t, "https://$host/start?rd=$scheme://$http_host$escaped_request_uri"), template(t, "https://$host$request_uri")
	p := startFiltered(t, Config{}, up, l7.Route{Filters: &filter.Filters{Auth: &filter.Auth{External: e}}}, nil)
	response := ask(t, p, "GET", "/a?b=c")
	if got := response.Header; response.StatusCode != 302 || got.Get("Location") != "https://shop.example/start?rd=http://shop.example%2Fa%3Fb%3Dc" || got.Get("Set-Cookie") != "session=1" {
		t.Errorf("%d %v", response.StatusCode, got)
	}
	if asked.Method != "HEAD" || asked.Header.Get("X-Auth-Request-Redirect") != "https://shop.example/a?b=c" || asked.Header.Get("X-Original-Uri") != "/a?b=c" {
		t.Errorf("%s %v", asked.Method, asked.Header)
	}
	route := *toBackend()(nil)
	route.Filters = &filter.Filters{Auth: &filter.Auth{External: e}}
	if got := ask(t, start(t, Config{}, tableFor(up), to(&route)), "GET", "/").StatusCode; got != 500 {
		t.Errorf("an address of this machine is asked: %d", got)
	}
	if got := ask(t, startFiltered(t, Config{}, up, l7.Route{Filters: &filter.Filters{Auth: &filter.Auth{External: &filter.External{URL: template(t, "http://$http_x/")}}}}, nil), "GET", "/").StatusCode; got != 500 {
		t.Errorf("without a host to ask: %d", got)
	}
}

// TestExternalCached holds that an answer is used again for as long as it may be, by
// those it is for.
func TestExternalCached(t *testing.T) {
	var questions atomic.Int64
	decider := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		if questions.Add(1); r.Header.Get("X-Token") != "good" {
			w.WriteHeader(403)
		}
		if r.Header.Get("X-Cookie") != "" {
			w.Header().Set("Set-Cookie", "a=b")
		}
	})
	up := serveHTTP(t, func(http.ResponseWriter, *http.Request) {})
	e := &filter.External{URL: template(t, "http://"+decider.String()), CacheKey: template(t, "$http_x_token$http_x_cookie"), Cached: []filter.CacheFor{{Statuses: []int{200}, For: time.Hour}}}
	p := startFiltered(t, Config{}, up, l7.Route{Filters: &filter.Filters{Auth: &filter.Auth{External: e}}}, nil)
	for i, c := range []struct {
		fields    []string
		status    int
		questions int64
	}{
		{[]string{"X-Token: good"}, 200, 1}, {[]string{"X-Token: good"}, 200, 1},
		{[]string{"X-Token: bad"}, 403, 2}, {[]string{"X-Token: bad"}, 403, 3}, // 403 is not for long
		{[]string{"X-Token: good", "X-Cookie: x"}, 200, 4}, {[]string{"X-Token: good", "X-Cookie: x"}, 200, 5}, // cookies are for one
		{nil, 403, 6},
	} {
		if got := ask(t, p, "GET", "/", c.fields...).StatusCode; got != c.status || questions.Load() != c.questions {
			t.Errorf("%d: %d after %d questions, want %d, %d", i, got, questions.Load(), c.status, c.questions)
		}
	}
}
