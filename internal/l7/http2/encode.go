package http2

import (
	"bytes"

	"github.com/fairlead-net/fairlead/internal/l7/http1"
)

// Fields are encoded as literals that put nothing into the table of the other side,
// with names and statuses of the static table, and without Huffman's code, which costs
// more than it saves within a data centre (RFC 7541, section 6.2.2).

// AppendResponse appends the header block of a response: without what was for one hop
// only, with the length that a says.
func AppendResponse(dst []byte, r *http1.Response, a http1.Answer) []byte {
	dst = appendStatus(dst, r.Status)
	for i := range r.Fields {
		if f := &r.Fields[i]; !f.Hop() {
			dst = appendField(dst, f.Lower, f.Value)
		}
	}
	if a.Framing == http1.ByLength {
		dst = appendLength(dst, a.Length)
	} else if a.Framing == http1.NoBody && r.Length >= 0 && r.Status >= 200 && r.Status != 204 {
		dst = appendLength(dst, r.Length)
	}
	return dst
}

func appendLength(dst []byte, length int64) []byte {
	var digits [20]byte
	i := len(digits)
	for {
		i--
		digits[i] = byte('0' + length%10)
		if length /= 10; length == 0 {
			break
		}
	}
	return appendField(dst, contentLength, digits[i:])
}

var contentLength = []byte("content-length")

// AppendRequest appends the header block of a request whose header http1 has written.
// What HTTP/2 says in another way is left out, the willingness to take trailers added.
func AppendRequest(dst, text []byte, scheme string) []byte {
	first, rest, _ := bytes.Cut(text, crlf)
	method, first, _ := bytes.Cut(first, space)
	target, _, _ := bytes.Cut(first, space)
	switch string(method) {
	case "GET":
		dst = append(dst, 0x80|2)
	case "POST":
		dst = append(dst, 0x80|3)
	default:
		dst = appendLiteral(dst, 2, method)
	}
	if scheme == "https" {
		dst = append(dst, 0x80|7)
	} else {
		dst = append(dst, 0x80|6)
	}
	dst = appendLiteral(dst, 4, target)
	for len(rest) > 2 {
		var line []byte
		line, rest, _ = bytes.Cut(rest, crlf)
		name, value, _ := bytes.Cut(line, colon)
		switch {
		case len(name) == 4 && isLower(name, "host"):
			dst = appendLiteral(dst, 1, value)
		case isLower(name, "transfer-encoding"), isLower(name, "connection"), isLower(name, "upgrade"), isLower(name, "te"):
		default:
			dst = appendField(dst, name, value)
		}
	}
	return appendField(dst, te, trailers)
}

var (
	crlf, space, colon = []byte("\r\n"), []byte(" "), []byte(": ")
	te, trailers       = []byte("te"), []byte("trailers")
)

func isLower(name []byte, lowered string) bool {
	if len(name) != len(lowered) {
		return false
	}
	for i, c := range name {
		if lower(c) != lowered[i] {
			return false
		}
	}
	return true
}

// AppendTrailer appends the header block of fields after a body, of their text.
func AppendTrailer(dst, text []byte) []byte {
	for len(text) > 0 {
		var line []byte
		line, text, _ = bytes.Cut(text, crlf)
		name, value, _ := bytes.Cut(line, colon)
		dst = appendField(dst, name, value)
	}
	return dst
}

// appendStatus appends :status, of which the static table has some.
func appendStatus(dst []byte, status int) []byte {
	switch status {
	case 200:
		return append(dst, 0x80|8)
	case 204:
		return append(dst, 0x80|9)
	case 206:
		return append(dst, 0x80|10)
	case 304:
		return append(dst, 0x80|11)
	case 400:
		return append(dst, 0x80|12)
	case 404:
		return append(dst, 0x80|13)
	case 500:
		return append(dst, 0x80|14)
	}
	return append(dst, 8, 3, byte('0'+status/100), byte('0'+status/10%10), byte('0'+status%10))
}

// AppendField appends a field to a header block.
func AppendField(dst []byte, name string, value []byte) []byte {
	return appendField(dst, []byte(name), value)
}

// appendField appends a field, its name in lower case.
func appendField(dst, name, value []byte) []byte {
	begin := len(dst)
	dst = appendInt(append(dst, 0), 0, 7, len(name))
	lowered := len(dst)
	for _, c := range name {
		dst = append(dst, lower(c))
	}
	if index := static[string(dst[lowered:])]; index > 0 {
		return appendLiteral(dst[:begin], index, value)
	}
	return appendText(dst, value)
}

// appendLiteral appends a field whose name the static table has.
func appendLiteral(dst []byte, index int, value []byte) []byte {
	return appendText(appendInt(dst, 0, 4, index), value)
}

func appendText(dst, text []byte) []byte {
	return append(appendInt(dst, 0, 7, len(text)), text...)
}

// appendInt appends a number with a prefix of so many bits (RFC 7541, section 5.1).
func appendInt(dst []byte, flags byte, bits, n int) []byte {
	most := 1<<bits - 1
	if n < most {
		return append(dst, flags|byte(n))
	}
	dst = append(dst, flags|byte(most))
	for n -= most; n >= 0x80; n >>= 7 {
		dst = append(dst, byte(n)|0x80)
	}
	return append(dst, byte(n))
}
