package proxy

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/fairlead-net/fairlead/internal/l7/http1"
	"github.com/fairlead-net/fairlead/internal/l7/tracing"
)

// request1 is a request with one more line in its header.
func request1(t *testing.T, line string) *http1.Request {
	r := new(http1.Request)
	if _, err := r.Parse([]byte("GET / HTTP/1.1\r\nHost: x\r\n"+line+"\r\n\r\n"), &http1.Limits{Line: 1000, Head: 2000, Fields: 10}); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestTraces holds which fields about traces endpoints get, what is recorded, and that
// nothing is changed where nothing is traced.
func TestTraces(t *testing.T) {
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"
	var mu sync.Mutex
	var seen http.Header
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		mu.Lock()
		defer mu.Unlock()
		seen = r.Header.Clone()
	})
	recorded := make(chan Traced, 10)
	sampler, err := tracing.ParseSampler("parentbased_always_off", 0)
	if err != nil {
		t.Fatal(err)
	}
	traced := start(t, Config{Tracing: &Tracing{Sampler: sampler, Record: func(r *Traced) {
		copied := *r
		copied.Spans = append([]tracing.SpanID(nil), r.Spans...)
		recorded <- copied
	}}}, tableFor(up), toBackend())
	ask := func(p *Proxy, c *http.Client, fields map[string]string) http.Header {
		request, _ := http.NewRequest("POST", p.url(), strings.NewReader(strings.Repeat("x", 100_000)))
		for name, value := range fields {
			request.Header.Set(name, value)
		}
		response, err := c.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		mu.Lock()
		defer mu.Unlock()
		return seen
	}
	for _, c := range []*http.Client{client(t), client2(t)} {
		got := ask(traced, c, map[string]string{"Traceparent": parent + "01", "Tracestate": "a=b", "B3": "0"})
		said := got.Get("Traceparent")
		if !strings.HasPrefix(said, parent[:36]) || !strings.HasSuffix(said, "-01") || got.Get("Tracestate") != "a=b" || !strings.HasPrefix(got.Get("B3"), parent[3:36]) || len(got.Values("B3")) != 1 {
			t.Errorf("the endpoint got %v", got)
		}
		r := <-recorded
		var spans string
		for _, s := range r.Spans {
			spans += string(s[:])
		}
		if c := tracing.Start(request1(t, "traceparent: "+said), sampler, func() uint64 { return 1 }); spans != string(c.Parent[:]) || c.Trace != r.Context.Trace {
			t.Errorf("recorded %v, the endpoint got %s", r, said)
		}
		got = ask(traced, c, map[string]string{"Traceparent": "00-broken", "Tracestate": "a=b"})
		if said := got.Get("Traceparent"); len(said) != 55 || !strings.HasSuffix(said, "-00") || got.Get("Tracestate") != "" {
			t.Errorf("the endpoint got %v", got)
		}
	}
	if n := len(recorded); n > 0 {
		t.Errorf("%d requests too many are recorded", n)
	}
}

// TestUntraced holds that where nothing is traced, what clients say of it is passed on.
func TestUntraced(t *testing.T) {
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		for name, values := range r.Header {
			w.Header()["Got-"+name] = values
		}
	})
	p := start(t, Config{}, tableFor(up), toBackend())
	fields := map[string]string{"Traceparent": "what it may be", "Tracestate": "a=b", "B3": "1", "X-B3-Traceid": "x"}
	request, _ := http.NewRequest("GET", p.url(), nil)
	for name, value := range fields {
		request.Header.Set(name, value)
	}
	response, err := client(t).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	for name, value := range fields {
		if got := response.Header.Get("Got-" + name); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
}
