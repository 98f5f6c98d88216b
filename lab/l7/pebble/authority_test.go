package pebble

import (
	"cmp"
	"crypto/x509"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/letsencrypt/challtestsrv"
	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/core"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"

	"github.com/fairlead-net/fairlead/internal/l7/acme"
)

// authority is a Pebble, with DNS servers of its own.
type authority struct {
	db      *db.MemoryStore
	server  *httptest.Server
	handler http.Handler
	begin   func() // by what is in db
	dns     *challtestsrv.ChallSrv
	roots   *x509.CertPool // of what it issues
	config  acme.Config
	// orders counts requests for new ones; away has all requests refused.
	mu     sync.Mutex
	orders int
	away   bool
}

// option changes how Pebble is.
type option struct {
	eab       map[string]string
	blocked   string
	badNonces string // per cent of good ones that are refused
}

// newAuthority starts one that asks this replica.
func newAuthority(t *testing.T, asks *replica, challenge acme.Challenge, o option) *authority {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	t.Setenv("PEBBLE_AUTHZREUSE", "0")
	t.Setenv("PEBBLE_WFE_NONCEREJECT", cmp.Or(o.badNonces, "0"))
	logger := log.New(io.Discard, "", 0)
	a := &authority{db: db.NewMemoryStore()}
	resolver := freePort(t)
	var err error
	if a.dns, err = challtestsrv.New(challtestsrv.Config{Log: logger, DNSAddrs: []string{resolver}}); err != nil {
		t.Fatal(err)
	}
	a.dns.SetDefaultDNSIPv6("")
	go a.dns.Run()
	t.Cleanup(a.dns.Shutdown)
	for id, key := range o.eab {
		if err := a.db.AddExternalAccountKeyByID(id, key); err != nil {
			t.Fatal(err)
		}
	}
	if o.blocked != "" {
		if err := a.db.AddBlockedDomain(o.blocked); err != nil {
			t.Fatal(err)
		}
	}
	a.begin = func() {
		issuer := ca.New(logger, a.db, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {Description: "usual"}})
		validation := va.New(logger, port(asks.http), port(asks.https), true, resolver, a.db)
		front := wfe.New(logger, a.db, validation, issuer, []string{"pebble.letsencrypt.org"}, true, len(o.eab) > 0, 0, 0)
		a.handler = front.Handler()
		a.roots = x509.NewCertPool()
		a.roots.AddCert(issuer.GetRootCert(0).Cert)
	}
	a.begin()
	a.server = httptest.NewTLSServer(http.HandlerFunc(a.serve))
	t.Cleanup(a.server.Close)
	own := x509.NewCertPool()
	own.AddCert(a.server.Certificate())
	a.config = acme.Config{
		Server: a.server.URL + wfe.DirectoryPath, Email: "ops@example.com", AgreeToTerms: true, Challenge: challenge,
		OrdersPerHour: 100, Namespace: system, Roots: own,
	}
	return a
}

func (a *authority) serve(w http.ResponseWriter, request *http.Request) {
	a.mu.Lock()
	if request.URL.Path == "/order-plz" {
		a.orders++
	}
	away := a.away
	a.mu.Unlock()
	if away {
		w.Header().Set("Retry-After", "7200")
		http.Error(w, "closed for today", http.StatusServiceUnavailable)
		return
	}
	a.handler.ServeHTTP(w, request)
}

func (a *authority) ordered() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.orders
}

// revoke makes the authority want a certificate to be renewed at once.
func (a *authority) revoke(t *testing.T, c *x509.Certificate) {
	t.Helper()
	known := a.db.GetCertificateByDER(c.Raw)
	if known == nil {
		t.Fatal("the authority does not know the certificate")
	}
	a.db.RevokeCertificate(&core.RevokedCertificate{Certificate: known, RevokedAt: time.Now()})
}

// freePort returns an address of loopback that nobody listens at.
func freePort(t *testing.T) string {
	t.Helper()
	l := listen(t)
	defer func() { _ = l.Close() }()
	udp, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = udp.Close()
	return l.Addr().String()
}

// dnsWebhook has the records that it is told of in the authority's DNS.
type dnsWebhook struct {
	mu      sync.Mutex
	records map[string]int
	seen    int
	auth    map[string]bool
}

func newWebhook(t *testing.T, a *authority) (*dnsWebhook, string) {
	t.Helper()
	w := &dnsWebhook{records: map[string]int{}, auth: map[string]bool{}}
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, request *http.Request) {
		var r struct{ FQDN, Value string }
		if err := json.NewDecoder(request.Body).Decode(&r); err != nil || request.Method != http.MethodPost {
			http.Error(out, "what is this?", http.StatusBadRequest)
			return
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.auth[request.Header.Get("Authorization")] = true
		switch request.URL.Path {
		case "/hook/present":
			a.dns.AddDNSTXTRecord(r.FQDN, r.Value)
			w.records[r.FQDN+" "+r.Value]++
			w.seen++
		case "/hook/cleanup":
			a.dns.DeleteDNSTXTRecord(r.FQDN)
			delete(w.records, r.FQDN+" "+r.Value)
		}
	}))
	t.Cleanup(server.Close)
	return w, server.URL + "/hook"
}
