package filter

import (
	"crypto/x509"
	"errors"
	"regexp"
	"time"
)

// ClientTLS asks clients for a certificate.
type ClientTLS struct {
	// Authorities vouch for clients, with up to Depth certificates in their chain beside
	// the client's own.
	Authorities Reference
	Depth       int
	// Optional: clients without one are let in too; Unverified: also with one that nobody
	// vouches for.
	Optional, Unverified bool
	// Subject is what the distinguished name has to match, else the answer is 403; nil: any.
	Subject *regexp.Regexp
	// ErrorPage is where clients are redirected to that are not let in; empty: 400.
	ErrorPage string
	// Pass: backends get the certificate.
	Pass bool
}

// Verify tells whether authorities vouch for a client by what it has shown, its own
// certificate first. It returns what nginx's $ssl_client_verify has: SUCCESS, NONE, or
// FAILED with the reason; and until when that holds, as certificates are valid for a time,
// or the zero time, if for ever.
func (c *ClientTLS) Verify(shown []*x509.Certificate, authorities *x509.CertPool, now time.Time) (result string, until time.Time) {
	if len(shown) == 0 {
		return "NONE", until
	}
	chains, result := c.chains(shown, authorities, now)
	for _, chain := range chains {
		if len(chain)-1 <= c.Depth {
			if ends := change(chain, now); until.Before(ends) {
				result, until = "SUCCESS", ends
			}
		}
	}
	if result == "SUCCESS" {
		return result, until
	}
	return result, change(shown, now)
}

// change returns when, after now, the first of the certificates begins or ends to be
// valid; the zero time: never.
func change(of []*x509.Certificate, now time.Time) (first time.Time) {
	for _, one := range of {
		// A certificate is still valid at NotAfter (RFC 5280, section 4.1.2.5).
		for _, at := range []time.Time{one.NotBefore, one.NotAfter.Add(1)} {
			if at.After(now) && (first.IsZero() || at.Before(first)) {
				first = at
			}
		}
	}
	return first
}

// chains returns those from a client's certificate to an authority, and what is found if
// none is short enough.
func (c *ClientTLS) chains(shown []*x509.Certificate, authorities *x509.CertPool, now time.Time) (chains [][]*x509.Certificate, otherwise string) {
	options := x509.VerifyOptions{CurrentTime: now, Roots: authorities, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if authorities == nil {
		return nil, "FAILED:no authority is known"
	}
	for _, other := range shown[1:] {
		options.Intermediates.AddCert(other)
	}
	chains, err := shown[0].Verify(options)
	if err != nil {
		var invalid x509.CertificateInvalidError
		if errors.As(err, &invalid) && invalid.Reason == x509.Expired {
			return nil, "FAILED:certificate has expired"
		}
		return nil, "FAILED:unable to verify the first certificate"
	}
	return chains, "FAILED:certificate chain too long"
}

// Lets reports whether a client may come in by what Verify said.
func (c *ClientTLS) Lets(verified string) bool {
	switch {
	case verified == "SUCCESS", c.Unverified:
		return true
	}
	return verified == "NONE" && c.Optional
}

func (c *ClientTLS) say(s *said) {
	if c != nil {
		s.add("asks clients for a certificate by %s, depth %d, optional %t, unverified %t", c.Authorities, c.Depth, c.Optional, c.Unverified)
	}
}
