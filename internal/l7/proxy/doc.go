// Package proxy carries requests of HTTP/1.1 and HTTP/2 from clients to the endpoints
// that answer them.
//
// In go l7.Tables, one after the other, certificates, and connections of clients;
// out come requests to upstreams and their answers. Which way a request goes is the
// Table's decision, l7.Routes.Match; what a message means is decided by the packages
// http1 and http2; this package moves the bytes. A new Table takes effect with the next
// request, as a whole; a change of endpoints touches nothing but the connections to
// them, and no change ends a request.
//
// Each connection of a client has one goroutine, which also talks to the upstream; of
// HTTP/2, each request has one. A connection holds memory for messages only while there
// is one. Everything that a client or an upstream controls is bounded: sizes, counts,
// and how long each may take.
//
// The package never passes on a byte whose meaning it has not understood, never
// repeats a request that may have had an effect, and never writes into logs, labels
// or answers what a client sent.
package proxy
