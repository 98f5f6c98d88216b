package l7

import (
	"net/netip"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// Table is all that a gateway serves. It and all it points to are immutable.
type Table struct {
	// Revision is that of the State that it was compiled from.
	Revision uint64
	// Listeners are by name; each has an address of its own, or a port.
	Listeners map[string]*Listener
	// Backends are what the Routes of all Listeners name.
	Backends pmap.Map[BackendID, *Backend]
}

// Protocol is what a Listener expects of a new connection.
type Protocol uint8

// The protocols of Listeners.
const (
	HTTP  Protocol = iota + 1 // HTTP/1.1, and HTTP/2 with prior knowledge
	HTTPS                     // the same within TLS
)

// Listener is where clients connect to.
type Listener struct {
	Name     string
	Port     uint16
	Protocol Protocol
	Routes   *Routes
	// Certificates are of HTTPS: by host name, exact or *.example.com; "" is what
	// clients get that name no host, or another one. Values name what a store of
	// certificates holds.
	Certificates pmap.Map[string, CertificateID]
}

// CertificateID names a Secret of type kubernetes.io/tls.
type CertificateID desired.Name

// BackendID names what answers requests: a port of a Service.
type BackendID struct {
	Service desired.Name
	// Port is the name of the Service's port, or its number in digits.
	Port string
}

// String returns NAMESPACE/NAME:PORT.
func (id BackendID) String() string { return id.Service.String() + ":" + id.Port }

// Backend is what there is of a BackendID at the moment.
type Backend struct {
	ID        BackendID
	Endpoints []Endpoint
}

// Endpoint is one process that answers.
type Endpoint struct {
	Address netip.AddrPort
	// Draining endpoints get no new sessions as long as there are others.
	Draining bool
	Zone     string
}

// Request is what of a request decides about its way. Its strings need to be valid
// only while a call lasts: nothing keeps them.
type Request struct {
	Method string
	// Host is in lower case, without port and final dot.
	Host string
	// Path is what is matched: decoded and without dots and double slashes, as
	// Normalize returns it.
	Path string
	// Query is what follows the question mark, as it was sent.
	Query  string
	Header []Field
}

// Field is one line of a header. Names are in lower case.
type Field struct{ Name, Value string }

// Route is what is done with the requests that it matches.
type Route struct {
	// Source is the object that it was made of, and Rule which part of it: it is
	// what logs, metrics and Explain say.
	Source desired.Ref
	Rule   string
	// Backends share the requests by weight. None: the answer is 503.
	Backends []Weighted
	// Redirect answers instead of a Backend; nil for most.
	Redirect *Redirect
}

// Weighted is a Backend's share.
type Weighted struct {
	Backend BackendID
	Weight  uint32
}

// Redirect is an answer that sends the client elsewhere.
type Redirect struct {
	Status int
	// Scheme, Host and Path replace the request's; empty ones stay.
	Scheme, Host, Path string
}
