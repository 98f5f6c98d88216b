package proxy

import (
	"crypto/tls"
	"errors"
	"io"
	"strings"

	"github.com/fairlead-net/fairlead/internal/l7"
)

var errNoCertificate = errors.New("no certificate for this name")

// tlsConfig returns how a listener accepts connections: with TLS 1.2 or 1.3, whose
// session tickets crypto/tls makes and changes by itself, and the certificate that
// the state of the moment has for the name that the client asks for.
func (l *listener) tlsConfig() *tls.Config {
	config := &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return l.certificate(hello.ServerName)
		},
	}
	strict := config.Clone()
	strict.MinVersion = tls.VersionTLS13
	ask, askStrictly := l.askClient(config), l.askClient(strict)
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		// An authority has no certificate to show.
		if answer, err := l.proxy.answers.Load().TLSConfig(hello); answer != nil || err != nil {
			return answer, err
		}
		if !l.proxy.settings().TLS13 {
			return ask(hello)
		}
		if asking, err := askStrictly(hello); asking != nil || err != nil {
			return asking, err
		}
		return strict, nil
	}
	return config
}

// certificate returns that of a name, else that of its wildcard, else that of no
// name.
func (l *listener) certificate(name string) (*tls.Certificate, error) {
	_, spec := l.current()
	store := *l.proxy.certificates.Load()
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if spec.Stream(name) != nil {
		return nil, errNoCertificate // TLS for this name is not ended here
	}
	names := [3]string{name}
	if _, parent, ok := strings.Cut(name, "."); ok {
		names[1] = "*." + parent
	}
	for _, name := range names {
		if id, ok := spec.Certificates.Get(name); ok && store[id] != nil {
			return store[id], nil
		}
	}
	if standard := store[l7.CertificateID{}]; standard != nil {
		return standard, nil
	}
	return nil, errNoCertificate
}

// secure is a client's connection within TLS.
type secure struct {
	*tls.Conn
	// one holds a byte that was read ahead, if got is set: an idle connection waits for
	// its next byte only, and so needs no memory for a message. busy says whether it
	// has some anyway.
	one  [1]byte
	got  bool
	busy func() bool
}

// Each implements stream.
func (s *secure) Each(serve func() bool) error {
	for {
		if !s.busy() {
			if _, err := s.Conn.Read(s.one[:]); err != nil {
				return err
			}
			s.got = true
		}
		if !serve() {
			return nil
		}
	}
}

// Read implements stream.
func (s *secure) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, io.ErrShortBuffer // crypto/tls returns 0 and no error, at once
	}
	if s.got {
		s.got, p[0] = false, s.one[0]
		return 1, nil
	}
	return s.Conn.Read(p)
}
