package acme

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"strconv"
	"time"
)

// patience is when an authority wants to be asked again (Retry-After, RFC 9110,
// section 10.2.3), which the library does not return with an error.
type patience struct{ after time.Duration }

type patienceKey struct{}

// withPatience returns a context whose requests note what the authority wants.
func withPatience(ctx context.Context) (context.Context, *patience) {
	p := new(patience)
	return context.WithValue(ctx, patienceKey{}, p), p
}

// maxPatience bounds it: the longest limits of authorities are counted in weeks.
const maxPatience = 7 * 24 * time.Hour

// transport bounds what an authority sends, and notes Retry-After of refusals. The
// requests of one context follow each other.
type transport struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := t.next.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	response.Body = body{io.LimitReader(response.Body, maxBody), response.Body}
	if p, ok := request.Context().Value(patienceKey{}).(*patience); ok && response.StatusCode >= 400 {
		p.after = retryAfter(response.Header.Get("Retry-After"), time.Now())
	}
	return response, nil
}

type body struct {
	io.Reader
	io.Closer
}

// retryAfter reads the field: seconds or a date; 0 if it is not there.
func retryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(text, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, maxPatience)
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(at.Sub(now), 0), maxPatience)
	}
	return 0
}

// newHTTPClient returns the client for authority and webhook.
func newHTTPClient(c Config) *http.Client {
	return &http.Client{
		Timeout: 30 * time.Second,
		Transport: transport{&http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: c.Roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: 90 * time.Second, MaxIdleConnsPerHost: maxOrders, ForceAttemptHTTP2: true,
			MaxResponseHeaderBytes: 64 << 10,
		}},
	}
}
