package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/fairlead-net/fairlead/internal/l7"
)

// visit makes a connection, and reports whether it takes a session up again. Tickets of
// TLS 1.3 come behind the handshake, so something is asked for too.
func visit(t *testing.T, address string, cache tls.ClientSessionCache, version uint16) bool {
	t.Helper()
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, ServerName: "example.com", ClientSessionCache: cache, MaxVersion: version})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n")
	if got, err := io.ReadAll(conn); err != nil || !bytes.HasSuffix(got, []byte("hello")) {
		t.Fatalf("%q, error %v", got, err)
	}
	return conn.ConnectionState().DidResume
}

// TestTicketsShared holds that a session that one proxy began is taken up again by another
// one that has the same secret, in this period of its keys and the next ones, and by no
// other.
func TestTicketsShared(t *testing.T) {
	up := serveHTTP(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })
	secret := bytes.Repeat([]byte("s"), MinTicketSecret)
	proxyWith := func(secret []byte) *Proxy {
		p := startTLSWith(t, Config{}, up)
		p.SetTicketSecret(secret)
		return p
	}
	first, second := proxyWith(secret), proxyWith(bytes.Clone(secret))
	other, none, short := proxyWith(bytes.Repeat([]byte("x"), MinTicketSecret)), proxyWith(nil), proxyWith(secret[1:])
	// One whose listener opens when the secret is there.
	later := start(t, Config{}, l7.Table{}, toBackend())
	later.SetTicketSecret(secret)
	later.SetCertificates(*first.certificates.Load())
	if err := later.Apply(context.Background(), first.state.Load().table); err != nil {
		t.Fatal(err)
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for name, c := range map[string]struct {
			then    *Proxy
			periods int64
			want    bool
		}{
			"the same": {first, 0, true}, "a replica": {second, 0, true}, "one with another listener": {later, 0, true}, "its clock is behind": {second, -1, true},
			"after a period": {second, 1, true}, "after two": {second, ticketPeriods, true}, "after three": {second, ticketPeriods + 1, false},
			"another secret": {other, 0, false}, "no secret": {none, 0, false}, "a short secret": {short, 0, false},
		} {
			cache := tls.NewLRUClientSessionCache(1)
			if visit(t, first.Addresses("web")[0].String(), cache, version) {
				t.Errorf("%s: resumed at first", name)
			}
			at := c.then.Addresses("web")[0].String()
			period := ticketPeriodOf(time.Now())
			func() {
				c.then.mu.Lock() // so that it does not look at the time itself
				defer c.then.mu.Unlock()
				if c.periods != 0 { // else with the keys that it has got by itself
					c.then.turnTickets(period + c.periods)
				}
				if got := visit(t, at, cache, version); got != c.want {
					t.Errorf("%x, %s: resumed %t, want %t", version, name, got, c.want)
				}
			}()
			c.then.lookAtTickets(time.Now())
		}
	}
}

// visit3 asks for something by HTTP/3, and reports whether it takes a session up again.
func visit3(t *testing.T, address string, cache tls.ClientSessionCache) bool {
	t.Helper()
	resumed := false
	transport := &http3.Transport{TLSClientConfig: &tls.Config{
		InsecureSkipVerify: true, ServerName: "example.com", ClientSessionCache: cache,
		VerifyConnection: func(s tls.ConnectionState) error { resumed = s.DidResume; return nil },
	}}
	defer transport.Close()
	response, err := (&http.Client{Transport: transport, Timeout: 20 * time.Second}).Get("https://" + address)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if got, err := io.ReadAll(response.Body); err != nil || string(got) != "hello" {
		t.Fatalf("%q, error %v", got, err)
	}
	return resumed
}

// TestTicketsShared3 holds the same of HTTP/3.
func TestTicketsShared3(t *testing.T) {
	up := serveHTTP(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })
	secret := bytes.Repeat([]byte("s"), MinTicketSecret)
	proxyWith := func(config Config, secret []byte) *Proxy {
		p := start3(t, config, up)
		p.SetTicketSecret(secret)
		return p
	}
	first, second, strict := proxyWith(Config{}, secret), proxyWith(Config{}, secret), proxyWith(Config{TLS13: true}, secret)
	other, none := proxyWith(Config{}, bytes.Repeat([]byte("x"), MinTicketSecret)), proxyWith(Config{}, nil)
	later := start(t, Config{HTTP3: true}, l7.Table{}, toBackend())
	later.SetTicketSecret(secret)
	later.SetCertificates(*first.certificates.Load())
	if err := later.Apply(context.Background(), first.state.Load().table); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		then    *Proxy
		periods int64
		want    bool
	}{
		"the same": {first, 0, true}, "a replica": {second, 0, true}, "one with another listener": {later, 0, true}, "one of TLS 1.3 only": {strict, 0, true},
		"after two periods": {second, ticketPeriods, true}, "after three": {second, ticketPeriods + 1, false},
		"another secret": {other, 0, false}, "no secret": {none, 0, false},
	} {
		cache := &kept{ClientSessionCache: tls.NewLRUClientSessionCache(1), put: make(chan struct{}, 100)}
		if visit3(t, first.Addresses("web")[0].String(), cache) {
			t.Errorf("%s: resumed at first", name)
		}
		<-cache.put
		at := c.then.Addresses("web")[0].String()
		func() {
			c.then.mu.Lock() // so that it does not look at the time itself
			defer c.then.mu.Unlock()
			if c.periods != 0 { // else with the keys that it has got by itself
				c.then.turnTickets(ticketPeriodOf(time.Now()) + c.periods)
			}
			if got := visit3(t, at, cache); got != c.want {
				t.Errorf("%s: resumed %t, want %t", name, got, c.want)
			}
		}()
		c.then.lookAtTickets(time.Now())
	}
}

// kept tells when a session has been kept.
type kept struct {
	tls.ClientSessionCache
	put chan struct{}
}

func (k *kept) Put(key string, s *tls.ClientSessionState) {
	k.ClientSessionCache.Put(key, s)
	if s != nil {
		k.put <- struct{}{}
	}
}

// TestTicketKeys holds that keys of one period are those of the next one's past, and all
// others differ.
func TestTicketKeys(t *testing.T) {
	secret := bytes.Repeat([]byte("s"), MinTicketSecret)
	now, _ := ticketKeys(secret, 1000)
	next, _ := ticketKeys(secret, 1001)
	if len(now) != 4 || next[1] != now[0] || next[2] != now[1] || next[0] != now[3] || slices.Contains(now, next[3]) || now[0] == now[1] {
		t.Error("keys of two periods do not fit")
	}
}
