package proxy

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/filter"
	"github.com/fairlead-net/fairlead/internal/l7/waf"
)

// written is a log that several goroutines write.
type written struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *written) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// take returns what has been written since.
func (l *written) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.b.String()
	l.b.Reset()
	return text
}

// startRules serves a Route with rules of ModSecurity.
func startRules(t *testing.T, want waf.Wanted, handler http.HandlerFunc) (*Proxy, *written) {
	t.Helper()
	rules, err := waf.Shared().Compile("shop", want)
	if err != nil {
		t.Fatal(err)
	}
	log := new(written)
	filters := &filter.Filters{ModSecurity: &filter.ModSecurity{Rules: rules, ID: template(t, "$request_id")}}
	return startFiltered(t, Config{Log: slog.New(slog.NewTextHandler(log, nil))}, serveHTTP(t, handler), l7.Route{Filters: filters}, nil), log
}

const injection = "/?id=1%27%20or%20%271%27=%271%27%20union%20select%201,2--"

// TestModSecurityCore holds what the core rules do with requests: as ingress-nginx has
// them they find, and refuse once a snippet says so.
func TestModSecurityCore(t *testing.T) {
	for _, c := range []struct {
		want    waf.Wanted
		path    string
		status  int
		refused string
	}{
		{waf.Wanted{Recommended: true, Core: true}, "/", 200, ""},
		{waf.Wanted{Recommended: true, Core: true}, injection, 200, "refused=false"},
		{waf.Wanted{Core: true, Own: "SecRuleEngine On"}, injection, 403, "refused=true status=403"},
		{waf.Wanted{Core: true, Own: "SecRuleEngine On"}, "/?q=%3Cscript%3Ealert(1)%3C/script%3E", 403, "refused=true status=403"},
		{waf.Wanted{Core: true, Own: "SecRuleEngine On"}, "/?q=word", 200, ""},
		{waf.Wanted{Core: true, Own: "SecRuleEngine Off"}, injection, 200, ""},
	} {
		p, log := startRules(t, c.want, func(http.ResponseWriter, *http.Request) {})
		if got := ask(t, p, "GET", c.path, "User-Agent: test", "Accept: */*").StatusCode; got != c.status {
			t.Errorf("%s: %d, want %d", c.path, got, c.status)
		}
		p.Close()
		if text := log.take(); c.refused == "" && strings.Contains(text, "ModSecurity") || !strings.Contains(text, c.refused) || c.refused != "" && !strings.Contains(text, "Ingress shop/web") {
			t.Errorf("%s: %s, want %s", c.path, text, c.refused)
		}
	}
}

// TestModSecurityBody holds that bodies reach rules, and endpoints, however they come,
// and what becomes of those that are larger than the limit.
func TestModSecurityBody(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "got %d %x %v", len(b), b[max(len(b)-3, 0):], err)
	}
	const rules = "SecRuleEngine On\nSecRequestBodyAccess On\n" + `SecRule ARGS:bad "@eq 1" "id:1,phase:2,deny,status:418"` + "\nSecRequestBodyLimit 100000\nSecRequestBodyLimitAction "
	rejects, _ := startRules(t, waf.Wanted{Own: rules + "Reject"}, echo)
	partly, _ := startRules(t, waf.Wanted{Own: rules + "ProcessPartial"}, echo)
	long := "a=" + strings.Repeat("x", 70000)
	for _, c := range []struct {
		p    *Proxy
		body string
		want string
	}{
		{rejects, "bad=0", "200 got 5 643d30 <nil>"},
		{rejects, "bad=1", "418"},
		{rejects, long + "&bad=1", "418"},
		{rejects, long + "&bad=2", fmt.Sprintf("200 got %d 643d32 <nil>", len(long)+6)},
		{rejects, long + long, "413"},
		{partly, "bad=1&" + long + long, "418"},
		{partly, long + long, fmt.Sprintf("200 got %d 787878 <nil>", 2*len(long))},
	} {
		for _, chunked := range []bool{false, true} {
			for _, http := range []*http.Client{client(t), client2(t)} {
				got := postForm(t, http, c.p.url()+"/", c.body, chunked)
				if !strings.HasPrefix(got, c.want) {
					t.Errorf("%.20s (%d), chunked %t: %.80s, want %s", c.body, len(c.body), chunked, got, c.want)
				}
			}
		}
	}
	// The next request of the connection is not part of the body.
	got := talk(t, rejects, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n3\r\na=b\r\n0\r\n\r\n"+
		"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\nbad=1")
	if strings.Count(got, "HTTP/1.1 200") != 1 || !strings.Contains(got, "got 3 613d62") || strings.Count(got, "HTTP/1.1 418") != 1 {
		t.Errorf("%s", got)
	}
}

// postForm sends a form and returns the status and the body of the answer.
func postForm(t *testing.T, client *http.Client, url, body string, chunked bool) string {
	t.Helper()
	var from io.Reader = strings.NewReader(body)
	if chunked {
		from = io.MultiReader(from)
	}
	request, _ := http.NewRequest("POST", url, from)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Host = "shop.example"
	answer, err := client.Do(request)
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d %s", answer.StatusCode, text)
}

// TestModSecurityAnswer holds that rules refuse answers, by header and by body, before
// clients have any of them.
func TestModSecurityAnswer(t *testing.T) {
	p, _ := startRules(t, waf.Wanted{Own: "SecRuleEngine On\nSecResponseBodyAccess On\nSecResponseBodyMimeType text/plain\nSecResponseBodyLimitAction ProcessPartial\n" +
		`SecRule RESPONSE_HEADERS:X-Secret "@rx ." "id:1,phase:3,deny,status:502"` + "\n" + `SecRule RESPONSE_BODY "@contains secret" "id:2,phase:4,deny,status:404"`},
		func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			switch r.URL.Path {
			case "/header":
				w.Header().Set("X-Secret", "1")
			case "/other":
				w.Header().Set("Content-Type", "image/png")
				fallthrough
			case "/body":
				fmt.Fprint(w, "a ")
				w.(http.Flusher).Flush()
				fmt.Fprint(w, "secret")
			case "/long":
				fmt.Fprint(w, strings.Repeat("x", 300<<10))
			case "/length":
				w.Header().Set("Content-Length", "7")
				fmt.Fprint(w, "secret!")
			}
		})
	for path, want := range map[string]string{"/": "200 ", "/header": "502 ", "/body": "404 404", "/length": "404 404", "/other": "200 a secret", "/long": "200 " + strings.Repeat("x", 300<<10)} {
		for _, http := range []*http.Client{client(t), client2(t)} {
			got := postForm(t, http, p.url()+path, "", false)
			if !strings.HasPrefix(got, want) || strings.Contains(got, "secret") != strings.Contains(want, "secret") {
				t.Errorf("%s: %.60s, want %.60s", path, got, want)
			}
		}
	}
}

// TestModSecurityUnknown holds that rules which are not there let nothing through.
func TestModSecurityUnknown(t *testing.T) {
	up := serveHTTP(t, func(http.ResponseWriter, *http.Request) {})
	p := startFiltered(t, Config{}, up, l7.Route{Filters: &filter.Filters{ModSecurity: &filter.ModSecurity{}}}, nil)
	if got := ask(t, p, "GET", "/").StatusCode; got != 503 {
		t.Errorf("without rules a request gets %d", got)
	}
}

// TestModSecurityPaced holds that nothing is sent of an answer that rules refuse, also if
// it is to be sent bit by bit.
func TestModSecurityPaced(t *testing.T) {
	rules, err := waf.Shared().Compile("shop", waf.Wanted{Own: "SecRuleEngine On\nSecRequestBodyAccess On\nSecResponseBodyAccess On\nSecResponseBodyMimeType text/plain\n" + `SecRule RESPONSE_BODY "@contains secret" "id:1,phase:4,deny,status:403"`})
	if err != nil {
		t.Fatal(err)
	}
	up := serveHTTP(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, strings.Repeat("x", 3000)+"secret")
	})
	filters := &filter.Filters{ModSecurity: &filter.ModSecurity{Rules: rules, ID: template(t, "$request_id")}, Limits: &filter.Limits{Rate: 8000}}
	p := startFiltered(t, Config{}, up, l7.Route{Filters: filters}, nil)
	for _, request := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na=b"} {
		if got := talk(t, p, request); !strings.HasPrefix(got, "HTTP/1.1 403") || strings.Contains(got, "xxx") {
			t.Errorf("%.10s: %.200q", request, got)
		}
	}
}

// TestModSecurityLater holds that rules which are not compiled yet let nothing through, and
// say when to ask again, unless there are those of before; and that they count as soon as
// they are compiled.
func TestModSecurityLater(t *testing.T) {
	var work func()
	compiler := waf.NewCompiler()
	compiler.Run = func(w func()) { work = w }
	start := func(status int) *waf.Rules {
		r, err := compiler.Read("shop", waf.Wanted{Own: fmt.Sprintf("SecRuleEngine On\nSecAction \"id:1,phase:1,deny,status:%d\"", status)})
		if err != nil {
			t.Fatal(err)
		}
		compiler.Start(r)
		return r
	}
	former := start(418)
	work()
	up := serveHTTP(t, func(http.ResponseWriter, *http.Request) { t.Error("a request came through") })
	for _, c := range []struct {
		former        *waf.Rules
		status, after int
		retry         string
	}{{nil, 503, 451, "1"}, {former, 418, 452, ""}} {
		filters := &filter.Filters{ModSecurity: &filter.ModSecurity{Rules: start(c.after), Former: c.former}}
		p := startFiltered(t, Config{}, up, l7.Route{Filters: filters}, nil)
		if got := ask(t, p, "GET", "/"); got.StatusCode != c.status || got.Header.Get("Retry-After") != c.retry {
			t.Errorf("not compiled: %d %v", got.StatusCode, got.Header)
		}
		work()
		if got := ask(t, p, "GET", "/").StatusCode; got != c.after {
			t.Errorf("compiled: %d, want %d", got, c.after)
		}
	}
}

// TestModSecurityOpen holds that requests pass a Route that was served without rules until
// now, until its rules are compiled, or found wrong.
func TestModSecurityOpen(t *testing.T) {
	up := serveHTTP(t, func(http.ResponseWriter, *http.Request) {})
	for text, after := range map[string]int{"SecRuleEngine On\nSecAction \"id:1,phase:1,deny,status:418\"": 418, `SecRule NOTHING "a" "id:1,deny"`: 503} {
		var work func()
		compiler := waf.NewCompiler()
		compiler.Run = func(w func()) { work = w }
		rules, err := compiler.Read("shop", waf.Wanted{Own: text})
		if err != nil {
			t.Fatal(err)
		}
		compiler.Start(rules)
		p := startFiltered(t, Config{}, up, l7.Route{Filters: &filter.Filters{ModSecurity: &filter.ModSecurity{Rules: rules, Open: true}}}, nil)
		if got := ask(t, p, "GET", "/").StatusCode; got != 200 {
			t.Errorf("not compiled: %d", got)
		}
		work()
		if got := ask(t, p, "GET", "/").StatusCode; got != after {
			t.Errorf("compiled: %d, want %d", got, after)
		}
	}
}
