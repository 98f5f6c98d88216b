// Package nginx reads the annotations of ingress-nginx.
//
// In go the annotations of one Ingress; out come Options, which are data, and a
// Problem for each annotation that cannot be followed. No text of a user is put into
// another text that something interprets: what is not understood is refused.
//
// An annotation that guards something (who may come in, where requests go) and that
// cannot be followed closes the Ingress: its requests get 503 rather than more than
// its author meant. Any other is left out. The package knows no other object, and
// does nothing itself.
package nginx

import (
	"net/netip"
	"regexp"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// Prefix is that of the annotations.
const Prefix = "nginx.ingress.kubernetes.io/"

// Options are what an Ingress asks for. The zero value of a field means that nothing
// is asked.
type Options struct {
	// UseRegex: paths are regular expressions.
	UseRegex bool
	// RewriteTarget is the new path, with $1 to $9 for groups of the expression.
	RewriteTarget string
	// AppRoot is where the root is sent to, an absolute path.
	AppRoot string
	// SSLRedirect sends requests without TLS to HTTPS if there is a certificate for the
	// host; ForceSSLRedirect also if there is none.
	SSLRedirect, ForceSSLRedirect bool
	// Redirect answers every request; nil: none.
	Redirect *Redirect
	// UpstreamHost is the Host that backends get.
	UpstreamHost string
	// ForwardedPrefix is sent as X-Forwarded-Prefix with a rewritten path.
	ForwardedPrefix string
	// Protocol is HTTP, HTTPS, GRPC, GRPCS or AUTO_HTTP; empty: HTTP.
	Protocol            string
	Connect, Send, Read time.Duration
	// MaxBody is in octets; 0: any. HasMaxBody: it was asked for.
	MaxBody    int64
	HasMaxBody bool
	// Allow and Deny are ranges of clients.
	Allow, Deny []netip.Prefix
	Canary      *Canary
	// Filters are all that is done beyond that. References without namespace are to the
	// Ingress's own.
	Filters filter.Filters
	// Aliases are further hosts, in lower case. WWWRedirect sends requests for the host
	// with www. to that without, or the other way around, whichever a rule has.
	Aliases     []string
	WWWRedirect bool
	// TLS is what is demanded of backends within TLS.
	TLS ProxyTLS
	// ServiceUpstream: the Service's own address is the only endpoint.
	ServiceUpstream bool
	// DefaultBackend is a Service that answers where no endpoint is, and in place of the
	// Errors; empty: none.
	DefaultBackend string
	Errors         []int
	// Passthrough: TLS is passed through to the backend.
	Passthrough bool
	// GlobalAuth: what the administrator asks for of who is let in holds too.
	GlobalAuth bool
	// Closed: something that guards could not be read.
	Closed bool
}

// Redirect is an answer to every request.
type Redirect struct {
	Status   int
	Location string
	// AppendURI: the path and query of the request follow Location ($request_uri).
	AppendURI bool
}

// Canary says which requests go to this Ingress's backends instead of those of the
// main one with the same host and path: those that the header decides about, else
// those that the cookie does, else a share of Weight in Total.
type Canary struct {
	// Header is in lower case. HeaderValue and HeaderPattern say what it must be; with
	// neither it is always or never.
	Header, HeaderValue string
	HeaderPattern       *regexp.Regexp
	// Cookie is always or never.
	Cookie        string
	Weight, Total uint32
}

// Problem is an annotation that is not followed as it is written.
type Problem struct {
	// Code is one CamelCase word for machines.
	Code    string
	Message string
	// Annotation is its name without Prefix. Closes: its Ingress gets 503 for it.
	Annotation string
	Closes     bool
}
