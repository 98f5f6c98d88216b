package l7

import (
	"net/netip"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// Route is what is done with the requests that it matches. What it says applies in
// this order, which is nginx's: HTTPSRedirect, Redirect, Access with the Auth of
// Filters, MaxBody, Rewrite, Backends.
type Route struct {
	// Source is the object that it was made of, and Rule which part of it: it is
	// what logs, metrics and Explain say.
	Source desired.Ref
	Rule   string
	// Host is the host of the rule, *.REST for a wildcard; empty: any.
	Host string
	// HTTPSRedirect answers requests that came without TLS; nil: they are served.
	HTTPSRedirect *Redirect
	// Access says which clients are let in; nil: all. The others get 403.
	Access *Access
	// Redirect answers instead of a Backend; nil for most.
	Redirect *Redirect
	// MaxBody is how many bytes a request's body may have, else the answer is 413;
	// 0: as many as the engine lets through by default, negative: any.
	MaxBody int64
	// Filters are what else is done with requests and answers; nil: nothing.
	Filters *filter.Filters
	// Errors says what is answered in place of errors; nil: they are.
	Errors *Errors
	// Rewrite changes what Backends get; nil: nothing.
	Rewrite *Rewrite
	// Backends share the requests by weight. None, or none with a weight: the answer
	// is Status.
	Backends []Weighted
	// Status answers where no Backend does; 0 means 503 (Unavailable). Why says to the
	// client why; empty: that there is no backend.
	Status   int
	Why      string
	Upstream Upstream
}

// Weighted is a Backend's share.
type Weighted struct {
	Backend BackendID
	Weight  uint32
}

// Redirect is an answer that sends the client elsewhere.
type Redirect struct {
	Status int
	// Location is the whole target, as it is; Scheme, Host and Path are empty then.
	Location string
	// AppendURI: the path and the query of the request, as they would be sent to a
	// Backend, follow Location; else the query does not.
	AppendURI bool
	// Scheme, Host and Path replace the request's; empty ones stay. The query stays
	// too. Path is as it is sent, encoded.
	Scheme, Host, Path string
}

// Access says which clients are let in, by address.
type Access struct {
	// Allow: none means every client. Deny goes before Allow.
	Allow, Deny []netip.Prefix
}

// Allows tells whether a client is let in. An address that is not valid is not, if
// there are ranges at all.
func (a *Access) Allows(client netip.Addr) bool {
	if a == nil {
		return true
	}
	client = client.Unmap().WithZone("")
	return !within(a.Deny, client) && (len(a.Allow) == 0 || within(a.Allow, client)) && client.IsValid()
}

func within(ranges []netip.Prefix, a netip.Addr) bool {
	for _, r := range ranges {
		if r.Contains(a) {
			return true
		}
	}
	return false
}

// Rewrite changes a request on its way to a Backend.
type Rewrite struct {
	// Host replaces the Host header; empty: it stays.
	Host string
	// Path makes the new path; nil: it stays.
	Path *PathRewrite
	// Prefix is sent as X-Forwarded-Prefix; empty: nothing is.
	Prefix string
}

// UpstreamProtocol is what is spoken with a Backend.
type UpstreamProtocol uint8

// The protocols of Backends.
const (
	UpstreamHTTP  UpstreamProtocol = iota // HTTP/1.1
	UpstreamHTTPS                         // HTTP/1.1 within TLS
	UpstreamGRPC                          // HTTP/2 with prior knowledge
	UpstreamGRPCS                         // HTTP/2 within TLS
	UpstreamAuto                          // HTTP/1.1, within TLS if the request came so
)

// String returns the name that ingress-nginx gives the protocol.
func (p UpstreamProtocol) String() string {
	return [...]string{"HTTP", "HTTPS", "GRPC", "GRPCS", "AUTO_HTTP"}[p]
}

// Upstream says how Backends are spoken with. Zero durations are the engine's
// defaults.
type Upstream struct {
	Protocol UpstreamProtocol
	// Connect is how long a connection may take to be made.
	Connect time.Duration
	// Send and Read are between two writes and two reads, not in all.
	Send, Read time.Duration
	// TLS is what is demanded of Backends that are spoken with within TLS.
	TLS UpstreamTLS
}

// UpstreamTLS says what a Backend's certificate is compared with, and what is shown
// to the Backend. The zero value is what ingress-nginx does by default: any certificate
// is taken, and no name is sent. Connections are shared only by Routes that say the same
// here, so values are compared with ==.
type UpstreamTLS struct {
	// Verify: the certificate has to be for Name and by an authority of Secret; else the
	// answer is 502 (proxy-ssl-verify).
	Verify bool
	// Depth is how many certificates may be between that of the Backend and the
	// authority's; 0 means 1, as in ingress-nginx (proxy-ssl-verify-depth).
	Depth uint8
	// Name is whom the certificate has to be for, and what SendName sends (proxy-ssl-name);
	// empty: the name of an ExternalName, else SERVICE.NAMESPACE.svc.
	Name string
	// SendName sends the name as SNI (proxy-ssl-server-name).
	SendName bool
	// Secret holds the authorities (ca.crt), and what is shown to Backends that ask for a
	// certificate (tls.crt, tls.key; proxy-ssl-secret). The zero value: the authorities of
	// the system, and nothing is shown.
	Secret CertificateID
	// TLS12 and TLS13 are the versions that are spoken; neither means both
	// (proxy-ssl-protocols).
	TLS12, TLS13 bool
}
