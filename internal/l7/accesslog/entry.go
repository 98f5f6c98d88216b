package accesslog

import (
	"net/netip"
	"time"
	"unsafe"

	"github.com/fairlead-net/fairlead/internal/l7/http1"
)

// Entry is what is known of a request once it has been answered. Its texts are read
// within Append only.
type Entry struct {
	// Begin is when the request came, Took how long it took until the end of its answer.
	Begin time.Time
	Took  time.Duration
	// Client is who asked, Peer who the connection is with: a load balancer, say.
	Client, Peer netip.Addr
	// Request is what was asked for, Target its path and query as they were sent.
	Request *http1.Request
	Target  []byte
	// Protocol is HTTP/1.0, HTTP/1.1 or HTTP/2.0; empty if there was no request.
	Protocol, Scheme, ServerPort string
	// ID is the X-Request-ID, User the name of basic authentication.
	ID   []byte
	User string
	// Status is that of the answer. Reason says why the proxy answered itself, or why the
	// answer is not whole; empty: the answer is a backend's.
	Status int
	Reason string
	// Received, Sent and SentBody are in bytes: of the request with its header, of the answer
	// with its header, and without.
	Received, Sent, SentBody int64
	// Tries are the endpoints that were asked, in order.
	Tries []Try
	// Kind, Namespace, Name and Rule are of the Route that the request took. Service is of
	// the first of its backends, Alternative of the one chosen if that is another.
	Kind, Namespace, Name, Rule string
	Service, Alternative        Service
	// TLSVersion, Cipher and ServerName are of the client's connection.
	TLSVersion, Cipher, ServerName string
	// TraceID and SpanID are in lower case hexadecimal; empty if nothing is traced.
	TraceID, SpanID string
	// Connection is the connection's number, ConnectionRequests how many requests it has
	// brought.
	Connection, ConnectionRequests int64
	// Answers are values of fields of the answer, by Format.Fields.
	Answers [][]byte
}

// Service is a port of a Service; the zero value is none.
type Service struct{ Namespace, Name, Port string }

// Try is an endpoint that was asked.
type Try struct {
	// Address is where it is; Host and Port are of one that is known by name.
	Address netip.AddrPort
	Host    string
	Port    uint16
	// Status is that of its answer: 502 or 504 if there was none.
	Status int
	// Asked is when, after Entry.Begin.
	Asked time.Duration
	// Connect, Header and Took are how long it took to have a connection, the header of the
	// answer and all of it; negative: that did not come.
	Connect, Header, Took time.Duration
	// Received are the bytes of the answer's body.
	Received int64
}

// text is a string that shares memory with b.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
