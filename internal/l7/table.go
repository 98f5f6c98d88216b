package l7

import (
	"cmp"
	"net/netip"
	"strings"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7/filter"
	"github.com/fairlead-net/fairlead/internal/l7/nginx"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// The names of the Listeners that Ingresses are served at.
const (
	ListenerHTTP  = "http"
	ListenerHTTPS = "https"
)

// Table is all that a gateway serves. It and all it points to are immutable. The
// zero Table serves nothing.
type Table struct {
	// Revision is that of the State that it was compiled from.
	Revision uint64
	// Synced is false while the State may lack objects.
	Synced bool
	// Listeners are by name; each has an address of its own, or a port.
	Listeners map[string]*Listener
	// Backends are what the Routes of all Listeners name.
	Backends pmap.Map[BackendID, *Backend]
	// References are the Secrets and ConfigMaps that Filters name, with who names them.
	// A Filter whose object is not there lets nothing through.
	References pmap.Map[filter.Reference, Users]
	// Engine are settings of the engine, at the same pointer as long as they are the same;
	// nil: nothing is said.
	Engine *nginx.Engine

	config  Config
	state   *desired.State
	index   index
	reasons []desired.Reason // all, sorted
}

// Protocol is what a Listener expects of a new connection.
type Protocol uint8

// The protocols of Listeners.
const (
	HTTP  Protocol = iota + 1 // HTTP/1.1, and HTTP/2 with prior knowledge
	HTTPS                     // the same within TLS, but for what Streams say
	TCP                       // anything; Streams say where it goes
	UDP                       // datagrams; Streams say where they go
)

// Listener is where clients connect to.
type Listener struct {
	Name     string
	Port     uint16
	Protocol Protocol
	Routes   *Routes
	// Streams are what is passed on as it is, by the name that clients ask for; nil: nothing.
	// What Streams have does not get to the Routes.
	Streams *Streams
	// Preambles: each connection of TCP begins with a header of the PROXY protocol.
	Preambles bool
	// Certificates are of HTTPS: by host name, exact or *.example.com; "" is what
	// clients get that name no host, or another one. Values name what a store of
	// certificates holds.
	Certificates pmap.Map[string, CertificateID]
}

// Certificate returns the certificate for a client that asks for a host, in lower
// case: that of the name, that of *.REST, or the default one; false if there is none.
func (l *Listener) Certificate(host string) (CertificateID, bool) {
	if id, ok := l.Certificates.Get(host); ok {
		return id, true
	}
	if _, rest, ok := strings.Cut(host, "."); ok {
		if id, ok := l.Certificates.Get("*." + rest); ok {
			return id, true
		}
	}
	return l.Certificates.Get("")
}

// CertificateID names a Secret of type kubernetes.io/tls.
type CertificateID desired.Name

// String returns NAMESPACE/NAME.
func (id CertificateID) String() string { return desired.Name(id).String() }

// BackendID names what answers requests: a port of a Service.
type BackendID struct {
	Service desired.Name
	// Port is the name of the Service's port, or its number in digits; empty: the first.
	Port string
	// Virtual: the only endpoint is the Service's own address, behind which others choose.
	Virtual bool
	// UDP: the port is of UDP, not of TCP.
	UDP bool
}

// String returns NAMESPACE/NAME:PORT.
func (id BackendID) String() string {
	text := id.Service.String() + ":" + id.Port
	if id.UDP {
		text += "/UDP"
	}
	if id.Virtual {
		text += " at its own address"
	}
	return text
}

// Compare orders by Service, then by port.
func (id BackendID) Compare(other BackendID) int {
	if c := id.Service.Compare(other.Service); c != 0 {
		return c
	}
	return cmp.Or(strings.Compare(id.Port, other.Port), cmp.Compare(boolean(id.Virtual), boolean(other.Virtual)), cmp.Compare(boolean(id.UDP), boolean(other.UDP)))
}

// Backend is what there is of a BackendID at the moment. Without Endpoints and Host
// the answer is 503.
type Backend struct {
	ID        BackendID
	Endpoints []Endpoint
	// Host is a name that DNS resolves to the endpoints, of a Service of type
	// ExternalName; then there are no Endpoints, and HostPort is where to connect.
	Host     string
	HostPort uint16
	// Balance is what the Service says of how endpoints get requests; nil: DefaultBalance.
	Balance *Balance
	// Problem says why there is nothing, if an object is wrong: "there is no
	// Service demo/shop". Empty where endpoints merely are not there.
	Problem string

	code string // of the Reason for Problem
	// notices are what is wrong with the Service's annotations.
	notices []desired.Reason
}

// Endpoint is one process that answers.
type Endpoint struct {
	Address netip.AddrPort
	// Draining endpoints get no new sessions as long as there are others.
	Draining bool
	// Far endpoints get none either as long as one can be used that is neither: they are
	// for other zones.
	Far  bool
	Zone string
}
