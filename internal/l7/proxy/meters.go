package proxy

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
)

// kinds are why an endpoint did not answer, or not to the end.
type kind uint8

const (
	failedConnect   kind = iota // no connection was made
	failedName                  // its name leads nowhere, or where it must not
	failedTLS                   // no TLS came about, or its certificate is not as demanded
	failedTimeout               // something took too long
	failedReset                 // the connection broke
	failedInvalid               // what it says is no answer
	failedElsewhere             // anything else
	kinds
)

// String returns the value of a label.
func (k kind) String() string {
	return [...]string{"connect", "name", "tls", "timeout", "reset", "invalid", "other"}[k]
}

// kindOf says what kind an error is, unless the client is to blame, or a limit.
func kindOf(err error) (kind, bool) {
	var untrusted *untrustedError
	var name *net.DNSError
	status := 0
	if errors.Is(err, errConnect) {
		status, _ = unreachable(err)
	}
	switch {
	case errors.Is(err, errClient), errors.Is(err, errBody), errors.Is(err, errStopped), errors.Is(err, errFull), errors.Is(err, errNotCarried):
		return 0, false
	case errors.As(err, &untrusted), errors.Is(err, errHandshake), errors.Is(err, errAuthorities):
		return failedTLS, true
	case status == 504, timedOut(err):
		return failedTimeout, true
	case errors.Is(err, errForbidden), errors.As(err, &name):
		return failedName, true
	case status != 0:
		return failedConnect, true
	case errors.Is(err, errAnswer):
		return failedInvalid, true
	case errors.Is(err, errStale), closed(err), errors.Is(err, errPoured), errors.Is(err, io.ErrUnexpectedEOF):
		return failedReset, true
	}
	return failedElsewhere, true
}

// isAnswer reports whether an error of an attempt means that the endpoint has answered, and
// that the client is to get something else.
func isAnswer(err error) bool {
	return errors.Is(err, errNext) || errors.Is(err, errReplaced) || errors.Is(err, errWithheld)
}

// backendMeter counts what a backend does. It outlives changes of its endpoints.
type backendMeter struct {
	series
	failures [kinds]atomic.Uint64
	// retries are requests that were sent to another endpoint after one had failed.
	retries atomic.Uint64
	// ejections are of endpoints, refused requests that a limit has not let through.
	ejections [causes]atomic.Uint64
	refused   [bounds]atomic.Uint64
	// checks are health checks that have failed, and those that have not.
	checks [2]atomic.Uint64
}

// ask counts an endpoint that was asked, and what came of it.
func (m *backendMeter) ask(status int, took, now int64, err error) {
	if err != nil && !isAnswer(err) {
		if k, blamed := kindOf(err); blamed {
			m.failures[k].Add(1)
		}
		return
	}
	m.count(status, took, now)
}

// versions are the protocols that clients speak.
const (
	http10 = iota
	http11
	http20
	http30
	versions
)

// listenerMeter counts what comes to a listener.
type listenerMeter struct {
	// accepted are connections in all, open those at the moment.
	accepted atomic.Uint64
	open     atomic.Int64
	// requests are counted by protocol, handshakes by whether they are of TLS 1.3 and take
	// up a session, and those that failed by why.
	requests   [versions]atomic.Uint64
	handshakes [2][2]atomic.Uint64
	failures   [refusals]atomic.Uint64
}

// refusal is why a handshake of TLS has failed.
type refusal uint8

const (
	refusedClosed      refusal = iota // the client went away
	refusedTimeout                    // it took too long
	refusedNotTLS                     // what came is not TLS
	refusedVersion                    // the client speaks no version of TLS that is spoken
	refusedCipher                     // nor a cipher
	refusedCertificate                // there is no certificate for the name
	refusedClient                     // the client's certificate is missing or not accepted
	refusedAlert                      // the client does not accept what it is shown
	refusedElsewhere
	refusals
)

// String returns the value of a label.
func (r refusal) String() string {
	return [...]string{"closed", "timeout", "not_tls", "version", "cipher", "no_certificate", "client_certificate", "alert", "other"}[r]
}

// refusalOf says why a handshake has failed.
func refusalOf(err error) refusal {
	var record tls.RecordHeaderError
	var client *tls.CertificateVerificationError
	text := err.Error()
	switch {
	case errors.Is(err, errNoCertificate):
		return refusedCertificate
	case timedOut(err):
		return refusedTimeout
	case errors.As(err, &record):
		return refusedNotTLS
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return refusedClosed
	case errors.As(err, &client), strings.Contains(text, "didn't provide a certificate"):
		return refusedClient
	// crypto/tls has no other names for these.
	case strings.Contains(text, "remote error"):
		return refusedAlert
	case strings.Contains(text, "unsupported versions"), strings.Contains(text, "protocol version"):
		return refusedVersion
	case strings.Contains(text, "cipher suite"):
		return refusedCipher
	}
	return refusedElsewhere
}

// shake counts a handshake.
func (m *listenerMeter) shake(s *secure, err error) {
	if err != nil {
		m.failures[refusalOf(err)].Add(1)
		return
	}
	m.shaken(s.ConnectionState())
}

// shaken counts a handshake that went well.
func (m *listenerMeter) shaken(state tls.ConnectionState) {
	m.handshakes[bit(state.Version == tls.VersionTLS13)][bit(state.DidResume)].Add(1)
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
