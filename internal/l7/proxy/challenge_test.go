package proxy

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/acme"
)

// answersFor are what a gateway answers for new.example.com.
func answersFor(t *testing.T) *acme.Answers {
	t.Helper()
	data := map[string][]byte{}
	for _, kind := range []acme.Challenge{acme.HTTP01, acme.TLSALPN01} {
		text, err := json.Marshal(map[string]any{"kind": kind, "host": "new.example.com", "token": "ours", "key": "ours.thumb", "until": time.Now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte(string(kind) + " new.example.com ours"))
		data[hex.EncodeToString(sum[:16])] = text
	}
	answers, err := acme.ReadAnswers(acme.Secret{Data: data}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return answers
}

// TestChallengeHTTP holds that an authority gets its answer for a host without Routes,
// and that all else goes by the Routes.
func TestChallengeHTTP(t *testing.T) {
	route := func(q *l7.Request) *l7.Route {
		if q.Host == "new.example.com" && q.Path != "/.well-known/acme-challenge/theirs" {
			return nil
		}
		return toBackend()(q)
	}
	up := serveHTTP(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "route") })
	p := start(t, Config{}, tableFor(up), route)
	ask := func(c *http.Client, method, host, path, send string) (int, string) {
		t.Helper()
		request, _ := http.NewRequest(method, p.url()+path, strings.NewReader(send))
		request.Host = host
		response, err := c.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			t.Error(err)
		}
		return response.StatusCode, string(body)
	}
	const ours = "/.well-known/acme-challenge/ours"
	c := client(t)
	if status, _ := ask(c, "GET", "new.example.com", ours, ""); status != 404 {
		t.Errorf("status %d before there is an answer", status)
	}
	p.SetAnswers(answersFor(t))
	for _, c := range []*http.Client{c, client2(t)} {
		for _, host := range []string{"new.example.com", "NEW.example.com.:80"} {
			if status, body := ask(c, "GET", host, ours, ""); status != 200 || body != "ours.thumb" {
				t.Errorf("%s: status %d, %q", host, status, body)
			}
		}
		if status, body := ask(c, "GET", "new.example.com", ours, "a body"); status != 200 || body != "ours.thumb" {
			t.Errorf("with a body: status %d, %q", status, body)
		}
		if status, body := ask(c, "GET", "new.example.com", "/.well-known/acme-challenge/theirs", ""); status != 200 || body != "route" {
			t.Errorf("cert-manager's: status %d, %q", status, body)
		}
		if status, body := ask(c, "GET", "other.example.com", ours, ""); status != 200 || body != "route" {
			t.Errorf("of another host: status %d, %q", status, body)
		}
		if status, _ := ask(c, "POST", "new.example.com", ours, ""); status != 404 {
			t.Errorf("POST: status %d", status)
		}
	}
	p.SetAnswers(new(acme.Answers))
	if status, _ := ask(c, "GET", "new.example.com", ours, ""); status != 404 {
		t.Errorf("status %d when the answer is gone", status)
	}
}

// TestChallengeTLS holds that an authority's handshake is answered for a host without
// certificate, and that the connection ends then; other handshakes are as ever.
func TestChallengeTLS(t *testing.T) {
	up := serveHTTP(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "route") })
	p := startTLS(t, up)
	dial := func(host string, protocols ...string) (*tls.Conn, error) {
		dialer := net.Dialer{Timeout: 10 * time.Second}
		return tls.DialWithDialer(&dialer, "tcp", p.Addresses("web")[0].String(), &tls.Config{ServerName: host, NextProtos: protocols, InsecureSkipVerify: true})
	}
	if c, err := dial("new.example.com", acme.ALPN); err == nil {
		c.Close()
		t.Error("a challenge that nobody waits for is answered")
	}
	p.SetAnswers(answersFor(t))
	c, err := dial("new.example.com", acme.ALPN)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	state := c.ConnectionState()
	if names := state.PeerCertificates[0].DNSNames; state.NegotiatedProtocol != acme.ALPN || len(names) != 1 || names[0] != "new.example.com" {
		t.Errorf("%q, certificate for %q", state.NegotiatedProtocol, names)
	}
	c.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: new.example.com\r\n\r\n")
	if got, err := io.ReadAll(c); len(got) > 0 {
		t.Errorf("the connection goes on: %q, %v", got, err)
	} else if timedOut(err) {
		t.Error("the connection stays open")
	}
	if c, err := dial("other.example.com", acme.ALPN); err == nil {
		c.Close()
		t.Error("a challenge for another host is answered")
	}
	for _, protocols := range [][]string{nil, {"http/1.1"}, {"http/1.1", acme.ALPN}} {
		c, err := dial("new.example.com", protocols...)
		if err != nil {
			t.Error(err)
			continue
		}
		if c.ConnectionState().NegotiatedProtocol == acme.ALPN || len(c.ConnectionState().PeerCertificates[0].DNSNames) == 0 {
			t.Errorf("%q is answered as a challenge", protocols)
		}
		c.Close()
	}
}
