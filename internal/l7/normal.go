package l7

import (
	"errors"
	"strings"
)

// The reasons why a path is refused; the answer is 400 (Bad Request).
var (
	ErrPathStart     = errors.New("the path does not begin with a slash")
	ErrPathEscape    = errors.New("the path has a percent sign without two hexadecimal digits")
	ErrPathControl   = errors.New("the path has a control character")
	ErrPathCharacter = errors.New("the path has a space, # or ?, which end a path")
	ErrPathAboveRoot = errors.New("the path leads above the root")
	ErrPathAmbiguous = errors.New("the path has a dot segment beside an encoded slash, a backslash or a semicolon, which servers read in two ways")
	ErrPathOverlong  = errors.New("the path has an overlong encoding of a character")
)

// Normalize reads the path of a request, without query, as it was sent. It returns
// what Routes are matched with, and what is to be sent on: these two are the same
// path, so that what was matched is what the backend gets.
//
// match is the path decoded. Encoded slashes and percent signs stay %2F and %25, as
// decoding them would make another path of it, or an ambiguous one; nothing else in
// it has a percent sign.
//
// wire is the path as RFC 3986, section 6.2.2, would have it: what needs no encoding
// is decoded, other escapes stay, in upper case, and octets that a path must not
// have are encoded. A delimiter that was encoded stays encoded, because a backend
// may see a difference (section 2.2).
//
// In both, dot segments, encoded or not, are followed (section 5.2.4), and several
// slashes are one, as ingress-nginx has it. Refused is what servers read in
// different ways: broken escapes, control characters (NUL and line feeds among
// them, encoded too), paths that lead above the root, dot segments that begin or
// end at an encoded slash or at a backslash or have a parameter (/..;/, which servlets
// read as /../), overlong UTF-8. A path that is normal
// already is returned as it is, without an allocation; the empty path is that of
// the root (RFC 9110, section 4.2.3).
func Normalize(path string) (match, wire string, err error) {
	if path == "" {
		return "/", "/", nil
	}
	if path[0] != '/' {
		return "", "", ErrPathStart
	}
	if normal(path) {
		return path, path, nil
	}
	return normalize(path, false)
}

// normal tells whether a path is without anything that Normalize would change.
func normal(path string) bool {
	for i := 0; i < len(path); i++ {
		if c := path[i]; !isPathByte(c) {
			return false
		} else if c == '/' && i+1 < len(path) && (path[i+1] == '/' || path[i+1] == '.') {
			return false
		}
	}
	return true
}

// isUnreserved tells the characters that mean the same with and without encoding
// (RFC 3986, section 2.3).
func isUnreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

// isPathByte tells what a path may have without encoding (RFC 3986, section 3.3).
func isPathByte(c byte) bool {
	return isUnreserved(c) || strings.IndexByte("/!$&'()*+,;=:@", c) >= 0
}

// escaped returns the octet that an escape at the beginning of text stands for.
func escaped(text string) (byte, bool) {
	if len(text) < 3 || text[0] != '%' {
		return 0, false
	}
	high, low := hex(text[1]), hex(text[2])
	return high<<4 | low, high < 16 && low < 16
}

// hex returns the value of a digit; 255 for what is none.
func hex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

func appendEscape(to []byte, c byte) []byte {
	const digits = "0123456789ABCDEF"
	return append(to, '%', digits[c>>4], digits[c&15])
}

// paths are the two forms of a path while it is read.
type paths struct{ match, wire []byte }

// normalize reads a path segment by segment. In a path of a rule, what would end a
// path in a request is data.
func normalize(path string, ofRule bool) (match, wire string, err error) {
	p := paths{match: make([]byte, 0, len(path)), wire: make([]byte, 0, len(path)+16)}
	for rest, more := path[1:], true; more; {
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		if err := p.segment(segment, !more, ofRule); err != nil {
			return "", "", err
		}
	}
	return string(p.match), string(p.wire), nil
}

// segment adds one segment.
func (p *paths) segment(text string, last, ofRule bool) error {
	match, wire := len(p.match), len(p.wire)
	p.match, p.wire = append(p.match, '/'), append(p.wire, '/')
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '%' {
			b, ok := escaped(text[i:])
			if !ok {
				return ErrPathEscape
			}
			i += 2
			if err := p.octet(b, !isUnreserved(b)); err != nil {
				return err
			}
			continue
		}
		if !ofRule && (c == ' ' || c == '#' || c == '?') {
			return ErrPathCharacter
		}
		if err := p.octet(c, !isPathByte(c)); err != nil {
			return err
		}
	}
	switch s := string(p.match[match+1:]); {
	case overlong(s):
		return ErrPathOverlong
	case s == "" && !last:
		p.match, p.wire = p.match[:match], p.wire[:wire]
	case s == ".":
		p.back(match, wire, last)
	case s == "..":
		if match == 0 {
			return ErrPathAboveRoot
		}
		above, wireAbove := strings.LastIndexByte(string(p.match[:match]), '/'), strings.LastIndexByte(string(p.wire[:wire]), '/')
		p.back(above, wireAbove, last)
	case ambiguous(s):
		return ErrPathAmbiguous
	}
	return nil
}

// octet adds one octet, encoded on the wire if it has to be.
func (p *paths) octet(b byte, encode bool) error {
	if b < ' ' || b == 0x7f {
		return ErrPathControl
	}
	if b == '%' || b == '/' {
		p.match = appendEscape(p.match, b)
	} else {
		p.match = append(p.match, b)
	}
	if encode || b == '/' {
		p.wire = appendEscape(p.wire, b)
	} else {
		p.wire = append(p.wire, b)
	}
	return nil
}

// back drops what follows the given lengths; a dot segment at the end leaves the
// slash in front of it.
func (p *paths) back(match, wire int, last bool) {
	p.match, p.wire = p.match[:match], p.wire[:wire]
	if last {
		p.match, p.wire = append(p.match, '/'), append(p.wire, '/')
	}
}

// ambiguous tells a segment in which a server that takes encoded slashes or
// backslashes for slashes, or what follows a semicolon for a parameter (RFC 3986,
// section 3.3), finds a dot segment.
func ambiguous(segment string) bool {
	if !strings.Contains(segment, "%2F") && !strings.ContainsAny(segment, `\;`) {
		return false
	}
	segment = strings.ReplaceAll(segment, "%2F", `\`)
	for part := range strings.SplitSeq(segment, `\`) {
		if part, _, _ = strings.Cut(part, ";"); part == "." || part == ".." {
			return true
		}
	}
	return false
}

// overlong tells a text with a character in more octets than it needs, which old
// decoders take for the short one (RFC 3629, section 10).
func overlong(text string) bool {
	for i := 0; i+1 < len(text); i++ {
		next := text[i+1]
		switch c := text[i]; {
		case next < 0x80 || next > 0xbf:
		case c == 0xc0 || c == 0xc1, c == 0xe0 && next < 0xa0, c == 0xf0 && next < 0x90:
			return true
		}
	}
	return false
}

// Encode returns a path in the form of Normalize's match as it is sent: Normalize
// of what it returns is the same path.
func Encode(match string) string {
	clean := true
	for i := 0; i < len(match); i++ {
		clean = clean && (isPathByte(match[i]) || match[i] == '%')
	}
	if clean {
		return match
	}
	out := make([]byte, 0, len(match)+16)
	for i := 0; i < len(match); i++ {
		if c := match[i]; isPathByte(c) || c == '%' {
			out = append(out, c)
		} else {
			out = appendEscape(out, c)
		}
	}
	return string(out)
}
