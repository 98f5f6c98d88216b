package staple

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/fairlead-net/fairlead/internal/l7"
)

// issuer is an authority with a responder.
type issuer struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func made(t testing.TB, template *x509.Certificate, by *issuer) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(1000*time.Hour)
	if by == nil {
		by = &issuer{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.certificate, &key.PublicKey, by.key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{parsed, key}
}

func newIssuer(t testing.TB) *issuer {
	return made(t, &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "issuer"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}, nil)
}

// certificate is one for a host that names a responder.
func (i *issuer) leaf(t testing.TB, serial int64, responder string) *tls.Certificate {
	t.Helper()
	leaf := made(t, &x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: []string{"shop.example.com"}, OCSPServer: []string{responder}}, i)
	return &tls.Certificate{Certificate: [][]byte{leaf.certificate.Raw, i.certificate.Raw}, PrivateKey: leaf.key, Leaf: leaf.certificate}
}

func (i *issuer) respond(t testing.TB, by *issuer, r ocsp.Response) []byte {
	t.Helper()
	text, err := ocsp.CreateResponse(i.certificate, by.certificate, r, by.key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestCheck: only what says "good" now, and is signed by who may, is shown.
func TestCheck(t *testing.T) {
	i, now := newIssuer(t), time.Now()
	c := i.leaf(t, 7, "http://x")
	good := ocsp.Response{Status: ocsp.Good, SerialNumber: big.NewInt(7), ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(time.Hour)}
	with := func(change func(*ocsp.Response)) ocsp.Response { r := good; change(&r); return r }
	delegate := made(t, &x509.Certificate{SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: "delegate"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}}, i)
	server := made(t, &x509.Certificate{SerialNumber: big.NewInt(4), Subject: pkix.Name{CommonName: "server"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, i)
	by := func(who *issuer) ocsp.Response {
		return with(func(r *ocsp.Response) { r.Certificate = who.certificate })
	}
	for name, test := range map[string]struct {
		text []byte
		want string
	}{
		"good":         {i.respond(t, i, good), ""},
		"delegated":    {i.respond(t, delegate, by(delegate)), ""},
		"by a server":  {i.respond(t, server, by(server)), "may not do so"},
		"by a liar":    {i.respond(t, newIssuer(t), good), "cannot be used"},
		"of another":   {i.respond(t, i, with(func(r *ocsp.Response) { r.SerialNumber = big.NewInt(8) })), "cannot be used"},
		"revoked":      {i.respond(t, i, with(func(r *ocsp.Response) { r.Status = ocsp.Revoked; r.RevokedAt = now })), "was revoked at"},
		"unknown":      {i.respond(t, i, with(func(r *ocsp.Response) { r.Status = ocsp.Unknown })), "does not know"},
		"old":          {i.respond(t, i, with(func(r *ocsp.Response) { r.NextUpdate = now.Add(-time.Minute) })), "has expired"},
		"not yet":      {i.respond(t, i, with(func(r *ocsp.Response) { r.ThisUpdate = now.Add(10 * time.Minute) })), "from the future"},
		"try later":    {ocsp.TryLaterErrorResponse, "try later"},
		"no ASN.1":     {[]byte("hello"), "cannot be used"},
		"without end":  {i.respond(t, i, with(func(r *ocsp.Response) { r.NextUpdate = time.Time{} })), ""},
		"with trailer": {append(i.respond(t, i, good), 0), "cannot be used"},
	} {
		a, err := check(test.text, c.Leaf, i.certificate, now)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && (!bytes.Equal(a.response, test.text) || !a.expiry.After(now)) {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

// TestHandshake: a client gets what a responder said a moment ago, and the handshakes
// before that went without.
func TestHandshake(t *testing.T) {
	i := newIssuer(t)
	var text []byte
	responder := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/ocsp-request" {
			http.Error(w, "what is this?", http.StatusBadRequest)
			return
		}
		_, _ = w.Write(text)
	}))
	defer responder.Close()
	id := l7.CertificateID{Namespace: "demo", Name: "shop"}
	c := i.leaf(t, 7, responder.URL)
	text = i.respond(t, i, ocsp.Response{Status: ocsp.Good, SerialNumber: big.NewInt(7), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour)})
	changed := make(chan struct{}, 10)
	s := New(Options{Private: true, Changed: func() { changed <- struct{}{} }, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	s.Offer(Certificates{id: c})
	if got := handshake(t, s.Certificates()[id]); got != nil {
		t.Error("a response from nowhere")
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = s.Run(ctx) }()
	<-changed
	if got := handshake(t, s.Certificates()[id]); !bytes.Equal(got, text) {
		t.Errorf("%d bytes", len(got))
	}
	cancel()
	<-ended
}

func handshake(t *testing.T, c *tls.Certificate) []byte {
	t.Helper()
	client, server := net.Pipe()
	go func() {
		_ = tls.Server(server, &tls.Config{Certificates: []tls.Certificate{*c}}).Handshake()
		_ = server.Close()
	}()
	conn := tls.Client(client, &tls.Config{InsecureSkipVerify: true, ServerName: "shop.example.com"})
	defer func() { _ = client.Close() }()
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	return conn.ConnectionState().OCSPResponse
}

// TestResponders: whoever names one gets no more of the gateway than a question.
func TestResponders(t *testing.T) {
	i := newIssuer(t)
	asked := atomic.Int64{}
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer inside.Close()
	odd := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/large":
			_, _ = w.Write(make([]byte, maxResponse+1))
		case "/away":
			http.Redirect(w, r, inside.URL, http.StatusTemporaryRedirect)
		}
	}))
	defer odd.Close()
	for _, test := range []struct {
		url     string
		private bool
		want    string
	}{
		{inside.URL, false, "no address of the Internet"}, {odd.URL + "/large", true, "larger than"}, {odd.URL + "/away", true, "status 307"},
		{odd.URL + "/empty", true, "cannot be used"}, {"ftp://example.com", true, "no http://"}, {"http://u:p@127.0.0.1/", true, "no http://"},
	} {
		_, err := fetch(t.Context(), newClient(test.private), i.leaf(t, 1, test.url))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.url, err)
		}
	}
	if asked.Load() != 0 {
		t.Errorf("it was asked %d times", asked.Load())
	}
	for address, want := range map[string]bool{
		"192.0.2.1": true, "2001:db8::1": true, "127.0.0.1": false, "10.1.2.3": false, "169.254.169.254": false, "100.64.0.1": false, "::1": false, "fd00::1": false,
		"::ffff:10.0.0.1": false, "64:ff9b::a00:1": false, "fe80::1": false, "0.0.0.0": false, "224.0.0.1": false, "255.255.255.255": false, "192.168.1.1": false, "192.0.0.192": false,
	} {
		if got := outside(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %t", address, got)
		}
	}
}

// TestTimes: a response is asked for again in time, goes on if the responder is away, and
// is shown no longer than it is good.
func TestTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id, other := l7.CertificateID{Namespace: "demo", Name: "shop"}, l7.CertificateID{Namespace: "other", Name: "shop"}
		i := newIssuer(t)
		start := time.Now()
		var asked []string
		s := New(Options{Changed: func() {}, Log: slog.New(slog.DiscardHandler)})
		s.fetch = func(ctx context.Context, c *tls.Certificate) (answer, error) {
			since := time.Since(start)
			if c.Leaf.SerialNumber.Int64() == 2 {
				<-ctx.Done() // it hangs, and holds up nobody else
				return answer{}, ctx.Err()
			}
			asked = append(asked, since.Round(time.Second).String())
			if since > 10*time.Hour {
				return answer{}, errors.New("away")
			}
			return answer{[]byte(since.String()), time.Now(), time.Now().Add(16 * time.Hour)}, nil
		}
		s.Offer(Certificates{id: i.leaf(t, 1, "http://a"), other: i.leaf(t, 2, "http://b")})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); _ = s.Run(ctx) }()
		shown := func() string { return string(s.Certificates()[id].OCSPStaple) }
		time.Sleep(23 * time.Hour)
		if shown() != "8h0m0s" {
			t.Errorf("shows %q", shown())
		}
		time.Sleep(2 * time.Hour) // to 25 h
		if shown() != "" || s.Certificates()[other].OCSPStaple != nil {
			t.Errorf("shows %q", shown())
		}
		cancel()
		<-ended
		if got, want := strings.Join(asked[:7], " "), "0s 8h0m0s 16h0m0s 16h5m0s 16h15m0s 16h35m0s 17h15m0s"; got != want {
			t.Errorf("asked at %s, want %s", got, want)
		}
	})
}

// TestRevoked: what was good is no longer shown.
func TestRevoked(t *testing.T) {
	now := time.Now()
	e := entry{}.after(answer{[]byte("good"), now, now.Add(time.Hour)}, nil, now)
	if e = e.after(answer{}, errors.New("away"), now); string(e.response) != "good" {
		t.Error("a responder that is away takes it back")
	}
	if e = e.after(answer{}, revokedError{now}, now); e.response != nil {
		t.Error("the old response is shown")
	}
}

// FuzzCheck: no text crashes it, and none that is not signed is taken.
func FuzzCheck(f *testing.F) {
	i, now := newIssuer(f), time.Now()
	c := i.leaf(f, 7, "http://x")
	good := i.respond(f, i, ocsp.Response{Status: ocsp.Good, SerialNumber: big.NewInt(7), ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(time.Hour)})
	f.Add(good)
	stranger := newIssuer(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		if _, err := check(text, c.Leaf, stranger.certificate, now); err == nil {
			t.Error("signed by nobody")
		}
	})
}
