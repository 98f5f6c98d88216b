package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// The sizes of bodies.
const (
	small = 1 << 10
	large = 64 << 10
)

// The paths of the backend: what the last three answer.
const (
	smallPath = "/1k"
	largePath = "/64k"
	grpcPath  = "/bench.Echo/Unary"
)

// backend is what the proxies ask: HTTP/1.1 at one address, and gRPC at another.
type backend struct {
	*loop
	small, largeHeader []byte
	// body is a file in memory with the large body, from which the kernel sends
	// without a copy.
	body int
}

// serve starts a backend on a loop.
func serve(l *loop, plain, grpc netip.AddrPort) error {
	b := &backend{loop: l}
	const header = "HTTP/1.1 200 OK\r\nServer: backend\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n"
	b.small = fmt.Appendf(nil, header+"%s", small, text(small))
	b.largeHeader = fmt.Appendf(nil, header, large)
	var err error
	if b.body, err = unix.MemfdCreate("body", unix.MFD_CLOEXEC); err != nil {
		return err
	}
	if err := write(b.body, []byte(text(large))); err != nil {
		return err
	}
	if err := l.listen(plain, func(fd int) sock { return &answerer{backend: b, fd: fd} }); err != nil {
		return err
	}
	return l.listen(grpc, func(fd int) sock { return newGRPCAnswerer(l, fd) })
}

// text is a body of a size.
func text(size int) string { return strings.Repeat("0123456789abcde\n", size/16) }

// listener accepts connections.
type listener struct {
	*loop
	fd   int
	sock func(fd int) sock
}

func (l *loop) listen(address netip.AddrPort, sock func(fd int) sock) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(address.Port()), Addr: address.Addr().As4()}); err != nil {
		return fmt.Errorf("%s: %w", address, err)
	}
	if err := unix.Listen(fd, 4096); err != nil {
		return err
	}
	return l.watch(fd, &listener{loop: l, fd: fd, sock: sock})
}

func (l *listener) ready(uint32) error {
	fd, _, err := unix.Accept4(l.fd, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
	if err != nil {
		if err == unix.EAGAIN || err == unix.ECONNABORTED {
			return nil
		}
		return fmt.Errorf("the backend cannot accept: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return err
	}
	return l.watch(fd, l.sock(fd))
}

// answerer is a connection of a proxy to the backend, by HTTP/1.1.
type answerer struct {
	*backend
	fd int
	// held is the part of a request that has come.
	held []byte
	// left is what of the large body is to be sent still.
	left   int
	closed bool
}

func (a *answerer) ready(events uint32) error {
	if events&unix.EPOLLOUT != 0 {
		if err := a.sendLarge(true); err != nil || a.left > 0 || a.closed {
			return err
		}
	}
	if events&^unix.EPOLLOUT == 0 {
		return nil
	}
	n, err := read(a.fd, a.buffer)
	if errors.Is(err, errNothing) {
		return nil
	}
	if err != nil { // closed, which a proxy may at any time
		a.close(a.fd)
		return nil
	}
	in := a.buffer[:n]
	if len(a.held) > 0 {
		in = append(a.held, in...)
		a.held = nil
	}
	for {
		end := bytes.Index(in, []byte("\r\n\r\n"))
		if end < 0 {
			break
		}
		if err := a.answer(in[:end]); err != nil {
			return err
		}
		in = in[end+4:]
	}
	a.held = append(a.held, in...)
	return nil
}

func (a *answerer) answer(request []byte) error {
	switch {
	case bytes.HasPrefix(request, []byte("GET "+smallPath+" ")):
		return a.gone(write(a.fd, a.small))
	case bytes.HasPrefix(request, []byte("GET "+largePath+" ")):
		if err := unix.Send(a.fd, a.largeHeader, unix.MSG_MORE|unix.MSG_NOSIGNAL); err != nil {
			return a.gone(err)
		}
		a.left = large
		return a.sendLarge(false)
	}
	line, _, _ := bytes.Cut(request, []byte("\r\n"))
	return fmt.Errorf("the backend is asked what it does not have: %q", line)
}

// sendLarge sends what there is room for, and has itself called for the rest.
func (a *answerer) sendLarge(again bool) error {
	for a.left > 0 {
		offset := int64(large - a.left)
		n, err := unix.Sendfile(a.fd, a.body, &offset, a.left)
		if err == unix.EAGAIN {
			if again {
				return nil
			}
			return a.writable(a.fd, true)
		}
		if err != nil {
			return a.gone(err)
		}
		a.left -= n
	}
	if again {
		return a.writable(a.fd, false)
	}
	return nil
}

// gone closes a connection that the proxy has closed.
func (a *answerer) gone(err error) error {
	if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
		a.left, a.closed = 0, true
		a.close(a.fd)
		return nil
	}
	return err
}
