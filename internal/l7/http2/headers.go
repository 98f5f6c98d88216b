package http2

import (
	"encoding/binary"
	"errors"

	"golang.org/x/net/http2/hpack"
)

// readHeaders begins a header block: of a request or an answer, or of the fields
// after a body (RFC 9113, sections 5.1 and 6.2). Every block is decoded, also one that
// is not wanted, since the next one may refer to it.
func (c *Conn) readHeaders(f *frame, p []byte) error {
	if f.stream == 0 || f.stream&1 == 0 || !c.server && c.idle(f.stream) {
		return &Error{Protocol, "a header of no stream"}
	}
	p, err := unpad(f, p)
	if err != nil {
		return err
	}
	c.block = block{id: f.stream, end: f.has(flagEndStream), stream: c.streams[f.stream]}
	if f.has(flagPriority) {
		if len(p) < prioritySize {
			return &Error{FrameSize, "a header without its priority"}
		}
		if binary.BigEndian.Uint32(p)&maxStreamID == f.stream {
			c.block.refuse = codeOf(Protocol)
		}
		p = p[prioritySize:]
	}
	if err := c.place(); err != nil {
		return err
	}
	b := &c.block
	var text []byte
	switch {
	case b.drop:
	case b.kind == ofTrailer:
		text = b.stream.Trailer
	default:
		text = b.stream.Head
	}
	c.list.begin(b.kind, text)
	return c.fragment(p, f.has(flagEndHeaders))
}

func codeOf(code Code) *Code { return &code }

// place finds out what the header block is.
func (c *Conn) place() error {
	b := &c.block
	s := b.stream
	switch {
	case s == nil && !c.idle(b.id):
		if !c.endedHere(b.id) {
			return &Error{StreamClosed, "a header of a stream that is closed"}
		}
		b.drop = true
	case s == nil:
		c.last = b.id
		b.drop = c.stopped
		if !b.drop {
			b.stream = c.stream(b.id)
		}
		if c.active >= c.limits.Streams {
			b.refuse = codeOf(RefusedStream)
		}
	case s.Ended:
		b.drop = true
		b.refuse = codeOf(StreamClosed)
	case s.final:
		b.kind = ofTrailer
		if !b.end || s.Carries { // nothing but DATA: RFC 9113, section 8.5
			b.refuse = codeOf(Protocol)
		}
	default:
		b.kind = ofResponse
	}
	return nil
}

// maxContinuations is for a header list of each KB (CVE-2024-27316): others send it
// in frames of 16 KB.
const maxContinuations = 4

// fragment takes a part of a header block.
func (c *Conn) fragment(p []byte, end bool) error {
	b := &c.block
	b.size += len(p)
	b.frames++
	if b.size > 2*c.limits.Head || b.frames > maxContinuations*(1+c.limits.Head>>10) {
		return &Error{EnhanceYourCalm, "a header block is too large"}
	}
	// What is not kept need not be decompressed, except into the table.
	c.decoder.SetEmitEnabled(!b.drop && !c.list.tooLong && !c.list.bad)
	if _, err := c.decoder.Write(p); errors.Is(err, hpack.ErrStringLength) {
		return &Error{EnhanceYourCalm, "a header field is too large"}
	} else if err != nil {
		return &Error{Compression, "a header block is malformed"}
	}
	if !end {
		return nil
	}
	if c.decoder.Close() != nil {
		return &Error{Compression, "a header block is not whole"}
	}
	return c.complete()
}

// complete does what a header block says.
func (c *Conn) complete() error {
	b := c.block
	c.block = block{}
	l := &c.list
	if !b.drop {
		l.end(b.end)
		switch {
		case l.bad || l.tooLong && b.kind != ofRequest:
			if b.refuse == nil {
				b.refuse = codeOf(Protocol)
			}
		case b.kind == ofTrailer:
			b.stream.Trailer = l.text
		default:
			b.stream.Head = l.text
		}
	}
	l.text = nil
	if b.refuse != nil {
		if b.kind == ofRequest && b.stream != nil {
			c.recycle(b.stream)
			b.stream = nil
		}
		return c.fault(b.id, b.stream, *b.refuse)
	}
	if b.drop {
		return c.bear(1)
	}
	return c.accept(&b)
}

// accept takes over a header that is as it has to be.
func (c *Conn) accept(b *block) error {
	s, l := b.stream, &c.list
	switch b.kind {
	case ofRequest:
		s.final, s.length, s.TooLarge, s.Carries = true, l.length, l.tooLong, l.carries()
		c.streams[b.id], c.taken = s, b.id
		c.active++
	case ofResponse:
		if len(s.Head) > 2*c.limits.Head {
			return c.fault(b.id, s, EnhanceYourCalm)
		}
		if l.status >= 200 {
			s.final = true
			if !s.toHEAD && l.status != 204 && l.status != 304 {
				s.length = l.length
			}
		}
	}
	if b.end {
		if s.length >= 0 && s.received != s.length {
			return c.fault(b.id, s, Protocol)
		}
		c.ended1(s)
	}
	if b.kind == ofRequest {
		c.Opened(s)
		return nil
	}
	wake(s.Got)
	return nil
}
