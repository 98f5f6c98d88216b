// Package lb decides where a connection to a Service goes.
//
// In goes a desired.State; out comes a Table that names, for each address,
// protocol and port of a Service, the endpoints that serve it from this node.
// Lookup answers from a Table what every data plane must answer, and explains
// it. The package is pure: its sub-folders make the kernel behave as the Table
// says.
package lb
