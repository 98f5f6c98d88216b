package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync/atomic"
	"time"
)

// TLS configures DNS over TLS (RFC 7858). Without Listen it is off.
type TLS struct {
	// Listen are the addresses to serve it on; the usual port is 853.
	Listen []netip.AddrPort
	// Certificate and Key are files in PEM form: the certificate, followed by those
	// between it and the root, and its private key. Both are read again when they
	// change; while the new ones cannot be used, the ones before stay in use.
	Certificate, Key string
}

func (t TLS) check(https HTTPS) error {
	if len(t.Listen) == 0 {
		if len(https.Listen) > 0 {
			return nil
		}
		if t.Certificate != "" || t.Key != "" {
			return errors.New("a certificate for DNS over TLS is given, but no address to serve it on: add one, such as [::]:853")
		}
		return nil
	}
	for _, address := range t.Listen {
		if !address.IsValid() {
			return fmt.Errorf("listen address %q for DNS over TLS is none: write ADDRESS:PORT or [ADDRESS]:PORT", address)
		}
	}
	if t.Certificate == "" || t.Key == "" {
		return errors.New("DNS over TLS needs both a certificate and a key: name their files")
	}
	return nil
}

// reloadInterval is how often the files of a certificate are looked at.
const reloadInterval = 10 * time.Second

// keyPair is a certificate that follows its files.
type keyPair struct {
	certificate, key string
	log              *slog.Logger
	current          atomic.Pointer[tls.Certificate]
	// texts is what the files held when they were last read.
	texts [2][]byte
}

// newKeyPair reads the files. The error says which of them to correct.
func newKeyPair(t TLS, log *slog.Logger) (*keyPair, error) {
	k := &keyPair{certificate: t.Certificate, key: t.Key, log: log}
	return k, k.load()
}

// load reads the files and, if they have changed, uses what they hold.
func (k *keyPair) load() error {
	var texts [2][]byte
	for i, name := range []string{k.certificate, k.key} {
		var err error
		if texts[i], err = os.ReadFile(name); err != nil {
			return fmt.Errorf("cannot read the certificate for DNS over TLS: %w", err)
		}
	}
	if bytes.Equal(texts[0], k.texts[0]) && bytes.Equal(texts[1], k.texts[1]) {
		return nil
	}
	k.texts = texts
	pair, err := tls.X509KeyPair(texts[0], texts[1])
	if err != nil {
		return fmt.Errorf("cannot use the certificate in %s with the key in %s: %w", k.certificate, k.key, err)
	}
	k.current.Store(&pair)
	return nil
}

// run follows the files.
func (k *keyPair) run(ctx context.Context) {
	ticker := time.NewTicker(reloadInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			before := k.current.Load()
			if err := k.load(); err != nil {
				k.log.Error("the certificate for DNS over TLS stays the one before", "error", err)
			} else if k.current.Load() != before {
				k.log.Info("the certificate for DNS over TLS has been replaced", "file", k.certificate)
			}
		}
	}
}

// overTLS is the name of DNS over TLS among protocols (RFC 7858, section 3.1, and IANA).
const overTLS = "dot"

// config returns what connections are accepted with. A client that speaks of
// protocols at all has to know one of these.
func (k *keyPair) config(protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: protocols,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return k.current.Load(), nil },
	}
}
