package main

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// client2 is a connection of the load that asks by HTTP/2, several requests at a
// time.
type client2 struct {
	*load
	*stream
	flow
	// block is the header of the next request; again is that of all but the first,
	// by then in the table of the other side (RFC 7541, 2.3.2).
	block, again []byte
	// message follows the header; nil for a plain GET.
	message []byte
	id      uint32
	calls   []call
	// more are requests that wait for room to send their messages.
	more    []time.Time
	decoder *hpack.Decoder
	current *call
	held    []byte
	waiting bool // flush will be called
}

// call is a request under way.
type call struct {
	id     uint32
	due    time.Time
	status string
	grpc   string
	body   int
}

func (l *load) newClient2(s *stream) (*client2, error) {
	c := &client2{load: l, stream: s, flow: flow{out: appendHello([]byte(preface)), room: 65535, indexes: true}, id: 1}
	c.decoder = hpack.NewDecoder(4096, c.field)
	fields := []hpack.HeaderField{
		{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: l.host}, {Name: ":path", Value: smallPath},
		{Name: "user-agent", Value: "l7bench"}, {Name: "accept", Value: "*/*"}, {Name: "accept-language", Value: "en"},
	}
	if l.grpc {
		c.message = message(asked)
		fields = []hpack.HeaderField{
			{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: l.host}, {Name: ":path", Value: grpcPath},
			{Name: "content-type", Value: "application/grpc"}, {Name: "user-agent", Value: "l7bench"}, {Name: "te", Value: "trailers"},
		}
	}
	var out bytes.Buffer
	e := hpack.NewEncoder(&out)
	for _, block := range []*[]byte{&c.block, &c.again} {
		for _, f := range fields {
			if err := e.WriteField(f); err != nil {
				return nil, err
			}
		}
		*block = bytes.Clone(out.Bytes())
		out.Reset()
	}
	return c, c.flush()
}

// field takes a field of the header or the trailer that is being read.
func (c *client2) field(f hpack.HeaderField) {
	if c.current == nil {
		return
	}
	switch f.Name {
	case ":status":
		c.current.status = f.Value
	case "grpc-status":
		c.current.grpc = f.Value
	}
}

func (c *client2) ask(due time.Time) bool {
	c.more = append(c.more, due)
	first := !c.waiting
	c.waiting = true
	return first
}

func (c *client2) flush() error {
	c.waiting = false
	for len(c.more) > 0 && c.room >= len(c.message) {
		flags := http2.FlagHeadersEndHeaders
		if c.message == nil {
			flags |= http2.FlagHeadersEndStream
		}
		c.out = appendFrame(c.out, http2.FrameHeaders, flags, c.id, c.block...)
		if c.message != nil {
			c.out = appendFrame(c.out, http2.FrameData, http2.FlagDataEndStream, c.id, c.message...)
			c.room -= len(c.message)
		}
		c.calls = append(c.calls, call{id: c.id, due: c.more[0]})
		c.block, c.id = c.again, c.id+2
		c.more = c.more[:copy(c.more, c.more[1:])]
	}
	if len(c.out) == 0 {
		return nil
	}
	err := c.send(c.out)
	c.out = c.out[:0]
	return err
}

func (c *client2) ready(uint32) error {
	if err := c.fill(c.buffer[:len(c.buffer)/2]); err != nil {
		return c.broken(err)
	}
	for {
		n, err := c.take(c.buffer[len(c.buffer)/2:])
		if errors.Is(err, errNothing) {
			return c.flush() // what control frames asked for
		}
		if err != nil {
			return c.broken(err)
		}
		in := c.buffer[len(c.buffer)/2:][:n]
		if len(c.held) > 0 {
			in = append(c.held, in...)
		}
		rest, err := c.frames(in)
		if err != nil {
			return err
		}
		c.held = append(c.held[:0], rest...)
	}
}

func (c *client2) broken(err error) error {
	if errors.Is(err, errNothing) {
		return nil
	}
	return fmt.Errorf("a connection to the proxy: %w", err)
}

func (c *client2) frames(in []byte) ([]byte, error) {
	for {
		f, rest, whole := next(in)
		if !whole {
			return in, nil
		}
		in = rest
		if done, err := c.control(f); done {
			if err != nil {
				return nil, err
			}
			continue
		}
		if err := c.frame(f); err != nil {
			return nil, err
		}
	}
}

// frame takes one that belongs to a call.
func (c *client2) frame(f frame) error {
	at := -1
	for i := range c.calls {
		if c.calls[i].id == f.stream {
			at = i
		}
	}
	if f.kind == http2.FrameWindowUpdate {
		return nil // of a stream that takes all we have anyway
	}
	if at < 0 {
		return fmt.Errorf("a frame %s of a stream that is not open", f.kind)
	}
	k := &c.calls[at]
	switch f.kind {
	case http2.FrameHeaders:
		if !f.flags.Has(http2.FlagHeadersEndHeaders) || f.flags.Has(http2.FlagHeadersPadded) || f.flags.Has(http2.FlagHeadersPriority) {
			return fmt.Errorf("the bench does not know headers with flags %#x", f.flags)
		}
		c.current = k
		if _, err := c.decoder.Write(f.payload); err != nil {
			return err
		}
		if err := c.decoder.Close(); err != nil {
			return err
		}
	case http2.FrameData:
		if f.flags.Has(http2.FlagDataPadded) {
			return errors.New("the bench does not know padded data")
		}
		k.body += len(f.payload)
		c.took(len(f.payload))
	default:
		return fmt.Errorf("the proxy sends %s: %x", f.kind, f.payload)
	}
	if !f.flags.Has(http2.FlagDataEndStream) { // the flag of headers is the same
		return nil
	}
	want := c.size
	if c.grpc {
		want += 5
	}
	if k.status != "200" || k.body != want || c.grpc && k.grpc != "0" {
		return fmt.Errorf("status %s, grpc-status %q, %d bytes of %d", k.status, k.grpc, k.body, want)
	}
	due := k.due
	c.current = nil
	c.calls[at] = c.calls[len(c.calls)-1]
	c.calls = c.calls[:len(c.calls)-1]
	c.answered(c, due)
	return nil
}
