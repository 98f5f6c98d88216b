// Package http2 is one side of a connection of HTTP/2 (RFC 9113) for a proxy, without
// its I/O.
//
// In go bytes that the other side sent, and what is to be sent on a stream; out come
// streams with their headers and bodies, and bytes to be written. A header list becomes
// the text of a header of HTTP/1.1, after what only HTTP/2 demands of it has been
// checked, so that the package http1 reads it, and what a message means is decided in
// one place. The other way, a header that http1 has written becomes a header list.
//
// All that the other side controls is bounded: streams, windows, header lists also
// before they are decoded, and what it can ask for without asking a request: settings,
// pings, empty frames, resets. Push is not used and priorities are ignored.
//
// The package does no I/O, reads no clock, starts nothing and never waits. A Conn and
// its streams are guarded by a lock of the caller's.
package http2
