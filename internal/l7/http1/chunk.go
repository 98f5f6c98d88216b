package http1

import "strconv"

// Chunks reads a body in chunks (RFC 9112, section 7.1). Its zero value is at the
// begin of one. Extensions and trailer are checked and left out.
type Chunks struct {
	state chunkState
	size  int64
	// digits are those of the size so far; ignored counts the bytes of extensions and
	// trailer.
	digits, ignored int
}

type chunkState uint8

const (
	atSize chunkState = iota
	inExtension
	atSizeLF
	inData
	atDataCR
	atDataLF
	atTrailer
	inTrailerName
	inTrailerValue
	atTrailerLF
	atEndLF
	atEnd
)

const (
	// maxDigits keeps sizes within 60 bits.
	maxDigits = 15
	// maxIgnored bounds what a body carries beside its data.
	maxIgnored = 16 << 10
)

// Done reports whether the body has ended.
func (c *Chunks) Done() bool { return c.state == atEnd }

// Next reads on in b. It returns a part of the body's data, which may be empty, and
// how many bytes of b it has read. It has to be called again until it has read all
// of b, or is Done: what follows then belongs to the next message. Errors are of type
// *Error.
func (c *Chunks) Next(b []byte) (data []byte, n int, err error) {
	for n < len(b) && c.state != atEnd {
		if c.state == inData {
			size := int(min(c.size, int64(len(b)-n)))
			if c.size -= int64(size); c.size == 0 {
				c.state = atDataCR
			}
			return b[n : n+size], n + size, nil
		}
		if err := c.step(b[n]); err != nil {
			return nil, n, err
		}
		n++
	}
	return nil, n, nil
}

// step reads a byte that is not data.
func (c *Chunks) step(b byte) *Error {
	switch c.state {
	case atSize:
		return c.stepSize(b)
	case inExtension:
		if b == '\r' {
			c.state = atSizeLF
			return nil
		}
		if classes[b]&inValue == 0 {
			return errChunk
		}
		return c.ignore(errExtensions)
	case atSizeLF:
		if c.digits = 0; c.size > 0 {
			return c.expect(b, '\n', inData)
		}
		return c.expect(b, '\n', atTrailer)
	case atDataCR:
		return c.expect(b, '\r', atDataLF)
	case atDataLF:
		return c.expect(b, '\n', atSize)
	}
	return c.stepTrailer(b)
}

func (c *Chunks) stepSize(b byte) *Error {
	if digit, ok := unhex(b); ok {
		if c.digits++; c.digits > maxDigits {
			return errChunk
		}
		c.size = c.size<<4 | int64(digit)
		return nil
	}
	switch {
	case c.digits == 0:
		return errChunk
	case b == ';':
		c.state = inExtension
		return c.ignore(errExtensions)
	}
	return c.expect(b, '\r', atSizeLF)
}

// stepTrailer reads fields, which must be well formed, up to the empty line.
func (c *Chunks) stepTrailer(b byte) *Error {
	switch c.state {
	case atTrailer:
		if b == '\r' {
			c.state = atEndLF
			return nil
		}
		c.state = inTrailerName
		if lowerToken[b] == 0 {
			return errTrailer
		}
	case inTrailerName:
		if b == ':' {
			c.state = inTrailerValue
		} else if lowerToken[b] == 0 {
			return errTrailer
		}
	case inTrailerValue:
		if b == '\r' {
			c.state = atTrailerLF
		} else if classes[b]&inValue == 0 {
			return errTrailer
		}
	case atTrailerLF:
		return c.expect(b, '\n', atTrailer)
	case atEndLF:
		return c.expect(b, '\n', atEnd)
	}
	return c.ignore(errTrailer)
}

func (c *Chunks) expect(b, want byte, next chunkState) *Error {
	if b != want {
		return errChunk
	}
	c.state = next
	return nil
}

func (c *Chunks) ignore(tooMuch *Error) *Error {
	if c.ignored++; c.ignored > maxIgnored {
		return tooMuch
	}
	return nil
}

// ChunkOverhead is how many bytes a chunk has beside its data at most.
const ChunkOverhead = 16 + 2 + 2

// LastChunk ends a body in chunks.
const LastChunk = "0\r\n\r\n"

// AppendChunk appends data, unless it is empty, as one chunk.
func AppendChunk(dst, data []byte) []byte {
	if len(data) == 0 {
		return dst
	}
	dst = strconv.AppendInt(dst, int64(len(data)), 16)
	dst = append(dst, "\r\n"...)
	dst = append(dst, data...)
	return append(dst, "\r\n"...)
}
