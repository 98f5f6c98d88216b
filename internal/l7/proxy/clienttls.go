package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// vouched is what was found of the certificate of a client's connection, by the
// authorities of a Route.
type vouched struct {
	by     *filter.Content
	depth  int
	result string
	// until is when a certificate begins or ends to be valid, and so the result may be
	// another; the zero time: never.
	until time.Time
}

// askClient returns how a handshake goes on with a client that asks for a host some of
// whose Routes ask for its certificate; nil: as others. What the certificate is worth is
// seen with each request, since a connection may bring requests for another host.
func (l *listener) askClient(config *tls.Config) func(*tls.ClientHelloInfo) (*tls.Config, error) {
	asking := config.Clone()
	asking.ClientAuth = tls.RequestClientCert
	return func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		_, spec := l.current()
		if spec != nil && l.proxy.asks(spec.Routes, strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))) {
			return asking, nil
		}
		return nil, nil
	}
}

// certified reports whether the client's certificate is as the Route wants it; if not,
// the request has been answered.
func (x *exchange) certified() bool {
	if x.route.Filters == nil || x.route.Filters.ClientTLS == nil {
		return true
	}
	c := x.route.Filters.ClientTLS
	content := x.proxy.content(c.Authorities)
	if content == nil {
		x.answer(503, "the authorities of the route's clients are not known")
		return false
	}
	shown := x.conn.shown()
	result := x.conn.vouch(c, content, shown)
	subject, issuer, own := "", "", ""
	if len(shown) > 0 {
		subject, issuer = shown[0].Subject.String(), shown[0].Issuer.String()
		if c.Pass {
			own = string(filter.AppendEscaped(nil, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: shown[0].Raw}))))
		}
	}
	switch {
	case !c.Lets(result) && c.ErrorPage != "":
		x.add("Location", c.ErrorPage, always)
		x.answer(302, "a certificate of the client is needed")
		return false
	case !c.Lets(result):
		x.answer(400, "a certificate of the client is needed that can be verified")
		return false
	case c.Subject != nil && !c.Subject.MatchString(subject):
		x.answer(403, "the client's certificate is not let in")
		return false
	}
	for name, value := range map[string]string{"ssl-client-verify": result, "ssl-client-subject-dn": subject, "ssl-client-issuer-dn": issuer, "ssl-client-cert": own} {
		x.request.Remove(name) // what a client says in their place must not count
		if value != "" {
			x.request.Append(field(name, value))
		}
	}
	return true
}

// ofClient returns what nginx's variables have of the client's certificate. NONE is also
// what is found where no certificate was asked for, or nobody can vouch for one: a Route
// that compares it must not let in those that nothing is known of.
func (x *exchange) ofClient(what filter.Variable) string {
	result, shown := "NONE", x.conn.shown()
	var c *filter.ClientTLS
	if x.route.Filters != nil {
		c = x.route.Filters.ClientTLS
	}
	if c != nil {
		if content := x.proxy.content(c.Authorities); content != nil {
			result = x.conn.vouch(c, content, shown)
		}
	}
	switch {
	case what == filter.ClientVerify:
		return result
	case c == nil || len(shown) == 0 || !c.Lets(result):
		return ""
	case what == filter.ClientSubject:
		return shown[0].Subject.String()
	}
	return shown[0].Issuer.String()
}

// shown are the certificates that the client has shown, its own first.
func (c *conn) shown() []*x509.Certificate {
	if s, ok := c.in.(*secure); ok {
		return s.ConnectionState().PeerCertificates
	}
	return nil
}

// vouch verifies a client's certificate, once for the authorities of the moment and as
// long as it says the same: connections may outlive certificates.
func (c *conn) vouch(by *filter.ClientTLS, content *filter.Content, shown []*x509.Certificate) string {
	if known := c.vouched.Load(); known != nil && known.by == content && known.depth == by.Depth && (known.until.IsZero() || c.proxy.today().Before(known.until)) {
		return known.result
	}
	made := &vouched{by: content, depth: by.Depth}
	made.result, made.until = by.Verify(shown, content.Authorities, c.proxy.today())
	c.vouched.Store(made)
	return made.result
}
