package http1

// class says what a byte may be part of.
type class uint8

const (
	inValue  class = 1 << iota // of a field's value: RFC 9110, section 5.5
	inTarget                   // of a request target: visible, and no fragment
	inHost                     // of a host name, as DNS and its users write them
)

// lowerToken holds the lower case of bytes that tokens consist of (RFC 9110,
// section 5.6.2), and 0 for all others.
var lowerToken = func() (table [256]byte) {
	for _, c := range []byte("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz") {
		table[c] = c
	}
	for c := 'A'; c <= 'Z'; c++ {
		table[c] = byte(c) + 'a' - 'A'
	}
	return table
}()

var classes = func() (table [256]class) {
	for c := range 256 {
		if c == '\t' || c >= ' ' && c != 0x7f {
			table[c] |= inValue
		}
		if c > ' ' && c < 0x7f && c != '#' {
			table[c] |= inTarget
		}
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '-', c == '.', c == '_':
			table[c] |= inHost
		}
	}
	return table
}()

// all reports whether every byte is of a class.
func all(b []byte, of class) bool {
	for _, c := range b {
		if classes[c]&of == 0 {
			return false
		}
	}
	return true
}

// unhex returns the value of a hexadecimal digit, or false.
func unhex(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// equalFold reports whether b is lower, which has no upper case, in any case.
func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// trim returns a field's value without the white space around it.
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}
