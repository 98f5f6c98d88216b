package proxy

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7"
)

// binaryPreamble makes a header of version 2.
func binaryPreamble(command, family byte, rest string) string {
	return preambleSign + string([]byte{command, family, byte(len(rest) >> 8), byte(len(rest))}) + rest
}

var (
	over4 = "\xcb\x00\x71\x07" + "\xc0\x00\x02\x01" + "\x30\x39" + "\x01\xbb"
	over6 = "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x07" + "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01" + "\x30\x39" + "\x01\xbb"
)

var preambles = map[string]string{ // and what is read of each
	"PROXY TCP4 203.0.113.7 192.0.2.1 12345 443\r\n":   "203.0.113.7:12345 192.0.2.1:443",
	"PROXY TCP6 2001:db8::7 2001:db8::1 12345 443\r\n": "[2001:db8::7]:12345 [2001:db8::1]:443",
	"PROXY UNKNOWN\r\n":                                         "",
	"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n":             "",
	binaryPreamble(0x21, 0x11, over4):                           "203.0.113.7:12345 192.0.2.1:443",
	binaryPreamble(0x21, 0x11, over4+"\x04\x00\x01x"):           "203.0.113.7:12345 192.0.2.1:443",
	binaryPreamble(0x21, 0x21, over6):                           "[2001:db8::7]:12345 [2001:db8::1]:443",
	binaryPreamble(0x20, 0x11, over4):                           "",
	binaryPreamble(0x20, 0, ""):                                 "",
	binaryPreamble(0x21, 0, "abc"):                              "",
	"PROXY TCP4 203.0.113.7 192.0.2.1 12345 443\n":              "error",
	"PROXY TCP4 203.0.113.7 192.0.2.1 012345 443\r\n":           "error",
	"PROXY TCP4 203.0.113.7  192.0.2.1 12345 443\r\n":           "error",
	"PROXY TCP4 203.0.113.7 192.0.2.1 12345 65536\r\n":          "error",
	"PROXY TCP4 2001:db8::7 2001:db8::1 12345 443\r\n":          "error",
	"PROXY TCP6 203.0.113.7 192.0.2.1 12345 443\r\n":            "error",
	"PROXY TCP6 fe80::1%eth0 2001:db8::1 12345 443\r\n":         "error",
	"PROXY TCP4 203.0.113.7 192.0.2.1 12345\r\n":                "error",
	"PROXY UDP4 203.0.113.7 192.0.2.1 12345 443\r\n":            "error",
	"PROXY TCP4 " + strings.Repeat("1", 100) + "\r\n":           "error",
	"GET / HTTP/1.1\r\nHost: x\r\n\r\n":                         "error",
	binaryPreamble(0x21, 0x12, over4):                           "error",
	binaryPreamble(0x22, 0x11, over4):                           "error",
	binaryPreamble(0x31, 0x11, over4):                           "error",
	binaryPreamble(0x21, 0x21, over4):                           "error",
	binaryPreamble(0x21, 0x11, over4[:11]):                      "error",
	binaryPreamble(0x21, 0x11, over4+strings.Repeat("x", 5000)): "error",
	"PROXY TCP4 203.0.113.7 192.0.2.1 12345":                    "error",
	preambleSign + "\x21\x11\x00":                               "error",
}

func TestPreamble(t *testing.T) {
	for text, want := range preambles {
		r := strings.NewReader(text + "next")
		if !strings.HasSuffix(text, "\n") && !strings.HasPrefix(text, preambleSign) {
			r = strings.NewReader(text)
		}
		client, local, err := readPreamble(r)
		got := ""
		if client.IsValid() {
			got = fmt.Sprint(client, " ", local)
		}
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q: %s %v, want %s", text, got, err, want)
		}
		if rest, _ := io.ReadAll(r); err == nil && string(rest) != "next" {
			t.Errorf("%q: %q is left", text, rest)
		}
	}
}

// FuzzPreamble holds that whatever begins a connection is read as one thing however it
// arrives, and that no byte behind the header is taken.
func FuzzPreamble(f *testing.F) {
	for text := range preambles {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r := bytes.NewReader(text)
		client, local, err := readPreamble(r)
		if err != nil {
			return
		}
		if client.IsValid() != local.IsValid() {
			t.Fatalf("%v to %v", client, local)
		}
		length := len(text) - r.Len()
		again, _, err := readPreamble(bytes.NewReader(text[:length]))
		if err != nil || again != client {
			t.Fatalf("%v, then %v, %v", client, again, err)
		}
		if _, _, err := readPreamble(bytes.NewReader(text[:length-1])); err == nil {
			t.Fatal("a part of a header is one")
		}
	})
}

// TestProxyProtocol holds that the client is who a load balancer says, that it has to say
// so, and that nobody else can.
func TestProxyProtocol(t *testing.T) {
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("X-Real-Ip"), " ", r.Header.Get("X-Forwarded-For"), " ", r.Header.Get("X-Forwarded-Port"))
	})
	route := *toBackend()(nil)
	route.Access = &l7.Access{Deny: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}}
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	p := start(t, Config{ProxyProtocol: loopback, HeadTimeout: time.Second}, tableFor(up), func(*l7.Request) *l7.Route { return &route })
	request := "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.99\r\n\r\n"
	for preamble, want := range map[string]string{
		"PROXY TCP4 203.0.113.7 192.0.2.1 12345 443\r\n":  "\r\n203.0.113.7 203.0.113.7 443",
		binaryPreamble(0x21, 0x21, over6):                 "\r\n2001:db8::7 2001:db8::7 443",
		"PROXY TCP4 198.51.100.7 192.0.2.1 12345 443\r\n": "not let in\n",
		binaryPreamble(0x20, 0, ""):                       fmt.Sprint("\r\n127.0.0.1 127.0.0.1 ", p.Addresses("web")[0].Port()),
	} {
		if got := talk(t, p, preamble+request); !strings.HasSuffix(got, want) {
			t.Errorf("%q: %q, want %q", preamble, got, want)
		}
	}
	for _, preamble := range []string{"", "PROXY TCP4 x\r\n", "PROXY"} {
		if got := talk(t, p, preamble+request); got != "" {
			t.Errorf("%q: %q", preamble, got)
		}
	}
	// Who says nothing is not waited for.
	conn, err := net.Dial("tcp", p.Addresses("web")[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("%d bytes, %v", n, err)
	}
	p = start(t, Config{}, tableFor(up), toBackend())
	if got := talk(t, p, "PROXY TCP4 203.0.113.7 192.0.2.1 12345 443\r\n"+request); !strings.HasPrefix(got, "HTTP/1.1 400") {
		t.Errorf("from anybody: %.80q", got)
	}
}

// TestProxyProtocolTLS holds that the header comes before TLS.
func TestProxyProtocolTLS(t *testing.T) {
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Header.Get("X-Real-Ip")) })
	source := httptest.NewTLSServer(nil)
	defer source.Close()
	table := tableFor(up)
	id := l7.CertificateID{Name: "cert"}
	listener := &l7.Listener{Name: "web", Protocol: l7.HTTPS, Routes: new(l7.Routes)}
	listener.Certificates = listener.Certificates.Set("example.com", id)
	table.Listeners["web"] = listener
	p := start(t, Config{ProxyProtocol: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}, table, toBackend())
	p.SetCertificates(Certificates{id: &source.TLS.Certificates[0]})
	conn, err := net.Dial("tcp", p.Addresses("web")[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(conn, binaryPreamble(0x21, 0x11, over4))
	secured := tls.Client(conn, &tls.Config{ServerName: "example.com", InsecureSkipVerify: true})
	io.WriteString(secured, "GET / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n")
	if got, err := io.ReadAll(secured); err != nil || !strings.HasSuffix(string(got), "203.0.113.7") {
		t.Errorf("%q, error %v", got, err)
	}
}
