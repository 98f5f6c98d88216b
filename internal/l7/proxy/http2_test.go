package proxy

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// client2 returns a client that speaks HTTP/2 with prior knowledge.
func client2(t testing.TB) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// TestHTTP2 holds that requests of HTTP/2 reach an upstream of HTTP/1.1 whole, many at
// a time, and so do their answers.
func TestHTTP2(t *testing.T) {
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.ProtoMajor != 1 || r.Host != "shop.example" || r.Header.Get("Cookie") != "a=b; c=d" {
			t.Errorf("the upstream got %v, error %v", r, err)
		}
		w.Header().Set("X-Path", r.RequestURI)
		if r.URL.Path == "/length" {
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		}
		w.Write(body)
	})
	p := start(t, Config{MaxBody: -1}, tableFor(up), toBackend())
	c := client2(t)
	first, _ := http.NewRequest("GET", p.url(), nil) // so that the client has its connection
	first.Host = "shop.example"
	first.Header.Set("Cookie", "a=b; c=d")
	if response, err := c.Do(first); err != nil {
		t.Fatal(err)
	} else {
		response.Body.Close()
	}
	var wait sync.WaitGroup
	for i := range 100 {
		wait.Go(func() {
			size := []int{0, 10, 1000, 100_000, 3_000_000}[i%5]
			body := bytes.Repeat([]byte{byte(i)}, size)
			path := []string{"/length", "/any"}[i/5%2]
			request, _ := http.NewRequest("POST", p.url()+path+"?q", bytes.NewReader(body))
			if i%3 == 0 {
				request.ContentLength = -1
				if size == 0 {
					request.Body = io.NopCloser(strings.NewReader(""))
				}
			}
			request.Host = "shop.example"
			request.Header.Add("Cookie", "a=b; c=d")
			response, err := c.Do(request)
			if err != nil {
				t.Error(err)
				return
			}
			defer response.Body.Close()
			got, err := io.ReadAll(response.Body)
			if err != nil || response.StatusCode != 200 || response.ProtoMajor != 2 || !bytes.Equal(got, body) || response.Header.Get("X-Path") != path+"?q" {
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

// TestHTTP2ByALPN holds that a client which can speak both gets HTTP/2 within TLS.
func TestHTTP2ByALPN(t *testing.T) {
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Header.Get("X-Forwarded-Proto")) })
	p := startTLS(t, up)
	for _, h2 := range []bool{true, false} {
		protocols := new(http.Protocols)
		protocols.SetHTTP2(h2)
		protocols.SetHTTP1(!h2)
		transport := &http.Transport{Protocols: protocols, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
		defer transport.CloseIdleConnections()
		response, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Get("https://" + p.Addresses("web")[0].String())
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || string(body) != "https" || response.ProtoMajor == 2 != h2 {
			t.Errorf("%q, %v, error %v", body, response, err)
		}
	}
}

// startTLS serves HTTPS with one certificate for all names.
func startTLS(t testing.TB, up netip.AddrPort) *Proxy { return startTLSWith(t, Config{}, up) }

// startTLSWith does the same with a Config.
func startTLSWith(t testing.TB, config Config, up netip.AddrPort) *Proxy {
	return startTLSRouted(t, config, up, toBackend())
}

// startTLSRouted does the same with Routes.
func startTLSRouted(t testing.TB, config Config, up netip.AddrPort, route router) *Proxy {
	id := l7.CertificateID{Namespace: "shop", Name: "web"}
	var names pmap.Map[string, l7.CertificateID]
	table := tableFor(up)
	table.Listeners["web"] = &l7.Listener{Name: "web", Protocol: l7.HTTPS, Routes: new(l7.Routes), Certificates: names.Set("", id)}
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	t.Cleanup(s.Close)
	p := start(t, config, table, route)
	p.SetCertificates(Certificates{id: &s.TLS.Certificates[0]})
	return p
}
