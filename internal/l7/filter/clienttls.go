package filter

import (
	"crypto/x509"
	"errors"
	"regexp"
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
// FAILED with the reason.
func (c *ClientTLS) Verify(shown []*x509.Certificate, authorities *x509.CertPool) string {
	if len(shown) == 0 {
		return "NONE"
	}
	options := x509.VerifyOptions{Roots: authorities, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if authorities == nil {
		return "FAILED:no authority is known"
	}
	for _, other := range shown[1:] {
		options.Intermediates.AddCert(other)
	}
	chains, err := shown[0].Verify(options)
	if err != nil {
		var invalid x509.CertificateInvalidError
		if errors.As(err, &invalid) && invalid.Reason == x509.Expired {
			return "FAILED:certificate has expired"
		}
		return "FAILED:unable to verify the first certificate"
	}
	for _, chain := range chains {
		if len(chain)-1 <= c.Depth {
			return "SUCCESS"
		}
	}
	return "FAILED:certificate chain too long"
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
