package server

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	wire "github.com/miekg/dns"
)

// certificateFiles writes a certificate of its own making for a name.
func certificateFiles(t *testing.T, files TLS, name string) TLS {
	t.Helper()
	if files.Certificate == "" {
		folder := t.TempDir()
		files.Certificate, files.Key = filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{files.Certificate: {Type: "CERTIFICATE", Bytes: certificate}, files.Key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// dialTLS returns a connection with a server whose certificate is for a name.
func dialTLS(t *testing.T, p *Plane, protocols ...string) *tls.Conn {
	t.Helper()
	at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), p.tcp[1].listener.Addr().(*net.TCPAddr).AddrPort().Port())
	conn, err := tls.Dial("tcp", at.String(), &tls.Config{InsecureSkipVerify: true, NextProtos: protocols})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	return conn
}

// TestTLS asks over TLS, several queries at once, and exchanges the certificate
// under way: first for one that is broken, which must change nothing.
func TestTLS(t *testing.T) {
	files := certificateFiles(t, TLS{Listen: []netip.AddrPort{netip.MustParseAddrPort("[::]:0")}}, "one.example")
	p, _ := start(t, Config{TLS: files, IOTimeout: 300 * time.Millisecond}, cluster(t, 0))
	conn := dialTLS(t, p, "dot")
	conn.Write(bytes.Repeat(frame(t, query("web.shop.svc.cluster.local.", wire.TypeA)), 3))
	for range 3 {
		expect(t, readReply(t, conn), wire.RcodeSuccess, "10.96.0.1")
	}
	if conn.ConnectionState().NegotiatedProtocol != "dot" {
		t.Errorf("protocol %q", conn.ConnectionState().NegotiatedProtocol)
	}
	name := func() string { return dialTLS(t, p).ConnectionState().PeerCertificates[0].DNSNames[0] }
	good, _ := os.ReadFile(files.Certificate)
	os.WriteFile(files.Certificate, good[:len(good)/2], 0o600)
	if err := p.certificate.load(); err == nil || !strings.Contains(err.Error(), files.Certificate) {
		t.Errorf("half a certificate: %v", err)
	}
	if name() != "one.example" {
		t.Error("a broken certificate is used")
	}
	certificateFiles(t, files, "two.example")
	if err := p.certificate.load(); err != nil || name() != "two.example" {
		t.Errorf("after the change %s, %v", name(), err)
	}
	// A client that does not begin to encrypt must not stay.
	plain := dial(t, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), p.tcp[1].listener.Addr().(*net.TCPAddr).AddrPort().Port()))
	if n, err := io.Copy(io.Discard, plain); n != 0 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	if ignored := p.tcp[1].tally.ignored.Load(); ignored != 1 {
		t.Errorf("%d clients are counted that do not encrypt", ignored)
	}
}

func TestTLSErrors(t *testing.T) {
	listen := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}
	for want, c := range map[string]TLS{
		"no address to serve it on":    {Certificate: "x", Key: "y"},
		"needs both a certificate and": {Listen: listen, Key: "y"},
		"is none: write ADDRESS:PORT":  {Listen: []netip.AddrPort{{}}, Certificate: "x", Key: "y"},
	} {
		if _, err := New(Config{TLS: c}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestTLSWithoutCertificate begins with files that are not there, then with a key of
// another certificate: everything else is served, the status names the file, and TLS is
// served as soon as the files can be used.
func TestTLSWithoutCertificate(t *testing.T) {
	log := new(lines)
	folder := t.TempDir()
	files := TLS{Listen: []netip.AddrPort{netip.MustParseAddrPort("[::]:0")}, Certificate: filepath.Join(folder, "tls.crt"), Key: filepath.Join(folder, "tls.key")}
	p, at := start(t, Config{TLS: files, Log: slog.New(slog.NewTextHandler(log, nil))}, cluster(t, 0))
	refused := func(why string) {
		t.Helper()
		expect(t, ask(t, "udp", at, query("web.shop.svc.cluster.local.", wire.TypeA)), 0, "10.96.0.1")
		secure := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), p.tcp[1].listener.Addr().(*net.TCPAddr).AddrPort().Port())
		if conn, err := tls.Dial("tcp", secure.String(), &tls.Config{InsecureSkipVerify: true}); err == nil {
			conn.Close()
			t.Error("a connection without a certificate")
		}
		text := strings.Join(p.Describe(), "\n")
		if ready, _ := p.Ready(); !ready || !strings.Contains(text, "DNS over TLS and HTTPS answer nobody until there is a certificate; put one into the files, or the Secret that they come from: ") || !strings.Contains(text, why) {
			t.Errorf("ready %t: %s", ready, text)
		}
	}
	refused(files.Certificate + ": no such file")
	certificateFiles(t, files, "one.example")
	good, _ := os.ReadFile(files.Key)
	other, _ := os.ReadFile(certificateFiles(t, TLS{}, "one.example").Key)
	os.WriteFile(files.Key, other, 0o600)
	for range 3 {
		p.certificate.look()
		refused("cannot use the certificate in " + files.Certificate + " with the key in " + files.Key)
	}
	if n := strings.Count(log.String(), "answer nobody"); n != 2 {
		t.Errorf("%d lines in the log: %s", n, log)
	}
	os.WriteFile(files.Key, good, 0o600)
	p.certificate.look()
	if name := dialTLS(t, p).ConnectionState().PeerCertificates[0].DNSNames[0]; name != "one.example" {
		t.Error(name)
	}
	if text := strings.Join(p.Describe(), "\n"); strings.Contains(text, "certificate for") {
		t.Error(text)
	}
}
