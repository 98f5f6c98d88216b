package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"golang.org/x/sys/unix"
)

// message is what gRPC sends for a message of a size: without compression, with its
// length before it.
func message(size int) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(size)), text(size)...)
}

// asked is the size of a message to the backend; the answer has the small size.
const asked = 128

// grpcAnswerer is a connection of a proxy to the backend, by HTTP/2 without TLS,
// for unary calls.
type grpcAnswerer struct {
	*loop
	flow
	fd      int
	greeted bool
	held    []byte
	// waiting are calls for whose answers the proxy has no room yet.
	waiting []uint32
	// blocked is set while the kernel has no room.
	blocked bool

	header, message, trailer []byte
}

func newGRPCAnswerer(l *loop, fd int) *grpcAnswerer {
	return &grpcAnswerer{
		loop: l, fd: fd, flow: flow{out: appendHello(nil), room: 65535},
		header:  plainBlock(":status", "200", "content-type", "application/grpc"),
		message: message(small),
		trailer: plainBlock("grpc-status", "0"),
	}
}

// plainBlock encodes a header so that it means the same any number of times: it
// puts nothing into the table of the other side.
func plainBlock(fields ...string) []byte {
	var out bytes.Buffer
	e := hpack.NewEncoder(&out)
	for i := 0; i < len(fields); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1], Sensitive: fields[i] != ":status"}) // into memory
	}
	return out.Bytes()
}

func (g *grpcAnswerer) ready(events uint32) error {
	if events&^unix.EPOLLOUT != 0 {
		n, err := read(g.fd, g.buffer)
		if err != nil && !errors.Is(err, errNothing) {
			g.close(g.fd)
			return nil
		}
		g.held = append(g.held, g.buffer[:n]...)
	}
	rest, err := g.take(g.held)
	if err != nil {
		return fmt.Errorf("the backend for gRPC: %w", err)
	}
	g.held = append(g.held[:0], rest...)
	return g.flush()
}

// take answers the calls that have come whole and returns what has not.
func (g *grpcAnswerer) take(in []byte) ([]byte, error) {
	if !g.greeted {
		if len(in) < len(preface) {
			return in, nil
		}
		if string(in[:len(preface)]) != preface {
			return in, fmt.Errorf("is greeted with %q", in[:len(preface)])
		}
		in, g.greeted = in[len(preface):], true
	}
	for {
		f, rest, whole := next(in)
		if !whole {
			return in, nil
		}
		in = rest
		if f.kind == http2.FrameGoAway { // a proxy may; it closes what it greets so
			continue
		}
		if done, err := g.control(f); done {
			if err != nil {
				return in, err
			}
			continue
		}
		switch f.kind {
		case http2.FrameData:
			g.took(len(f.payload))
		case http2.FrameRSTStream:
			return in, errors.New("a proxy gives up a call")
		}
		if f.flags.Has(http2.FlagDataEndStream) && f.kind == http2.FrameData {
			g.waiting = append(g.waiting, f.stream)
		}
	}
}

// flush answers as many calls as the proxy and the kernel have room for.
func (g *grpcAnswerer) flush() error {
	for len(g.waiting) > 0 && g.room >= len(g.message) {
		id := g.waiting[0]
		g.waiting = g.waiting[1:]
		g.room -= len(g.message)
		g.out = appendFrame(g.out, http2.FrameHeaders, http2.FlagHeadersEndHeaders, id, g.header...)
		g.out = appendFrame(g.out, http2.FrameData, 0, id, g.message...)
		g.out = appendFrame(g.out, http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersEndStream, id, g.trailer...)
	}
	if len(g.out) == 0 {
		return nil
	}
	n, err := unix.Write(g.fd, g.out)
	switch {
	case err == unix.EPIPE || err == unix.ECONNRESET:
		g.close(g.fd)
		return nil
	case err != nil && err != unix.EAGAIN:
		return err
	}
	g.out = g.out[:copy(g.out, g.out[max(0, n):])]
	if blocked := len(g.out) > 0; blocked != g.blocked {
		g.blocked = blocked
		return g.writable(g.fd, blocked)
	}
	return nil
}
