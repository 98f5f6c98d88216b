package pki

import (
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"testing"
	"time"
)

func TestIssuedCertificateIsTrustedForItsNamesOnly(t *testing.T) {
	now := time.Now()
	ca, err := NewAuthority("test", now)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(Request{
		Name: "system:node:a", Groups: []string{"system:nodes"}, Hosts: []string{"a"},
		Addrs: []netip.Addr{netip.MustParseAddr("172.30.0.10"), netip.MustParseAddr("fd00:30::10")},
	}, now)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.Cert)
	for name, want := range map[string]bool{"a": true, "172.30.0.10": true, "fd00:30::10": true, "b": false, "172.30.0.11": false} {
		_, err := loaded.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: now})
		if (err == nil) != want {
			t.Errorf("%s: trusted = %v, want %v (%v)", name, err == nil, want, err)
		}
	}
	if s := loaded.Leaf.Subject; s.CommonName != "system:node:a" || len(s.Organization) != 1 || s.Organization[0] != "system:nodes" {
		t.Errorf("subject is %v", s)
	}
	client := x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if _, err := loaded.Leaf.Verify(client); err != nil {
		t.Errorf("as a client: %v", err)
	}
}

func TestAuthoritiesDoNotTrustEachOther(t *testing.T) {
	now := time.Now()
	a, err := NewAuthority("a", now)
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewAuthority("b", now)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := a.Issue(Request{Name: "x"}, now)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(b.Cert)
	if _, err := loaded.Leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now}); err == nil {
		t.Error("b vouches for what a signed")
	}
}
