// Package http1 reads and writes the messages of HTTP/1.1 (RFC 9112) for a proxy.
//
// In go bytes that a client or an upstream sent; out come a Request or a Response
// whose every part has one meaning, or an Error that says which status it deserves.
// What a recipient may read in two ways is refused, also where the RFC would allow
// to repair it: a lone line feed, a folded line, a space before a colon, two lengths,
// a length and a coding. Forward writes a message anew from what was read: no byte
// of a message's framing or of its fields for one hop is ever passed on.
//
// The package does no I/O, reads no clock, and keeps no bytes: parts of messages are
// slices of what the caller gave, and are valid as long as that is. Reading and
// writing allocate nothing once a Request or Response has been used before.
package http1
