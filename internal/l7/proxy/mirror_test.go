package proxy

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// TestMirror holds what copies are sent, and that clients get only the backend's answer.
func TestMirror(t *testing.T) {
	copies := make(chan string, 10)
	mirror := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		copies <- strings.Join([]string{r.Method, r.Host, r.RequestURI, r.Header.Get("X-A"), string(body)}, " ")
		w.WriteHeader(500)
	})
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	for _, c := range []struct {
		m    filter.Mirror
		want string
	}{
		{filter.Mirror{URL: template(t, "http://"+mirror.String()+"$request_uri"), Host: "copy.example", Body: true}, "POST copy.example /x?y a hi"},
		{filter.Mirror{URL: template(t, "http://"+mirror.String()+"/all")}, "POST " + mirror.String() + " /all a "},
	} {
		p := startFiltered(t, Config{}, up, l7.Route{Filters: &filter.Filters{Mirror: &c.m}}, nil)
		if got := talk(t, p, "POST /x?y HTTP/1.1\r\nHost: x\r\nX-A: a\r\nContent-Length: 2\r\n\r\nhi"); !strings.HasPrefix(got, "HTTP/1.1 200") || !strings.HasSuffix(got, "hi") {
			t.Errorf("%q", got)
		}
		if got := <-copies; got != c.want {
			t.Errorf("the copy is %q, want %q", got, c.want)
		}
	}
	// As many as may be under way are: then there are no copies.
	p := startFiltered(t, Config{}, up, l7.Route{Filters: &filter.Filters{Mirror: &filter.Mirror{URL: template(t, "http://"+mirror.String())}}}, nil)
	for i := range maxMirrors {
		p.mirrors.take(fmt.Sprint(i))
	}
	if got := ask(t, p, "GET", "/").StatusCode; got != 200 || len(copies) > 0 {
		t.Errorf("%d, %d copies", got, len(copies))
	}
}
