package acme

import (
	"crypto/x509"
	"time"
)

// Challenge is how a certificate authority finds out that a host is the gateway's.
type Challenge string

// The challenges.
const (
	HTTP01    Challenge = "http-01"     // a file on port 80 (RFC 8555, section 8.3)
	DNS01     Challenge = "dns-01"      // a TXT record (RFC 8555, section 8.4)
	TLSALPN01 Challenge = "tls-alpn-01" // a certificate on port 443 (RFC 8737)
)

// Config are the administrator's choices.
type Config struct {
	// Server is the URL of the authority's directory (RFC 8555, section 7.1.1).
	Server string
	// Email is where the authority writes to; it may be empty.
	Email string
	// AgreeToTerms to the authority's terms of service. Nothing is ordered without.
	AgreeToTerms bool
	// Challenge is for all hosts but *.NAME, for which there is only DNS01.
	Challenge Challenge
	// Default orders for all Ingresses that are not somebody else's business, not only
	// for those with the annotation.
	Default bool
	// Profile is what the authority calls a kind of certificate; empty: its usual one.
	Profile string
	// OrdersPerHour is how many certificates one namespace may order in an hour.
	OrdersPerHour int
	// Namespace is where accounts, answers and failures are kept, and the Secrets that
	// Webhook and EAB name.
	Namespace string
	// Roots are the issuers of the certificates of the authority's own server and of the
	// webhook; nil: those of the system.
	Roots   *x509.CertPool
	Webhook Webhook
	EAB     EAB
}

// Webhook makes and removes the TXT records of DNS01.
type Webhook struct {
	// URL has /present and /cleanup; empty: there is none.
	URL string
	// Secret has username and password, or token; empty: requests have no credentials.
	Secret string
	// Propagation is how long a record takes, after the webhook's answer, to be
	// everywhere that the authority may ask.
	Propagation time.Duration
}

// EAB binds the account to one that is known to the authority by other means (RFC
// 8555, section 7.3.4).
type EAB struct {
	// KeyID is the authority's name for the key; empty: no binding.
	KeyID string
	// Secret has the key under hmac, in base64url as authorities give it.
	Secret string
}

// Annotation is the one by which an Ingress asks for certificates ("true"), or declines them
// where Default is set ("false").
const Annotation = "fairlead.dev/acme"

// The names of Secrets in Config.Namespace. AnswersSecret is the one that every
// replica watches; the others are the leader's.
const (
	AnswersSecret = "fairlead-acme-answers"
	accountSecret = "fairlead-acme-account-" // and a digest of Server
	ledgerSecret  = "fairlead-acme-state"    // of the authority; with -NAMESPACE, of its certificates
)

// Limits on what others decide.
const (
	maxHosts    = 100       // of a certificate, as with Let's Encrypt
	maxAnswers  = 1000      // at a time
	maxText     = 512       // of an authority's words
	maxBody     = 1 << 20   // of an authority's answer
	maxOrders   = 4         // at work at a time
	maxOrderFor = 15 * 60   // seconds that an order may take
	maxFailures = 500       // kept for a namespace
	answerFor   = 60 * 60   // seconds after which an answer is nobody's any more
	minAgain    = 5 * 60    // seconds until the second attempt
	maxAgain    = 24 * 3600 // seconds between attempts
)
