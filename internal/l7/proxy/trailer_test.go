package proxy

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// TestTrailers holds that fields after bodies pass between HTTP/2 and HTTP/2, but
// for those that would not pass before bodies.
func TestTrailers(t *testing.T) {
	forged := []string{"X-User", "X-Real-Ip", "X-Forwarded-For", "X-Forwarded-Any", "X-Original-Uri", "Ssl-Client-Verify", "X_forth"}
	up := serveHTTP2(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Trailer", "X-Back")
		io.WriteString(w, "body")
		for _, name := range forged {
			if r.Trailer.Get(name) != "" {
				t.Errorf("the upstream gets %v", r.Trailer)
			}
		}
		w.Header().Set("X-Back", r.Trailer.Get("X-Forth"))
	})
	route := grpcRoute()
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	route.Access = &l7.Access{Allow: loopback}
	route.Filters = &filter.Filters{Auth: &filter.Auth{Any: true, External: &filter.External{AnswerFields: []string{"x-user"}}}}
	p := start(t, Config{}, tableFor(up), to(route))
	for _, size := range []int{0, 10, 500_000} {
		request, _ := http.NewRequest("POST", p.url(), io.NopCloser(strings.NewReader(strings.Repeat("x", size))))
		request.Trailer = http.Header{"X-Forth": {fmt.Sprint("after ", size)}}
		for _, name := range forged {
			request.Trailer[name] = []string{"forged"}
		}
		response, err := client2(t).Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || string(body) != "body" || response.Trailer.Get("X-Back") != fmt.Sprint("after ", size) {
			t.Errorf("%d: %q, %v, error %v", size, body, response.Trailer, err)
		}
	}
}
