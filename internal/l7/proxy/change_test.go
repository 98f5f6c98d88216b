package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// load sends requests over several connections until it is stopped; more waits until some
// more have been answered, however long that takes here. Every one that does not succeed is
// an error.
func load(t *testing.T, p *Proxy) (more, stop func()) {
	var count atomic.Int64
	url := p.url()
	ctx, cancel := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	for i := range 8 {
		c := client(t)
		wait.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				var body io.Reader
				method := "GET"
				if (n+i)%3 == 0 {
					method, body = "POST", strings.NewReader(strings.Repeat("x", n%5*10000))
				}
				request, _ := http.NewRequest(method, url+"/path", body)
				response, err := c.Do(request)
				if err != nil {
					t.Errorf("request %d: %v", n, err)
					return
				}
				got, err := io.ReadAll(response.Body)
				response.Body.Close()
				if err != nil || response.StatusCode != 200 {
					t.Errorf("request %d: status %d, %q, error %v", n, response.StatusCode, got, err)
					return
				}
				count.Add(1)
			}
		})
	}
	more = func() {
		t.Helper()
		enough := count.Load() + 25
		until(t, func() bool { return count.Load() >= enough })
	}
	return more, func() {
		cancel()
		wait.Wait()
	}
}

// TestChangesUnderLoad holds that neither routes nor endpoints that come and go, with
// their processes, cost a request.
func TestChangesUnderLoad(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n)
	})
	first := httptest.NewServer(handler)
	table := tableFor(addressOf(first))
	var route atomic.Pointer[l7.Route]
	route.Store(toBackend()(nil))
	p := start(t, Config{}, table, func(*l7.Request) *l7.Route { return route.Load() })
	more, stop := load(t, p)
	running := first
	var gone sync.WaitGroup
	defer gone.Wait()
	for i := range 20 {
		next := httptest.NewServer(handler)
		table.Revision++
		table.Backends = backends(endpoints(addressOf(running), addressOf(next))...)
		if err := p.Apply(context.Background(), table); err != nil {
			t.Fatal(err)
		}
		more()
		table.Revision++
		table.Backends = backends(endpoints(addressOf(next))...)
		table.Listeners = map[string]*l7.Listener{"web": {Name: "web", Protocol: l7.HTTP, Routes: new(l7.Routes)}}
		changed := *route.Load()
		changed.Rule = fmt.Sprint("rule ", i)
		route.Store(&changed)
		if err := p.Apply(context.Background(), table); err != nil {
			t.Fatal(err)
		}
		more()
		// As a pod does, it ends a while after it has been taken out.
		old := running
		gone.Go(func() {
			time.Sleep(time.Second)
			old.Close()
		})
		running = next
	}
	stop()
	p.Close()
	running.Close()
}

// TestHandover holds that one proxy takes over from another on the same port without
// a request lost, while clients keep connections.
func TestHandover(t *testing.T) {
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	table := tableFor(up)
	p := start(t, Config{Lameduck: 50 * time.Millisecond}, table, toBackend())
	more, stop := load(t, p)
	port := p.Addresses("web")[0].Port()
	current := p
	for range 3 {
		next := table
		next.Listeners = map[string]*l7.Listener{"web": {Name: "web", Port: port, Protocol: l7.HTTP, Routes: new(l7.Routes)}}
		follower := start(t, Config{Lameduck: 50 * time.Millisecond}, next, toBackend())
		more()
		if err := current.Close(); err != nil {
			t.Fatal(err)
		}
		more()
		current = follower
	}
	stop()
}

// TestDrain holds that Close waits for a request under way, and that its answer says
// that it is the last.
func TestDrain(t *testing.T) {
	begun, finish := make(chan bool), make(chan bool)
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		begun <- true
		<-finish
	})
	p := start(t, Config{}, tableFor(up), toBackend())
	url := p.url()
	closed := make(chan error)
	go func() {
		<-begun
		go func() { closed <- p.Close() }()
		for !p.draining.Load() {
			time.Sleep(time.Millisecond)
		}
		finish <- true
	}()
	response, err := client(t).Get(url)
	if err != nil || response.StatusCode != 200 || !response.Close {
		t.Errorf("got %v, error %v", response, err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if ready, _ := p.Ready(); ready {
		t.Error("closed and ready")
	}
	if _, err := net.Dial("tcp", strings.TrimPrefix(url, "http://")); err == nil {
		t.Error("still accepts connections")
	}
}

func TestListenersComeAndGo(t *testing.T) {
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {})
	table := tableFor(up)
	p := start(t, Config{}, table, toBackend())
	two := table
	two.Listeners = map[string]*l7.Listener{"web": table.Listeners["web"], "more": {Name: "more", Protocol: l7.HTTP, Routes: new(l7.Routes)}}
	if err := p.Apply(context.Background(), two); err != nil || len(p.Addresses("more")) != 1 {
		t.Fatal(err, p.Addresses("more"))
	}
	address := p.Addresses("more")[0]
	kept, err := net.Dial("tcp", address.String())
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	ask := func() string {
		kept.SetDeadline(time.Now().Add(10 * time.Second))
		io.WriteString(kept, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		buffer := make([]byte, 1000)
		n, _ := kept.Read(buffer)
		return string(buffer[:n])
	}
	if got := ask(); !strings.HasPrefix(got, "HTTP/1.1 200") || strings.Contains(got, "close") {
		t.Errorf("%q", got)
	}
	if err := p.Apply(context.Background(), table); err != nil || len(p.Addresses("more")) != 0 {
		t.Fatal(err, p.Addresses("more"))
	}
	// What is connected gets the last answer by what the Table was.
	if got := ask(); !strings.HasPrefix(got, "HTTP/1.1 200") || !strings.Contains(got, "Connection: close") {
		t.Errorf("%q", got)
	}
	two.Listeners = map[string]*l7.Listener{"web": table.Listeners["web"], "bad": {Name: "bad", Port: up.Port(), Protocol: l7.HTTP, Routes: new(l7.Routes)}}
	if err := p.Apply(context.Background(), two); err == nil || !strings.Contains(err.Error(), "listener bad: cannot listen") {
		t.Errorf("error %v", err)
	}
	if ready, reasons := p.Ready(); ready || len(reasons) != 1 {
		t.Errorf("ready %v, %q", ready, reasons)
	}
}

func TestTLS(t *testing.T) {
	// httptest has a certificate for example.com.
	source := httptest.NewUnstartedServer(nil)
	source.StartTLS()
	defer source.Close()
	certificate := source.TLS.Certificates[0]
	roots := x509.NewCertPool()
	roots.AddCert(source.Certificate())
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %d %s", r.Header.Get("X-Forwarded-Proto"), len(body), strings.Repeat("x", 1<<20))
	})
	table := tableFor(up)
	id := l7.CertificateID{Namespace: "shop", Name: "cert"}
	var names pmap.Map[string, l7.CertificateID]
	table.Listeners["web"] = &l7.Listener{Name: "web", Protocol: l7.HTTPS, Routes: new(l7.Routes), Certificates: names.Set("*.com", id)}
	registry := prometheus.NewRegistry()
	p := start(t, Config{Registry: registry}, table, toBackend())
	address := p.Addresses("web")[0].String()
	dial := func(name string) error {
		conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: roots, ServerName: name})
		if err == nil {
			conn.Close()
		}
		return err
	}
	if dial("example.com") == nil {
		t.Error("a handshake without a certificate")
	}
	p.SetCertificates(Certificates{id: &certificate})
	if err := dial("example.com"); err != nil {
		t.Error(err)
	}
	if dial("example.org") == nil {
		t.Error("a certificate for another name")
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "example.com", MaxVersion: version}}}
		for _, size := range []int{0, 1000, 500000} {
			response, err := c.Post("https://"+address, "", strings.NewReader(strings.Repeat("x", size)))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(response.Body)
			if want := fmt.Sprint("https ", size, " "); err != nil || !strings.HasPrefix(string(got), want) || len(got) != len(want)+1<<20 {
				t.Errorf("%d: %.20q, %d bytes, error %v", size, got, len(got), err)
			}
		}
		c.CloseIdleConnections()
	}
	p.Close()
	counted(t, registry, 6)
}

// counted holds that so many requests have been counted, by the Table's names.
func counted(t *testing.T, registry *prometheus.Registry, want float64) {
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "fairlead_l7_requests_total" {
			m := f.GetMetric()[0]
			if len(f.GetMetric()) != 1 || m.GetCounter().GetValue() != want || m.GetLabel()[3].GetValue() != "Ingress shop/web" {
				t.Errorf("%v", f)
			}
			return
		}
	}
	t.Error("no requests are counted")
}
