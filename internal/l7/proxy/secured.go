package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// Authorities are who may have signed the certificates of endpoints, by the Secrets
// that Routes name.
type Authorities map[l7.CertificateID]*x509.CertPool

// SetAuthorities makes these what new connections to endpoints go by from now on.
// Connections that were verified by others are not used again.
func (p *Proxy) SetAuthorities(authorities Authorities) { p.authorities.Store(&authorities) }

var (
	// errHandshake is that TLS with an endpoint has not come about.
	errHandshake = errors.New("no TLS with the endpoint")
	// errAuthorities is that nobody can tell whether a certificate is genuine.
	errAuthorities = errors.New("the Secret with the authorities is missing")
	errSealed      = errors.New("an endpoint makes TLS send without end")
)

// untrustedError is why a certificate is not as a Route demands.
type untrustedError struct{ error }

// demand is what TLS with an endpoint has to be like. A connection that was made by
// one demand does not serve another.
type demand struct {
	l7.UpstreamTLS
	// authorities are those of the Secret; nil: those of the system.
	authorities *x509.CertPool
	certificate *tls.Certificate
	// http2 is asked for (RFC 7301).
	http2 bool
}

// securePool holds connections with TLS.
type securePool struct {
	*pool
	config *tls.Config
	// asked is when somebody last wanted such a connection.
	asked int64
}

// demand returns what TLS a Route wants with its endpoints. The error is that it
// cannot be had.
func (p *Proxy) demand(of *l7.UpstreamTLS) (demand, error) {
	d := demand{UpstreamTLS: *of}
	if of.Secret == (l7.CertificateID{}) {
		return d, nil
	}
	ref := filter.Reference{Purpose: filter.BackendTLS, Namespace: of.Secret.Namespace, Name: of.Secret.Name}
	if content := p.content(ref); content != nil {
		d.authorities, d.certificate = content.Authorities, content.Certificate
		if of.Verify && d.authorities == nil {
			return d, errAuthorities
		}
		return d, nil
	}
	d.authorities, d.certificate = (*p.authorities.Load())[of.Secret], (*p.certificates.Load())[of.Secret]
	if of.Verify && d.authorities == nil {
		return d, errAuthorities
	}
	return d, nil
}

// config returns how connections are made to an endpoint of some name. crypto/tls
// would verify only together with SNI, so what is verified is verified here, also of
// sessions that are resumed.
func (d *demand) config(name string) *tls.Config {
	if d.Name != "" {
		name = d.Name
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(8), InsecureSkipVerify: true}
	if d.http2 {
		c.NextProtos = []string{"h2"}
	}
	if d.SendName {
		c.ServerName = name
	}
	switch {
	case d.TLS13 && !d.TLS12:
		c.MinVersion = tls.VersionTLS13
	case d.TLS12 && !d.TLS13:
		c.MaxVersion = tls.VersionTLS12
	}
	if own := d.certificate; own != nil {
		// Whichever authorities an endpoint names: it is for it to judge.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own, nil }
	}
	if d.Verify {
		authorities, between := d.authorities, int(orDefault(d.Depth, 1))
		c.VerifyConnection = func(state tls.ConnectionState) error {
			return verify(state.PeerCertificates, name, authorities, between)
		}
	}
	return c
}

// verify demands that certificates, that of the endpoint first, are for a name and by
// one of the authorities, with at most so many between.
func verify(shown []*x509.Certificate, name string, authorities *x509.CertPool, between int) error {
	options := x509.VerifyOptions{DNSName: name, Roots: authorities, Intermediates: x509.NewCertPool()}
	for _, c := range shown[1:] {
		options.Intermediates.AddCert(c)
	}
	chains, err := shown[0].Verify(options)
	if err != nil {
		return &untrustedError{err}
	}
	for _, chain := range chains {
		if len(chain)-2 <= between {
			return nil
		}
	}
	return &untrustedError{fmt.Errorf("more than %d certificates lie between that of the endpoint and the authority", between)}
}

// maxPending bounds what may have to be sent, sealed.
const maxPending = 1 << 20

// secured is TLS with an endpoint. What crypto/tls has to send collects in pending,
// and is sent from there: it may take a while, in which an answer may come, and
// crypto/tls cannot go on with a write that was interrupted.
type secured struct {
	*tls.Conn
	under   *socket
	pending []byte
	// clear is how many bytes have been sealed for wait and are not known to be sent.
	clear int
	// direct: what is to be sent is sent at once; hurry: what cannot be read at once is
	// not waited for.
	direct, hurry bool
}

// sealed is what crypto/tls takes for the network.
type sealed struct {
	*socket
	of *secured
}

// Read returns what the endpoint has sent.
func (s *sealed) Read(p []byte) (int, error) {
	if s.of.hurry {
		return s.socket.Try(p)
	}
	return s.socket.Read(p)
}

// Write takes what is to be sent.
func (s *sealed) Write(p []byte) (int, error) {
	if s.of.direct {
		return s.socket.wait(p)
	}
	if len(s.of.pending)+len(p) > maxPending {
		return 0, errSealed
	}
	s.of.pending = append(s.of.pending, p...)
	return len(p), nil
}

// handshake begins TLS on a new connection.
func handshake(ctx context.Context, under *socket, config *tls.Config) (*secured, error) {
	s := &secured{under: under, direct: true}
	s.Conn = tls.Client(&sealed{under, s}, config)
	if err := s.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(errHandshake, err)
	}
	s.direct = false
	return s, nil
}

// Exchange is that of a socket. Tickets, which may come at any time, are no answer.
func (s *secured) Exchange(out, in []byte, suspicious bool) (int, error) {
	if suspicious {
		if _, err := s.Try(in[:1]); !errors.Is(err, errNothing) {
			return 0, errStale
		}
	}
	if _, err := s.wait(out); err != nil {
		return 0, err
	}
	return s.Read(in)
}

// Try is that of a socket.
func (s *secured) Try(p []byte) (int, error) {
	s.hurry = true
	n, err := s.Read(p)
	s.hurry = false
	return n, err
}

// Read waits for bytes, within the deadline.
func (s *secured) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if n > 0 {
		err = nil // it comes again
	}
	if len(s.pending) > 0 && s.clear == 0 && !s.direct {
		// What crypto/tls has to say of its own; if it does not fit, it goes with what is next.
		m := 0
		_ = s.under.raw.Control(func(fd uintptr) { m, _ = send(int(fd), s.pending) })
		s.sent(m)
	}
	return n, err
}

// wait sends p, and returns how much of it has been sent when the deadline passes;
// what is left has to be given again.
func (s *secured) wait(p []byte) (int, error) {
	if s.direct {
		return s.Conn.Write(p)
	}
	if s.clear == 0 {
		if _, err := s.Conn.Write(p); err != nil {
			return 0, err
		}
	}
	before := len(p)
	n, err := s.under.wait(s.pending)
	s.sent(n)
	// Nobody knows where in the sealed bytes which of p are. They are counted as sent in
	// time for progress to be seen, but for the last ones.
	s.clear = min(before, len(s.pending))
	return before - s.clear, err
}

// sent takes off what has been sent.
func (s *secured) sent(n int) {
	if s.pending = s.pending[:copy(s.pending, s.pending[n:])]; len(s.pending) == 0 && cap(s.pending) > 2*bulkSize {
		s.pending = nil
	}
}

// tunnel is called when from now on one goroutine reads and another one writes.
func (s *secured) tunnel() error {
	_, err := s.under.wait(s.pending)
	s.pending, s.direct = nil, true
	return err
}

// errNothing is temporary, so that crypto/tls goes on when there is something.
type nothing struct{}

func (nothing) Error() string   { return "nothing to read" }
func (nothing) Timeout() bool   { return unix.EAGAIN.Timeout() }
func (nothing) Temporary() bool { return true }
