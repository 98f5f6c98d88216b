// Package staple has certificates show that they have not been revoked (OCSP stapling:
// RFC 6066, section 8; RFC 6960).
//
// In go the certificates that are served; out come the same ones, with the responses
// that their responders have given. Those are fetched and kept up to date in the
// background: no handshake ever waits for one, and a certificate whose responder says
// nothing is served without.
//
// Responders are named by certificates, and so by whoever may write a Secret. The
// package asks no address of the gateway's own network unless it is told to, follows no
// redirects, takes only what the issuer has signed, and bounds size, time and number.
package staple
