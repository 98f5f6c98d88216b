package server

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	wire "github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-net/fairlead/internal/dns/server/forward"
)

// startHTTPS runs a server with DNS over HTTPS, and returns a client for HTTP/2 or
// HTTP/1.1 with the URL to ask.
func startHTTPS(t *testing.T, c Config, http2 bool) (p *Plane, client *http.Client, url string) {
	t.Helper()
	c.TLS = certificateFiles(t, TLS{}, "dns.example")
	c.HTTPS.Listen = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}
	p, _ = start(t, c, cluster(t, 400))
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP2(http2)
	transport.Protocols.SetHTTP1(!http2)
	t.Cleanup(transport.CloseIdleConnections)
	return p, &http.Client{Transport: transport, Timeout: 10 * time.Second}, "https://" + p.https[0].listener.Addr().String()
}

// send makes a request and returns the response and its body.
func send(t *testing.T, client *http.Client, method, url, kind string, body []byte) (*http.Response, []byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", kind)
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, text
}

// TestHTTPS asks by GET and by POST, over HTTP/2 and HTTP/1.1: usual queries, one that
// would not fit into a packet, one that goes the other way, and one about no name.
func TestHTTPS(t *testing.T) {
	for _, http2 := range []bool{true, false} {
		_, client, url := startHTTPS(t, Config{}, http2)
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			for name, want := range map[string]struct {
				answers int
				control string
			}{
				"web.shop.svc.cluster.local.": {1, "max-age=30"}, "big.shop.svc.cluster.local.": {400, "max-age=30"},
				"Web.shop.svc.cluster.local.": {1, "max-age=30"}, "gone.shop.svc.cluster.local.": {0, "max-age=30"}, "www.example.com.": {0, "max-age=0"},
			} {
				m := query(name, wire.TypeA)
				m.Id = 0
				if strings.HasPrefix(name, "Web") {
					m.CheckingDisabled = true
					m.SetEdns0(1232, false)
					m.IsEdns0().Option = []wire.EDNS0{&wire.EDNS0_LOCAL{Code: 65001}}
				}
				packed, _ := m.Pack()
				to, body := url+"/dns-query", packed
				if method == http.MethodGet {
					to, body = to+"?dns="+base64.RawURLEncoding.EncodeToString(packed), nil
				}
				response, text := send(t, client, method, to, "application/dns-message", body)
				reply := new(wire.Msg)
				if err := reply.Unpack(text); err != nil || response.StatusCode != http.StatusOK || len(reply.Answer) != want.answers || reply.Truncated || reply.Question[0] != m.Question[0] {
					t.Errorf("%s %s: %s, %v\n%s", method, name, response.Status, err, reply)
				}
				if got := response.Header.Get("Cache-Control"); got != want.control || response.Header.Get("Content-Type") != "application/dns-message" {
					t.Errorf("%s %s: %v, want %s", method, name, response.Header, want.control)
				}
				if (response.ProtoMajor == 2) != http2 {
					t.Errorf("by %s", response.Proto)
				}
			}
		}
	}
}

// TestHTTPSMistakes: what is no query gets the status that says so, and is counted.
func TestHTTPSMistakes(t *testing.T) {
	registry := prometheus.NewRegistry()
	_, client, url := startHTTPS(t, Config{Registry: registry}, true)
	packed, _ := query("web.shop.svc.cluster.local.", wire.TypeA).Pack()
	const kind = "application/dns-message"
	reply := slices.Clone(packed)
	reply[2] |= 0x80
	text := base64.RawURLEncoding.EncodeToString(packed)
	for _, c := range []struct {
		method, path, kind string
		body               []byte
		want               int
	}{
		{http.MethodPost, "/", kind, packed, 404},
		{http.MethodPost, "/dns-query/", kind, packed, 404},
		{http.MethodPut, "/dns-query", kind, packed, 405},
		{http.MethodHead, "/dns-query?dns=" + text, "", nil, 405},
		{http.MethodPost, "/dns-query", "text/plain", packed, 415},
		{http.MethodPost, "/dns-query", kind, make([]byte, maxQuery+1), 413},
		{http.MethodPost, "/dns-query", kind, nil, 500},
		{http.MethodPost, "/dns-query", kind, reply, 500},
		{http.MethodGet, "/dns-query", "", nil, 400},
		{http.MethodGet, "/dns-query?dns=" + text + "&dns=" + text, "", nil, 400},
		{http.MethodGet, "/dns-query?dns=" + text + "=", "", nil, 400},
		{http.MethodGet, "/dns-query?dns=" + strings.Repeat("A", 6000), "", nil, 414},
		{http.MethodGet, "/dns-query?dns=" + text, "", nil, 200},
	} {
		if response, said := send(t, client, c.method, url+c.path, c.kind, c.body); response.StatusCode != c.want {
			t.Errorf("%s %.40s %s: %s %.100q, want %d", c.method, c.path, c.kind, response.Status, said, c.want)
		}
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counted := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			if f.GetName() == "coredns_dns_https_responses_total" {
				counted[m.Label[1].GetValue()] = m.Counter.GetValue()
			}
		}
	}
	if counted["404"] != 2 || counted["200"] != 1 || counted["500"] != 2 {
		t.Errorf("counted %v", counted)
	}
}

// TestHTTPSLimits: a header that is too large ends the request, connections and requests
// over a limit are turned away.
func TestHTTPSLimits(t *testing.T) {
	p, client, url := startHTTPS(t, Config{MaxClientConnections: 1, MaxWaiting: 2}, true)
	packed, _ := query("web.shop.svc.cluster.local.", wire.TypeA).Pack()
	ask := func() int {
		response, _ := send(t, client, http.MethodPost, url+"/dns-query", "application/dns-message", packed)
		return response.StatusCode
	}
	if status := ask(); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	p.https[0].busy.Add(2)
	if status := ask(); status != http.StatusServiceUnavailable {
		t.Errorf("over the limit: status %d", status)
	}
	p.https[0].busy.Add(-2)
	if status := ask(); status != http.StatusOK {
		t.Errorf("within the limit again: status %d", status)
	}
	second, err := net.Dial("tcp", p.https[0].listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	second.SetDeadline(time.Now().Add(10 * time.Second))
	if n, err := second.Read(make([]byte, 1)); n != 0 || err == nil || p.https[0].tally.shed.Load() != 1 {
		t.Errorf("a second connection: %d, %v", n, err)
	}
	request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/dns-query", nil)
	request.Header.Set("X-Large", strings.Repeat("x", 1<<20))
	if response, err := client.Do(request); err == nil {
		defer response.Body.Close()
		if response.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("a large header: %s", response.Status)
		}
	}
}

// TestHTTPSWaits asks for a name that another server has to answer while this one closes.
func TestHTTPSWaits(t *testing.T) {
	asked, release := make(chan bool), make(chan bool)
	tell := sync.OnceFunc(func() { close(asked) })
	up := upstream(t, func(w wire.ResponseWriter, m *wire.Msg) {
		tell()
		<-release
		addresses(w, m)
	})
	c := Config{Forward: forward.Config{Upstreams: []netip.AddrPort{up}}}
	p, client, url := startHTTPS(t, c, true)
	packed, _ := query("www.example.com.", wire.TypeA).Pack()
	got := make(chan []byte)
	go func() {
		_, text := send(t, client, http.MethodPost, url+"/dns-query", "application/dns-message", packed)
		got <- text
	}()
	<-asked
	closed := make(chan bool)
	go func() { p.Close(); close(closed) }()
	for !p.closing.Load() {
		time.Sleep(time.Millisecond)
	}
	close(release)
	reply := new(wire.Msg)
	if err := reply.Unpack(<-got); err != nil {
		t.Fatal(err)
	}
	expect(t, reply, wire.RcodeSuccess, "192.0.2.1")
	<-closed
}

func TestFreshness(t *testing.T) {
	for text, want := range map[string]uint32{
		"a. 30 A 192.0.2.1|a. 20 A 192.0.2.2":             20,
		"a. 30 CNAME b.|b. 40 A 192.0.2.2":                30,
		"b. 300 SOA ns.b. h.b. 1 2 3 4 60":                60,
		"b. 30 SOA ns.b. h.b. 1 2 3 4 60":                 30,
		"a. 10 CNAME b.|b. 30 SOA ns.b. h.b. 1 2 3 4 60":  10,
		"a. 300 CNAME b.|b. 30 SOA ns.b. h.b. 1 2 3 4 60": 30,
		"a. 0 A 192.0.2.1|a. 20 A 192.0.2.2":              0,
		"b. 300 NS ns.b.":                                 300,
		"SERVFAIL|b. 300 SOA ns.b. h.b. 1 2 3 4 60":       0,
		"TC|a. 30 A 192.0.2.1":                            0,
		"":                                                0,
	} {
		m := new(wire.Msg).SetReply(query("a.", wire.TypeA))
		for record := range strings.SplitSeq(text, "|") {
			switch record {
			case "SERVFAIL":
				m.Rcode = wire.RcodeServerFailure
				continue
			case "TC":
				m.Truncated = true
				continue
			case "":
				continue
			}
			rr, err := wire.NewRR(record)
			if err != nil {
				t.Fatal(err)
			}
			if rr.Header().Rrtype == wire.TypeSOA {
				m.Ns = append(m.Ns, rr)
			} else {
				m.Answer = append(m.Answer, rr)
			}
		}
		packed, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if got := freshness(packed); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
	if got := freshness([]byte("none")); got != 0 {
		t.Error(got)
	}
}

func TestHTTPSErrors(t *testing.T) {
	listen := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}
	for want, c := range map[string]Config{
		"DNS over HTTPS needs both a certificate and a key": {HTTPS: HTTPS{Listen: listen}},
		"for DNS over HTTPS is none":                        {HTTPS: HTTPS{Listen: []netip.AddrPort{{}}}, TLS: TLS{Certificate: "x", Key: "y"}},
	} {
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// FuzzHTTPS sends any request: there is a status, and with 200 a well-formed reply to what
// was asked.
func FuzzHTTPS(f *testing.F) {
	packed, _ := query("web.shop.svc.cluster.local.", wire.TypeA).Pack()
	f.Add(true, "/dns-query", base64.RawURLEncoding.EncodeToString(packed), "", []byte{})
	f.Add(false, "/dns-query", "", "application/dns-message", packed)
	p, err := New(Config{})
	if err != nil {
		f.Fatal(err)
	}
	p.Apply(f.Context(), cluster(f, 0))
	p.certificate = new(keyPair)
	h := newHTTPSServer(p, nil)
	f.Fuzz(func(t *testing.T, get bool, path, parameter, kind string, body []byte) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "https://dns.example/", bytes.NewReader(body))
		if get {
			r.Method = http.MethodGet
		}
		r.URL.Path, r.URL.RawQuery = path, "dns="+parameter
		r.Header.Set("Content-Type", kind)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			if !slices.Contains(statuses[:], w.Code) {
				t.Errorf("status %d is not counted", w.Code)
			}
			return
		}
		if reply := new(wire.Msg); reply.Unpack(w.Body.Bytes()) != nil || !reply.Response || h.busy.Load() != 0 {
			t.Errorf("%x", w.Body.Bytes())
		}
	})
}
