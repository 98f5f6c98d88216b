package agent

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/kube"
)

// withResponder returns a Secret's certificate for shop.example.com, whose responder is on
// loopback, and how often that was asked.
func withResponder(t *testing.T) (map[string][]byte, *atomic.Int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var issuer *x509.Certificate
	asked := new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		response, err := ocsp.CreateResponse(issuer, issuer, ocsp.Response{
			Status: ocsp.Good, SerialNumber: big.NewInt(2), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour),
		}, key)
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(response)
	}))
	t.Cleanup(server.Close)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "issuer"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	made := func(parent *x509.Certificate) []byte {
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	ca := made(template)
	if issuer, err = x509.ParseCertificate(ca); err != nil {
		t.Fatal(err)
	}
	template = &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{"shop.example.com"}, NotBefore: template.NotBefore, NotAfter: template.NotAfter, OCSPServer: []string{server.URL},
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	of := func(kind string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	return map[string][]byte{"tls.crt": slices.Concat(of("CERTIFICATE", made(issuer)), of("CERTIFICATE", ca)), "tls.key": of("PRIVATE KEY", private)}, asked
}

// TestGatewayStaples: clients are shown what a responder says, if it is one that may be
// asked, and a changed configuration does not take it away.
func TestGatewayStaples(t *testing.T) {
	keys, asked := withResponder(t)
	for _, mode := range []string{"any", "public", "none"} {
		before := asked.Load()
		kept := NewKept()
		ports := freePorts(t)
		var first int64 // how often it was asked before the configuration changed
		for round := range 2 {
			a := bare(t, Options{})
			a.options.Kept = kept
			a.options.Config.Gateway.HTTPPort, a.options.Config.Gateway.HTTPSPort, a.options.Config.Gateway.Lameduck = ports[0], ports[1], 0
			a.options.Config.Gateway.OCSPStapling = mode
			data := &heldData{changed: make(chan struct{}, 1)}
			data.set(kube.DataName{Name: desired.Name{Namespace: "demo", Name: "shop-tls"}}, keys)
			line, err := a.newGateway(data)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			var all sync.WaitGroup
			for _, run := range append(a.services, line.run) {
				all.Go(func() { _ = run(ctx) })
			}
			line.offer(securedState())
			stapled, shown := false, false
			for start := time.Now(); time.Since(start) < 10*time.Second && (!shown || mode == "any" && !stapled); time.Sleep(5 * time.Millisecond) {
				c, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ports[1]), &tls.Config{ServerName: "shop.example.com", InsecureSkipVerify: true})
				if err != nil {
					continue
				}
				state := c.ConnectionState()
				_ = c.Close()
				shown, stapled = len(state.PeerCertificates) == 2, len(state.OCSPResponse) > 0
			}
			if !shown || stapled != (mode == "any") {
				t.Errorf("%s, round %d: certificate shown %t, with a response %t", mode, round, shown, stapled)
			}
			cancel()
			all.Wait()
			if round == 0 {
				first = asked.Load() - before
			}
		}
		if n := asked.Load() - before; n != first || (n > 0) != (mode == "any") {
			t.Errorf("%s: the responder was asked %d times, %d of them before the configuration changed", mode, n, first)
		}
		if err := kept.Close(); err != nil {
			t.Error(err)
		}
	}
}
