package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// stream is a connection of the load to a proxy, plain or within TLS, that never
// waits once it is made.
type stream struct {
	fd  int
	tls *tls.Conn // nil without TLS
	// in is what has come and TLS has not taken; while made is not set, TLS reads
	// from the socket itself, and waits.
	in   []byte
	made bool
}

// errRefused says that the other side does not speak a protocol.
var errRefused = errors.New("TLS with it does not agree on the protocol")

// noApplicationProtocol is how crypto/tls, which does not export it, writes the alert
// that says so (RFC 7301, 3.2).
const noApplicationProtocol = "no application protocol"

// dial connects, and shakes hands if there is a protocol, which TLS must then agree on.
func dial(address netip.AddrPort, protocol string) (*stream, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	s := &stream{fd: fd}
	if err := s.connect(address, protocol); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("connecting to %s: %w", address, err)
	}
	return s, nil
}

func (s *stream) connect(address netip.AddrPort, protocol string) error {
	// A proxy that says nothing is no reason to wait forever.
	if err := unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}); err != nil {
		return err
	}
	if err := unix.Connect(s.fd, &unix.SockaddrInet4{Port: int(address.Port()), Addr: address.Addr().As4()}); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(s.fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return err
	}
	if protocol != "" {
		s.tls = tls.Client(s, tlsConfig(protocol))
		if err := s.tls.HandshakeContext(context.Background()); err != nil {
			if strings.Contains(err.Error(), noApplicationProtocol) {
				return fmt.Errorf("%w: %s", errRefused, protocol)
			}
			return err
		}
		if err := same(s.tls.ConnectionState()); err != nil {
			return err
		}
		// What is agreed on by saying nothing is HTTP/1.1.
		if got := cmp.Or(s.tls.ConnectionState().NegotiatedProtocol, "http/1.1"); got != protocol {
			return fmt.Errorf("%w: it chooses %q, not %q", errRefused, got, protocol)
		}
	}
	s.made = true
	return unix.SetNonblock(s.fd, true)
}

// same makes sure that all proxies do the same cryptography, and no less than a full
// handshake.
func same(state tls.ConnectionState) error {
	if state.DidResume || state.Version != tls.VersionTLS13 || state.CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
		return fmt.Errorf("the handshake is %s with %s, resumed: %t; it is to be full, of TLS 1.3 with AES-128-GCM",
			tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite), state.DidResume)
	}
	return nil
}

// tlsConfig is the same for all proxies.
func tlsConfig(protocol string) *tls.Config {
	return &tls.Config{
		ServerName: secureHost, NextProtos: []string{protocol}, MinVersion: tls.VersionTLS13,
		CurvePreferences: []tls.CurveID{tls.X25519},
		// The certificate is the bench's own, and the same at every proxy: what it
		// costs the load to verify it says nothing of them.
		InsecureSkipVerify: true,
	}
}

// fill reads from the socket for TLS, which take then reads from.
func (s *stream) fill(into []byte) error {
	n, err := read(s.fd, into)
	s.in = into[:n]
	return err
}

// take reads what TLS has; errNothing if that is no whole record.
func (s *stream) take(into []byte) (int, error) { return s.tls.Read(into) }

// send writes all of a small piece.
func (s *stream) send(out []byte) error {
	if s.tls == nil {
		return write(s.fd, out)
	}
	_, err := s.tls.Write(out)
	return err
}

// Read and the methods after it make a net.Conn for crypto/tls of the socket.
func (s *stream) Read(into []byte) (int, error) {
	if !s.made {
		return read(s.fd, into)
	}
	if len(s.in) == 0 {
		return 0, errNothing
	}
	n := copy(into, s.in)
	s.in = s.in[n:]
	return n, nil
}

func (s *stream) Write(out []byte) (int, error) {
	if err := write(s.fd, out); err != nil {
		return 0, err
	}
	return len(out), nil
}

// Close does nothing: the loop closes the socket.
func (s *stream) Close() error { return nil }

// LocalAddr is not asked for.
func (s *stream) LocalAddr() net.Addr { return nil }

// RemoteAddr is not asked for.
func (s *stream) RemoteAddr() net.Addr { return nil }

// SetDeadline is only a part of net.Conn here, as those that follow.
func (s *stream) SetDeadline(time.Time) error { return os.ErrNoDeadline }

// SetReadDeadline is one.
func (s *stream) SetReadDeadline(time.Time) error { return os.ErrNoDeadline }

// SetWriteDeadline is one.
func (s *stream) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }
