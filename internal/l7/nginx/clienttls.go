package nginx

import (
	"errors"
	"strings"

	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// clientTLSReaders are the annotations about certificates of clients; all are read
// together, and all guard.
func clientTLSReaders() map[string]reader {
	all := map[string]reader{}
	for _, name := range []string{"auth-tls-secret", "auth-tls-verify-client", "auth-tls-verify-depth", "auth-tls-error-page", "auth-tls-pass-certificate-to-upstream", "auth-tls-match-cn"} {
		all[name] = reader{nothing, true}
	}
	return all
}

// clientTLS reads them.
func (r *report) clientTLS(given map[string]string) {
	secret, verify := given["auth-tls-secret"], given["auth-tls-verify-client"]
	if secret == "" {
		if verify != "" && verify != "off" {
			r.wrong("auth-tls-verify-client", verify, true, errors.New("needs auth-tls-secret"))
		}
		return
	}
	c := &filter.ClientTLS{Depth: 1, Pass: r.flag(given, "auth-tls-pass-certificate-to-upstream")}
	namespace, name, err := objectName(secret)
	if err != nil {
		r.wrong("auth-tls-secret", secret, true, err)
	}
	c.Authorities = filter.Reference{Purpose: filter.ClientAuthority, Namespace: namespace, Name: name}
	switch verify {
	case "", "on":
	case "off":
		return
	case "optional":
		c.Optional = true
	case "optional_no_ca":
		c.Optional, c.Unverified = true, true
	default:
		r.wrong("auth-tls-verify-client", verify, true, errors.New("is none of on, off, optional and optional_no_ca"))
	}
	if n := r.amount(given, "auth-tls-verify-depth"); n > 0 {
		c.Depth = n
	}
	if page := given["auth-tls-error-page"]; page != "" {
		if err := plainURL(page); err != nil {
			r.wrong("auth-tls-error-page", page, true, err)
		} else if !strings.HasPrefix(page, "http://") && !strings.HasPrefix(page, "https://") && !strings.HasPrefix(page, "/") {
			r.wrong("auth-tls-error-page", page, true, errors.New("is neither a URL nor a path"))
		}
		c.ErrorPage = page
	}
	if text := given["auth-tls-match-cn"]; text != "" {
		if c.Subject, err = parsePattern(text); err != nil {
			r.wrong("auth-tls-match-cn", text, true, err)
		}
	}
	r.options.Filters.ClientTLS = c
}
