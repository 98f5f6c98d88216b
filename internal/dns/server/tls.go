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
	// change; while the new ones cannot be used, the ones before stay in use. As long as
	// there have been none, connections are refused.
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
	// problem says why the files cannot be used; nil if they can.
	problem atomic.Pointer[string]
	// texts is what the files held when they were last read, unusable why that cannot be
	// used.
	texts    [2][]byte
	unusable error
}

// newKeyPair reads the files. If they cannot be used, the server begins without.
func newKeyPair(t TLS, log *slog.Logger) *keyPair {
	k := &keyPair{certificate: t.Certificate, key: t.Key, log: log}
	k.look()
	return k
}

// look reads the files, and tells what is new about them.
func (k *keyPair) look() {
	before := k.current.Load()
	err := k.load()
	if err == nil {
		k.problem.Store(nil)
		if before != nil && k.current.Load() != before {
			k.log.Info("the certificate for DNS over TLS and HTTPS has been replaced", "file", k.certificate)
		}
		return
	}
	text := err.Error()
	if was := k.problem.Swap(&text); was != nil && *was == text {
		return
	}
	if before == nil {
		k.log.Error("DNS over TLS and HTTPS answer nobody until there is a certificate: put one into the files, or the Secret that they come from", "error", err)
	} else {
		k.log.Error("the certificate for DNS over TLS and HTTPS stays the one before", "error", err)
	}
}

// describe says in words what is wrong with the files.
func (k *keyPair) describe() []string {
	problem := k.problem.Load()
	switch {
	case problem == nil:
		return nil
	case k.current.Load() == nil:
		return []string{"DNS over TLS and HTTPS answer nobody until there is a certificate; put one into the files, or the Secret that they come from: " + *problem}
	}
	return []string{"the certificate for DNS over TLS and HTTPS stays the one before: " + *problem}
}

// load reads the files and, if they have changed, uses what they hold. The error says
// which of them to correct.
func (k *keyPair) load() error {
	var texts [2][]byte
	for i, name := range []string{k.certificate, k.key} {
		var err error
		if texts[i], err = os.ReadFile(name); err != nil {
			return fmt.Errorf("cannot read the certificate for DNS over TLS and HTTPS: %w", err)
		}
	}
	if bytes.Equal(texts[0], k.texts[0]) && bytes.Equal(texts[1], k.texts[1]) {
		return k.unusable
	}
	k.texts, k.unusable = texts, nil
	pair, err := tls.X509KeyPair(texts[0], texts[1])
	if err != nil {
		k.unusable = fmt.Errorf("cannot use the certificate in %s with the key in %s: %w", k.certificate, k.key, err)
		return k.unusable
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
			k.look()
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
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if c := k.current.Load(); c != nil {
				return c, nil
			}
			return nil, errors.New("there is no certificate yet")
		},
	}
}
