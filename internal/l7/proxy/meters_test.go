package proxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-net/fairlead/internal/l7"
)

// counters returns what is reported, without durations; labels are in the order of their
// names. It waits until one of them has a value: clients have their answers before that
// is counted.
func counters(t *testing.T, p *Proxy, until string, value float64) map[string]float64 {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(p.Collector())
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]float64{}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				name := strings.TrimPrefix(f.GetName(), "fairlead_l7_")
				for _, l := range m.GetLabel() {
					name += " " + l.GetValue()
				}
				if h := m.GetHistogram(); h != nil {
					all[name] = float64(h.GetSampleCount())
					continue
				}
				all[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
		if all[until] == value {
			return all
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is %v, want %v: %v", until, all[until], value, all)
		}
	}
}

// TestVirtualBackend holds that a Service has one series by its endpoints and another by
// its own address: two of one name would fail all that is collected.
func TestVirtualBackend(t *testing.T) {
	up := serveHTTP(t, func(http.ResponseWriter, *http.Request) {})
	table, virtual := tableFor(up), backendID
	virtual.Virtual = true
	table.Backends = table.Backends.Set(virtual, &l7.Backend{ID: virtual, Endpoints: endpoints(up)})
	p := start(t, Config{}, table, func(q *l7.Request) *l7.Route {
		route := *toBackend()(nil)
		if q.Path == "/virtual" {
			route.Backends = []l7.Weighted{{Backend: virtual, Weight: 1}}
		}
		return &route
	})
	ask(t, p, "GET", "/")
	ask(t, p, "GET", "/virtual")
	counters(t, p, "upstream_requests_total "+backendID.String()+" 200", 1)
	counters(t, p, "upstream_requests_total "+virtual.String()+" 200", 1)
}

// TestMeters holds what is counted of requests, endpoints and listeners.
func TestMeters(t *testing.T) {
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") })
	nobody, stop := startRaw(t, nil)
	stop()
	inner := toBackend()(nil)
	inner.Host = "*.example"
	p := start(t, Config{}, tableFor(nobody, up), func(q *l7.Request) *l7.Route {
		if q.Path == "/none" {
			return nil
		}
		return inner
	})
	for _, c := range []*http.Client{client(t), client2(t)} {
		for _, path := range []string{"/", "/", "/none"} {
			request, _ := http.NewRequest("GET", p.url()+path, nil)
			request.Host = "made-up-by-a-client.example"
			response, err := c.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, response.Body)
			response.Body.Close()
		}
	}
	counters(t, p, "protocol_requests_total web HTTP/1.1", 3)
	got := counters(t, p, "protocol_requests_total web HTTP/2", 3) // it is counted last
	for name, want := range map[string]float64{
		"requests_total 200 *.example / Ingress shop/web":       4,
		"request_duration_seconds *.example / Ingress shop/web": 4,
		"requests_total 404   ":                                 2,
		"upstream_requests_total shop/web:http 200":             4,
		"upstream_duration_seconds shop/web:http":               4,
		"connections web":                                       2,
		"connections_total web":                                 2,
		"protocol_requests_total web HTTP/1.1":                  3,
		"protocol_requests_total web HTTP/2":                    3,
		"upstream_retries_total shop/web:http":                  4, // the second try takes the turn of the next request
		"upstream_failures_total shop/web:http connect":         4,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	if n := got["response_bytes_total *.example / Ingress shop/web"]; n < 4*20 || n > 4*500 {
		t.Errorf("%v bytes were sent", n)
	}
	for name := range got {
		if strings.Contains(name, "made-up") {
			t.Errorf("a client has made the series %s", name)
		}
	}
	// A change of endpoints forgets nothing.
	if err := p.Apply(context.Background(), tableFor(up)); err != nil {
		t.Fatal(err)
	}
	if n := counters(t, p, "connections web", 2)["upstream_requests_total shop/web:http 200"]; n != 4 {
		t.Errorf("%v answers are remembered, want 4", n)
	}
}

// TestHandshakes holds how handshakes are counted, and why they fail.
func TestHandshakes(t *testing.T) {
	p := startTLS(t, serveHTTP(t, func(http.ResponseWriter, *http.Request) {}))
	at := p.Addresses("web")[0].String()
	sessions := tls.NewLRUClientSessionCache(1)
	for range 2 {
		conn, err := tls.Dial("tcp", at, &tls.Config{InsecureSkipVerify: true, ServerName: "a", ClientSessionCache: sessions})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		io.Copy(io.Discard, conn) // the ticket comes with the answer
		conn.Close()
	}
	for _, config := range []*tls.Config{{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}, {ServerName: "a"}} {
		if conn, err := tls.Dial("tcp", at, config); err == nil {
			conn.Close()
			t.Error("a handshake has not failed")
		}
	}
	for _, send := range []string{"GET / HTTP/1.1\r\n\r\n", "\x16"} {
		conn, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, send)
		conn.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, conn)
		conn.Close()
	}
	p.SetCertificates(Certificates{})
	if conn, err := tls.Dial("tcp", at, &tls.Config{InsecureSkipVerify: true}); err == nil {
		conn.Close()
	}
	want := map[string]float64{"tls_handshakes_total web false 1.3": 1, "tls_handshakes_total web true 1.3": 1}
	for _, reason := range []string{"version", "alert", "not_tls", "closed", "no_certificate"} {
		want["tls_handshake_failures_total web "+reason] = 1
	}
	var got map[string]float64
	for name, value := range want {
		got = counters(t, p, name, value)
	}
	maps.DeleteFunc(got, func(name string, _ float64) bool { return !strings.HasPrefix(name, "tls_") })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("handshakes (-want +got):\n%s", diff)
	}
}

// TestMetricsDocumented holds that docs/metrics.md has every metric of this package, with
// its labels.
func TestMetricsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	descs := make(chan *prometheus.Desc, 100)
	p, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	newMetrics(p).Describe(descs)
	close(descs)
	var want, got []string
	said := regexp.MustCompile(`fqName: "([a-z0-9_]+)".*variableLabels: \{([a-z,]*)\}`)
	for d := range descs {
		m := said.FindStringSubmatch(d.String())
		want = append(want, m[1]+" "+m[2])
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `(fairlead_l7_[a-z_]+)` \\| [a-z]+((?:, `[a-z]+`)*) \\|").FindAllStringSubmatch(string(page), -1) {
		if strings.HasPrefix(m[1], "fairlead_l7_acme_") {
			continue
		}
		labels := strings.NewReplacer("`", "", " ", "").Replace(strings.TrimPrefix(m[2], ", "))
		got = append(got, m[1]+" "+labels)
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/metrics.md (-want +got):\n%s", diff)
	}
}
