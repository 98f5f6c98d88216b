package config

import (
	"net/url"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
)

// ACME configures where certificates of Ingresses come from.
type ACME struct {
	// Server is the directory of the certificate authority.
	Server string `yaml:"server"`
	// Email is where the authority writes to; it may be empty.
	Email string `yaml:"email"`
	// AgreeToTerms to the authority's terms of service. Nothing is ordered without.
	AgreeToTerms bool `yaml:"agreeToTerms"`
	// Challenge is http-01, tls-alpn-01 or dns-01: how the authority finds out that a
	// host is the gateway's. Wildcards always have dns-01.
	Challenge string `yaml:"challenge"`
	// Default orders for all Ingresses whose Secrets do not exist, not only for those
	// with annotation fairlead.dev/acme.
	Default bool `yaml:"default"`
	// Profile is what the authority calls a kind of certificate, such as shortlived;
	// empty: its usual one.
	Profile string `yaml:"profile"`
	// OrdersPerHour is how many certificates one namespace may order in an hour.
	OrdersPerHour int `yaml:"ordersPerHour"`
	// CAFile has, in PEM form, who signs the certificates of the authority's own server
	// and of the webhook; empty: as the system says.
	CAFile     string     `yaml:"caFile"`
	DNSWebhook DNSWebhook `yaml:"dnsWebhook"`
	EAB        EAB        `yaml:"eab"`
}

// DNSWebhook makes and removes the TXT records of dns-01.
type DNSWebhook struct {
	// URL is what /present and /cleanup are appended to.
	URL string `yaml:"url"`
	// Secret is in status.leaseNamespace and has token, or username and password.
	Secret string `yaml:"secret"`
	// Propagation is how long a record takes to be at all name servers, after the
	// webhook's answer.
	Propagation time.Duration `yaml:"propagation"`
}

// EAB binds the account to one that is known to the authority by other means.
type EAB struct {
	KeyID string `yaml:"keyID"`
	// Secret is in status.leaseNamespace and has the key under hmac.
	Secret string `yaml:"secret"`
}

// LetsEncrypt is the directory of the authority that is asked if nothing else is said.
const LetsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

func defaultACME() ACME {
	return ACME{Server: LetsEncrypt, Challenge: "http-01", OrdersPerHour: 30}
}

func (a ACME) validate(bad func(field, format string, args ...any)) {
	if u, err := url.Parse(a.Server); err != nil || u.Scheme != "https" || u.Host == "" {
		bad("acme.server", "%q is not of the form https://HOST/DIRECTORY", a.Server)
	}
	if name, domain, ok := strings.Cut(a.Email, "@"); a.Email != "" && (!ok || name == "" || domain == "" || strings.ContainsAny(a.Email, " ,<>?")) {
		bad("acme.email", "%q is not one address of the form NAME@DOMAIN", a.Email)
	}
	if c := a.Challenge; c != "http-01" && c != "tls-alpn-01" && c != "dns-01" {
		bad("acme.challenge", "%q is none of http-01, tls-alpn-01 and dns-01", c)
	}
	if a.Challenge == "dns-01" && a.DNSWebhook.URL == "" {
		bad("acme.dnsWebhook.url", "is empty, but acme.challenge is dns-01; say who makes the records")
	}
	if a.Default && !a.AgreeToTerms {
		bad("acme.agreeToTerms", "is false, so nothing is ordered, but acme.default is true; read the terms of service (the authority's directory links them as meta.termsOfService) and say true")
	}
	if a.OrdersPerHour < 1 || a.OrdersPerHour > 10_000 {
		bad("acme.ordersPerHour", "%d is not between 1 and 10000", a.OrdersPerHour)
	}
	if a.CAFile != "" && !strings.HasPrefix(a.CAFile, "/") {
		bad("acme.caFile", "%q is not an absolute path", a.CAFile)
	}
	if u, err := url.Parse(a.DNSWebhook.URL); a.DNSWebhook.URL != "" && (err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.User != nil) {
		bad("acme.dnsWebhook.url", "%q is not of the form https://HOST/PATH", a.DNSWebhook.URL)
	}
	if p := a.DNSWebhook.Propagation; p < 0 || p > 10*time.Minute {
		bad("acme.dnsWebhook.propagation", "%s is not between 0s and 10m", p)
	}
	if (a.EAB.KeyID == "") != (a.EAB.Secret == "") {
		bad("acme.eab", "keyID and secret need each other; the authority gives a key and its ID")
	}
	for field, name := range map[string]string{"acme.dnsWebhook.secret": a.DNSWebhook.Secret, "acme.eab.secret": a.EAB.Secret} {
		if p := validation.IsDNS1123Subdomain(name); name != "" && len(p) > 0 {
			bad(field, "%q is not the name of a Secret: %s", name, p[0])
		}
	}
}
