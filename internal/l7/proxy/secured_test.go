package proxy

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7"
)

// serveTLS runs an upstream with TLS, whose certificate is for example.com.
func serveTLS(t testing.TB, handler http.HandlerFunc, change func(*httptest.Server)) (netip.AddrPort, *x509.Certificate) {
	s := httptest.NewUnstartedServer(handler)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = new(tls.Config)
	if change != nil {
		change(s)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return addressOf(s), s.Certificate()
}

// over returns a route to the one backend with TLS.
func overTLS(protocol l7.UpstreamProtocol, with l7.UpstreamTLS) router {
	route := *toBackend()(nil)
	route.Upstream = l7.Upstream{Protocol: protocol, TLS: with}
	return func(*l7.Request) *l7.Route { return &route }
}

// TestUpstreamTLS holds that bodies of any size go both ways, over connections that
// are used again.
func TestUpstreamTLS(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		var connections atomic.Int64
		up, _ := serveTLS(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if r.URL.Path == "/length" {
				w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			}
			w.Write(body)
		}, func(s *httptest.Server) {
			s.TLS.MaxVersion = version
			s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
				if state == http.StateNew {
					connections.Add(1)
				}
			}
		})
		p := start(t, Config{MaxBody: -1}, tableFor(up), overTLS(l7.UpstreamHTTPS, l7.UpstreamTLS{}))
		c := client(t)
		for _, path := range []string{"/length", "/chunks"} {
			for _, size := range []int{0, 10, 20000, 3 << 20} {
				for _, chunked := range []bool{false, true} {
					body := strings.Repeat("0123456789", size/10)
					request, _ := http.NewRequest("POST", p.url()+path, strings.NewReader(body))
					if chunked {
						request.ContentLength = -1
					}
					response, err := c.Do(request)
					if err != nil {
						t.Fatal(err)
					}
					got, err := io.ReadAll(response.Body)
					response.Body.Close()
					if err != nil || response.StatusCode != 200 || string(got) != body {
						t.Fatalf("%s %d: status %d, %d bytes, error %v", path, size, response.StatusCode, len(got), err)
					}
				}
			}
		}
		if n := connections.Load(); n > 2 {
			t.Errorf("%d connections for 16 requests", n)
		}
	}
}

// TestUpstreamVerified holds that certificates are compared with what a Route demands,
// and that a connection that has been made by one demand does not serve another.
func TestUpstreamVerified(t *testing.T) {
	names := make(chan string, 100)
	up, certificate := serveTLS(t, func(http.ResponseWriter, *http.Request) {}, func(s *httptest.Server) {
		s.TLS.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			names <- hello.ServerName
			return nil, nil
		}
	})
	id, other := l7.CertificateID{Namespace: "shop", Name: "ca"}, l7.CertificateID{Namespace: "shop", Name: "other"}
	var with atomic.Pointer[l7.UpstreamTLS]
	p := start(t, Config{}, tableFor(up), func(*l7.Request) *l7.Route { return overTLS(l7.UpstreamHTTPS, *with.Load())(nil) })
	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	p.SetAuthorities(Authorities{id: roots, other: x509.NewCertPool()})
	for range 2 { // the second time there are connections, of another demand
		for _, c := range []struct {
			with l7.UpstreamTLS
			want string
			name string
		}{
			{l7.UpstreamTLS{}, "200", ""},
			{l7.UpstreamTLS{Name: "a.example", SendName: true}, "200", "a.example"},
			{l7.UpstreamTLS{SendName: true}, "200", "web.shop.svc"},
			{l7.UpstreamTLS{Secret: id, Verify: true, Name: "example.com"}, "200", ""},
			{l7.UpstreamTLS{Secret: id, Verify: true, Name: "example.com", SendName: true, TLS12: true}, "200", "example.com"},
			{l7.UpstreamTLS{Secret: id, Verify: true, Name: "example.org"}, "502", ""},
			{l7.UpstreamTLS{Secret: id, Verify: true}, "502", ""},
			{l7.UpstreamTLS{Secret: other, Verify: true, Name: "example.com"}, "502", ""},
			{l7.UpstreamTLS{Verify: true, Name: "example.com"}, "502", ""},
			{l7.UpstreamTLS{Secret: l7.CertificateID{Name: "missing"}, Verify: true, Name: "example.com"}, "503", ""},
		} {
			with.Store(&c.with)
			for len(names) > 0 {
				<-names
			}
			got := talk(t, p, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			if !strings.HasPrefix(got, "HTTP/1.1 "+c.want) {
				t.Errorf("%+v: %.120q, want %s", c.with, got, c.want)
			}
			if len(names) > 0 {
				if name := <-names; name != c.name {
					t.Errorf("%+v: SNI %q, want %q", c.with, name, c.name)
				}
			}
		}
	}
	// Authorities that are no longer trusted end what they vouched for.
	with.Store(&l7.UpstreamTLS{Secret: id, Verify: true, Name: "example.com"})
	p.SetAuthorities(Authorities{id: x509.NewCertPool()})
	if got := talk(t, p, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 502") {
		t.Errorf("%.80q after a change of authorities", got)
	}
}

// TestUpstreamCertificate holds that an endpoint that asks for a certificate gets that
// of the Route's Secret.
func TestUpstreamCertificate(t *testing.T) {
	up, _ := serveTLS(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, len(r.TLS.PeerCertificates)) }, func(s *httptest.Server) {
		s.TLS.ClientAuth = tls.RequireAnyClientCert
	})
	source := httptest.NewTLSServer(nil)
	defer source.Close()
	id := l7.CertificateID{Namespace: "shop", Name: "own"}
	p := start(t, Config{}, tableFor(up), overTLS(l7.UpstreamHTTPS, l7.UpstreamTLS{Secret: id}))
	if got := talk(t, p, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 502") {
		t.Errorf("%.80q without certificate", got)
	}
	p.SetCertificates(Certificates{id: &source.TLS.Certificates[0]})
	if got := talk(t, p, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 200") || !strings.HasSuffix(got, "\r\n\r\n1") {
		t.Errorf("%.80q", got)
	}
}

// TestUpstreamAuto holds that TLS is spoken with the backend if the client speaks it.
func TestUpstreamAuto(t *testing.T) {
	up := serveHTTP(t, func(http.ResponseWriter, *http.Request) {})
	p := start(t, Config{}, tableFor(up), overTLS(l7.UpstreamAuto, l7.UpstreamTLS{}))
	if got := talk(t, p, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 200") {
		t.Errorf("%.80q", got)
	}
	secure, certificate := serveTLS(t, func(http.ResponseWriter, *http.Request) {}, nil)
	table := tableFor(secure)
	id := l7.CertificateID{Name: "cert"}
	listener := &l7.Listener{Name: "web", Protocol: l7.HTTPS, Routes: new(l7.Routes)}
	listener.Certificates = listener.Certificates.Set("example.com", id)
	table.Listeners["web"] = listener
	p = start(t, Config{}, table, overTLS(l7.UpstreamAuto, l7.UpstreamTLS{}))
	own := httptest.NewTLSServer(nil)
	defer own.Close()
	p.SetCertificates(Certificates{id: &own.TLS.Certificates[0]})
	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "example.com"}}}
	defer c.CloseIdleConnections()
	response, err := c.Get("https://" + p.Addresses("web")[0].String())
	if err != nil || response.StatusCode != 200 {
		t.Errorf("%v, error %v", response, err)
	}
}

// acceptTLS does the server's part of TLS and then what handle does.
func acceptTLS(t *testing.T, handle func(net.Conn)) netip.AddrPort {
	source := httptest.NewTLSServer(nil)
	t.Cleanup(source.Close)
	config := &tls.Config{Certificates: source.TLS.Certificates}
	return serveRaw(t, func(conn net.Conn) {
		secured := tls.Server(conn, config)
		defer secured.Close()
		if secured.Handshake() == nil {
			handle(secured)
		}
	})
}

// TestUpstreamTLSEarly holds that an answer which comes before the request has been
// taken reaches the client over TLS too.
func TestUpstreamTLSEarly(t *testing.T) {
	up := acceptTLS(t, func(conn net.Conn) {
		http.ReadRequest(bufio.NewReader(conn))
		io.WriteString(conn, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
		time.Sleep(3 * time.Second)
	})
	p := start(t, Config{MaxBody: -1}, tableFor(up), overTLS(l7.UpstreamHTTPS, l7.UpstreamTLS{}))
	if status, err := post(t, p, 16<<20); status != 403 {
		t.Errorf("status %d, error %v", status, err)
	}
}

// TestUpstreamTLSStale holds that what an endpoint says unasked over TLS is no answer,
// and that an end costs no request.
func TestUpstreamTLSStale(t *testing.T) {
	said := make(chan bool, 1)
	var unasked atomic.Bool
	up := acceptTLS(t, func(conn net.Conn) {
		r := bufio.NewReader(conn)
		if request, err := http.ReadRequest(r); err == nil {
			io.Copy(io.Discard, request.Body)
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			time.Sleep(50 * time.Millisecond)
			if unasked.Load() {
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
				said <- true
				r.ReadByte()
				return
			}
		}
		conn.Close()
		said <- true
	})
	p := start(t, Config{}, tableFor(up), overTLS(l7.UpstreamHTTPS, l7.UpstreamTLS{}))
	for i := range 12 {
		unasked.Store(i%2 == 0)
		got := talk(t, p, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
		if !strings.HasPrefix(got, "HTTP/1.1 200") || !strings.HasSuffix(got, "ok") {
			t.Fatalf("%d: %.80q", i, got)
		}
		<-said
	}
}

// TestUpstreamTLSTunnel holds that an upgraded connection goes both ways over TLS.
func TestUpstreamTLSTunnel(t *testing.T) {
	up := acceptTLS(t, func(conn net.Conn) {
		r := bufio.NewReader(conn)
		if _, err := http.ReadRequest(r); err == nil {
			io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello ")
			io.Copy(conn, r)
			io.WriteString(conn, " bye")
		}
	})
	p := start(t, Config{}, tableFor(up), overTLS(l7.UpstreamHTTPS, l7.UpstreamTLS{}))
	payload := strings.Repeat("payload ", 100000)
	got := talk(t, p, "GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"+payload)
	if _, rest, _ := strings.Cut(got, "\r\n\r\n"); rest != "hello "+payload+" bye" {
		t.Errorf("%d bytes came back, want %d: %.100q", len(rest), len(payload)+10, got)
	}
}

// TestUpstreamTLSTime holds that a handshake that does not end is given up.
func TestUpstreamTLSTime(t *testing.T) {
	up := serveRaw(t, func(conn net.Conn) { io.Copy(io.Discard, conn) })
	p := start(t, Config{ConnectTimeout: 50 * time.Millisecond}, tableFor(up), overTLS(l7.UpstreamHTTPS, l7.UpstreamTLS{}))
	if got := talk(t, p, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 504") {
		t.Errorf("%.80q", got)
	}
}
