// Package server serves the cluster's names over the network.
//
// In go dns.Tables, one after the other, and queries over UDP, TCP, TLS and HTTPS;
// out come replies: from the Table if the name is the cluster's, else from an
// upstream server through the package forward. A new Table, be it alone or with
// other Settings, takes effect with the next query, as a whole.
//
// There is one UDP socket per processor, all on the same address, and the
// goroutine that reads a query also answers it, unless an upstream has to be
// asked: then a bounded number of further goroutines wait for it. Nothing that a
// client sends makes the server allocate without bound, wait without end, or
// stop: a query whose handling panics gets SERVFAIL and is counted.
//
// The package keeps no answer of the cluster's own names and decides none: it
// asks the Table every time.
package server
