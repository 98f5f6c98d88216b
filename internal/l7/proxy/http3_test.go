package proxy

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
)

// client3 returns a client that speaks HTTP/3 only.
func client3(t testing.TB) *http.Client {
	transport := &http3.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableCompression: true}
	t.Cleanup(func() { transport.Close() })
	return &http.Client{Transport: transport, Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// start3 serves HTTPS with HTTP/3.
func start3(t testing.TB, config Config, up netip.AddrPort) *Proxy {
	config.HTTP3 = true
	p := startTLSWith(t, config, up)
	if p.listeners["web"].quic == nil {
		t.Fatal("HTTP/3 is not served")
	}
	return p
}

func (p *Proxy) secureURL() string { return "https://" + p.Addresses("web")[0].String() }

// TestHTTP3 holds that requests of HTTP/3 reach an upstream of HTTP/1.1 whole, many at
// a time, and so do their answers.
func TestHTTP3(t *testing.T) {
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.ProtoMajor != 1 || r.Host != "shop.example" || r.Header.Get("Cookie") != "a=b; c=d" || r.Header.Get("X-Forwarded-Proto") != "https" {
			t.Errorf("the upstream got %v, error %v", r, err)
		}
		w.Header().Set("X-Path", r.RequestURI)
		w.Header().Set("X-Length", fmt.Sprint(r.ContentLength))
		if r.URL.Path == "/length" {
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		}
		w.Write(body)
	})
	p := start3(t, Config{MaxBody: -1}, up)
	c := client3(t)
	var wait sync.WaitGroup
	for i := range 60 {
		wait.Go(func() {
			size := []int{0, 10, 1000, 100_000, 1_000_000}[i%5]
			body := bytes.Repeat([]byte{byte(i)}, size)
			path := []string{"/length", "/any"}[i/5%2]
			request, _ := http.NewRequest("POST", p.secureURL()+path+"?q", bytes.NewReader(body))
			length := int64(size)
			if i%3 == 0 {
				request.ContentLength, length = -1, -1
				request.Body = io.NopCloser(bytes.NewReader(body))
			}
			request.Host = "shop.example"
			request.Header.Add("Cookie", "a=b")
			request.Header.Add("Cookie", "c=d")
			response, err := c.Do(request)
			if err != nil {
				t.Error(err)
				return
			}
			defer response.Body.Close()
			got, err := io.ReadAll(response.Body)
			h := response.Header
			if err != nil || response.StatusCode != 200 || response.ProtoMajor != 3 || !bytes.Equal(got, body) || h.Get("X-Path") != path+"?q" || h.Get("X-Length") != fmt.Sprint(length) {
				t.Errorf("%d bytes: %v, %d bytes, error %v", size, response, len(got), err)
			}
		})
	}
	wait.Wait()
	if n := p.connections.Load(); n != 1 {
		t.Errorf("%d connections of one client", n)
	}
	if n := p.streams.Load(); n != 0 {
		t.Errorf("%d requests are still counted", n)
	}
}

// TestHTTP3Methods holds that requests without a body have none at the upstream, and that
// answers without one have none for the client.
func TestHTTP3Methods(t *testing.T) {
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Got", fmt.Sprintf("%s %d %v", r.Method, r.ContentLength, r.TransferEncoding))
		w.Header().Set("Trailer", "X-Late")
		w.WriteHeader(map[string]int{"DELETE": 204}[r.Method] + map[string]int{"GET": 200, "HEAD": 200, "OPTIONS": 200}[r.Method])
		if r.Method == "GET" {
			io.WriteString(w, "body")
		}
		w.Header().Set("X-Late", "1")
	})
	p := start3(t, Config{}, up)
	c := client3(t)
	for method, status := range map[string]int{"GET": 200, "HEAD": 200, "OPTIONS": 200, "DELETE": 204} {
		request, _ := http.NewRequest(method, p.secureURL()+"/", nil)
		response, err := c.Do(request)
		if err != nil {
			t.Fatal(method, err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if want := method + " 0 []"; err != nil || response.StatusCode != status || response.Header.Get("X-Got") != want || (string(body) == "body") != (method == "GET") {
			t.Errorf("%s: %v, %q, error %v", method, response, body, err)
		}
		if len(response.Trailer) > 0 {
			t.Errorf("%s: trailers %v", method, response.Trailer)
		}
	}
}

// TestAltSvc holds that answers say where HTTP/3 is, if it is served.
func TestAltSvc(t *testing.T) {
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Alt-Svc", `h2="other"`) })
	for _, port := range []uint16{0, 443} {
		p := start3(t, Config{AltSvcPort: port}, up)
		if port == 0 {
			port = p.Addresses("web")[0].Port()
		}
		want := fmt.Sprintf(`[h3=":%d"; ma=86400]`, port)
		for _, h2 := range []bool{true, false} {
			protocols := new(http.Protocols)
			protocols.SetHTTP2(h2)
			protocols.SetHTTP1(!h2)
			transport := &http.Transport{Protocols: protocols, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
			response, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Get(p.secureURL())
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			transport.CloseIdleConnections()
			if got := fmt.Sprint(response.Header["Alt-Svc"]); got != want {
				t.Errorf("HTTP/2 %v: %s, not %s", h2, got, want)
			}
		}
	}
	if got := talk(t, start(t, Config{HTTP3: true}, tableFor(up), toBackend()), "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); strings.Contains(got, "h3=") {
		t.Errorf("without TLS: %s", got)
	}
}
