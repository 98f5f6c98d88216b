package proxy

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/accesslog"
	"github.com/fairlead-net/fairlead/internal/l7/http1"
)

// TestHeaderOutlivesBody holds that a body which is read to where the header was does
// not become what a backend for errors is asked.
func TestHeaderOutlivesBody(t *testing.T) {
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(503)
	})
	pages := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s %s", r.Host, r.Header.Get("Accept"), r.Header.Get("X-Format"), r.Header.Get("X-Own"))
	})
	id := l7.BackendID{Service: backendID.Service, Port: "errors"}
	table := tableFor(up)
	table.Backends = table.Backends.Set(id, &l7.Backend{ID: id, Endpoints: endpoints(pages)})
	route := *toBackend()(nil)
	route.MaxBody, route.Errors = -1, &l7.Errors{Backend: id, Statuses: []int{503}}
	p := start(t, Config{}, table, to(&route))
	body := strings.Repeat("\r\nX-Own: of the body\r\n", 8000)
	for name, length := range map[string]string{
		"length": fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body),
		"chunks": fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body),
	} {
		got := talk(t, p, "POST / HTTP/1.1\r\nHost: shop.example\r\nAccept: text/html\r\nX-Own: mine\r\n"+length)
		if !strings.Contains(got, "shop.example text/html text/html mine") {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestReset holds that nothing of a client's request is left for the next one, be it no
// request but what is refused.
func TestReset(t *testing.T) {
	w := newWork(http1.Limits{Head: 1024})
	w.trailer, w.framing, w.replied = append(w.trailer, "x-secret: 1\r\n"...), http1.ByChunks, true
	w.added = append(w.added, addition{field("X-Secret", "1"), always})
	w.body = body{remaining: 7}
	w.reset()
	if len(w.trailer)+len(w.added) > 0 || w.framing != 0 || w.replied || w.body != (body{}) {
		t.Errorf("%q %v %d %t %v", w.trailer, w.added, w.framing, w.replied, w.body)
	}
}

// TestRefusedHasAnID holds that a request whose path is refused is not written down with
// the identity of another one.
func TestRefusedHasAnID(t *testing.T) {
	up := serveHTTP(t, func(http.ResponseWriter, *http.Request) {})
	format, err := accesslog.Parse("$status $req_id", false)
	if err != nil {
		t.Fatal(err)
	}
	out := new(lines)
	p := start(t, Config{AccessLog: &AccessLog{Format: format, Output: out}}, tableFor(up), toBackend())
	talk(t, p, "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /../a HTTP/1.1\r\nHost: x\r\n\r\n")
	got := out.take(t, 2)
	if first, second := strings.Fields(got[0]), strings.Fields(got[1]); first[0] != "200" || second[0] != "400" || len(second[1]) != 32 || first[1] == second[1] {
		t.Errorf("%q", got)
	}
}
