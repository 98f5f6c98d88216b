package staple

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"syscall"
	"time"

	"golang.org/x/crypto/ocsp"
)

const (
	// maxResponse is far more than a response with a certificate of the responder needs.
	maxResponse = 32 << 10
	fetchFor    = 10 * time.Second
	// skew is how wrong a responder's clock may be.
	skew = 5 * time.Minute
)

// revokedError says that the issuer has taken the certificate back.
type revokedError struct{ at time.Time }

func (e revokedError) Error() string {
	return "the certificate was revoked at " + e.at.UTC().Format(time.RFC3339) + "; replace it"
}

func isRevoked(err error) bool { return errors.As(err, new(revokedError)) }

// newClient returns one that asks only addresses outside, but for private.
func newClient(private bool) *http.Client {
	dialer := &net.Dialer{Timeout: fetchFor, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		if !private && !outside(at.Addr()) {
			return fmt.Errorf("%s is no address of the Internet, where responders are asked", at.Addr())
		}
		return nil
	}}
	return &http.Client{
		Timeout: fetchFor,
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSHandshakeTimeout: fetchFor, MaxResponseHeaderBytes: 16 << 10, DisableKeepAlives: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// outside tells addresses that are neither the gateway's own nor of a private network
// (RFC 1918, RFC 4193, RFC 6598), also behind a translator (RFC 6052).
func outside(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if netip.MustParsePrefix("64:ff9b::/96").Contains(a) {
		bytes := a.As16()
		a = netip.AddrFrom4([4]byte(bytes[12:]))
	}
	shared, reserved := netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("240.0.0.0/4")
	zero, special := netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("192.0.0.0/24")
	return a.IsGlobalUnicast() && !a.IsPrivate() && !shared.Contains(a) && !reserved.Contains(a) && !zero.Contains(a) && !special.Contains(a)
}

// fetch asks the responder of a certificate (RFC 6960, appendix A).
func fetch(ctx context.Context, client *http.Client, c *tls.Certificate) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchFor)
	defer cancel()
	issuer, err := x509.ParseCertificate(c.Certificate[1])
	if err != nil {
		return answer{}, fmt.Errorf("the certificate of the issuer cannot be read: %w", err)
	}
	at := c.Leaf.OCSPServer[0]
	if u, err := url.Parse(at); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return answer{}, fmt.Errorf("the responder %.100q is no http:// or https:// address", at)
	}
	question, err := ocsp.CreateRequest(c.Leaf, issuer, nil)
	if err != nil {
		return answer{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, at, bytes.NewReader(question))
	if err != nil {
		return answer{}, err
	}
	request.Header.Set("Content-Type", "application/ocsp-request")
	request.Header.Set("Accept", "application/ocsp-response")
	response, err := client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return answer{}, fmt.Errorf("the responder answers with status %d", response.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxResponse+1))
	switch {
	case err != nil:
		return answer{}, err
	case len(text) > maxResponse:
		return answer{}, fmt.Errorf("the response is larger than %d bytes", maxResponse)
	}
	return check(text, c.Leaf, issuer, time.Now())
}

// check takes a response that says that the certificate is good, and that the issuer or
// somebody whom it allows to has signed (RFC 6960, sections 3.2 and 4.2.2.2).
func check(text []byte, leaf, issuer *x509.Certificate, now time.Time) (answer, error) {
	r, err := ocsp.ParseResponseForCert(text, leaf, issuer)
	if err != nil {
		return answer{}, fmt.Errorf("the response cannot be used: %w", err)
	}
	if by := r.Certificate; by != nil && !by.Equal(issuer) {
		if !slices.Contains(by.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning) || now.Before(by.NotBefore) || now.After(by.NotAfter) {
			return answer{}, errors.New("the response is signed by a certificate that may not do so")
		}
	}
	expiry := r.NextUpdate
	if expiry.IsZero() {
		expiry = now.Add(2 * refresh) // newer information is always there (RFC 6960, section 4.2.2.1)
	}
	switch {
	case r.ThisUpdate.After(now.Add(skew)):
		return answer{}, errors.New("the response is from the future")
	case !now.Before(expiry):
		return answer{}, errors.New("the response has expired")
	case r.Status == ocsp.Revoked:
		return answer{}, revokedError{r.RevokedAt}
	case r.Status != ocsp.Good:
		return answer{}, errors.New("the responder does not know the certificate")
	}
	return answer{response: text, produced: r.ThisUpdate, expiry: expiry}, nil
}
