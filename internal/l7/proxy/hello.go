package proxy

import (
	"errors"
	"strings"
)

const (
	// maxHello is how long a ClientHello may be that is read here, maxHelloRecords how many
	// records it may come in. Most are shorter than 2 KB.
	maxHello        = 16 << 10
	maxHelloRecords = 64
	// recordHead is how long the header of a record of TLS is, recordMax what follows at
	// most (RFC 8446, section 5.1).
	recordHead, recordMax = 5, 1 << 14
)

// errHello is that a connection does not begin with a ClientHello as it has to be.
var errHello = errors.New("the connection does not begin with a ClientHello of TLS")

// readHello reads which name a client asks for (RFC 6066, section 3), in lower case, from
// the first bytes that it sends: records that hold a ClientHello (RFC 8446, sections
// 4.1.2 and 5.1) and nothing else. The name is empty if it asks for none. As long as
// that cannot be said, more is how many bytes there have to be before it is worth to look
// again. What is not exactly as the specifications have it is errHello: it must not be
// read as one name here and as another by who ends TLS.
func readHello(b []byte) (name string, more int, err error) {
	var message []byte
	for at, records := 0, 0; ; records++ {
		if len(b) > at && b[at] != 22 || len(b) > at+1 && b[at+1] != 3 || records == maxHelloRecords { // handshake, TLS
			return "", 0, errHello
		}
		if len(b) < at+recordHead {
			return "", at + recordHead, nil
		}
		length := int(b[at+3])<<8 | int(b[at+4])
		if length == 0 || length > recordMax {
			return "", 0, errHello
		}
		end := at + recordHead + length
		if end > len(b) {
			return "", end, nil
		}
		message = append(message, b[at+recordHead:end]...)
		whole, err := helloLength(message)
		switch {
		case err != nil:
			return "", 0, err
		case whole > 0 && len(message) > whole:
			return "", 0, errHello // something follows before the server has answered
		case whole > 0 && len(message) == whole:
			name, err := parseHello(message[4:])
			return name, 0, err
		}
		at = end
	}
}

// helloLength returns how long a message is in all, by its first bytes; 0: that is not
// known yet.
func helloLength(message []byte) (int, error) {
	if len(message) > 0 && message[0] != 1 { // client_hello
		return 0, errHello
	}
	if len(message) < 4 {
		return 0, nil
	}
	n := 4 + (int(message[1])<<16 | int(message[2])<<8 | int(message[3]))
	if n > maxHello {
		return 0, errHello
	}
	return n, nil
}

// octets is a text of octets that is read from its beginning. Reading beyond its end makes
// it bad, and everything that is read then empty.
type octets struct {
	b   []byte
	bad bool
}

func (o *octets) take(n int) []byte {
	if n > len(o.b) {
		o.b, o.bad = nil, true
		return nil
	}
	taken := o.b[:n]
	o.b = o.b[n:]
	return taken
}

// number reads one of so many octets, vector what follows one that is its length.
func (o *octets) number(size int) int {
	n := 0
	for _, octet := range o.take(size) {
		n = n<<8 | int(octet)
	}
	return n
}

func (o *octets) vector(size int) octets { return octets{b: o.take(o.number(size))} }

// parseHello reads the body of a ClientHello.
func parseHello(body []byte) (string, error) {
	o := octets{b: body}
	o.take(2 + 32) // legacy_version, random
	session, ciphers, compression := o.vector(1), o.vector(2), o.vector(1)
	if o.bad || len(session.b) > 32 || len(ciphers.b) < 2 || len(ciphers.b)%2 != 0 || len(compression.b) < 1 {
		return "", errHello
	}
	if len(o.b) == 0 { // without extensions, as before TLS 1.3
		return "", nil
	}
	extensions := o.vector(2)
	if o.bad || len(o.b) > 0 {
		return "", errHello
	}
	var (
		name string
		seen [1 << 16 / 64]uint64
	)
	for len(extensions.b) > 0 {
		kind, data := extensions.number(2), extensions.vector(2)
		if extensions.bad || seen[kind/64]&(1<<(kind%64)) != 0 { // no two of one kind (RFC 8446, section 4.2)
			return "", errHello
		}
		seen[kind/64] |= 1 << (kind % 64)
		if kind == 0 {
			var err error
			if name, err = parseServerName(data); err != nil {
				return "", err
			}
		}
	}
	return name, nil
}

// parseServerName reads the list of names that an extension server_name holds: one, since
// there is only one kind of names, and no two may be of the same.
func parseServerName(data octets) (string, error) {
	list := data.vector(2)
	kind, name := list.number(1), list.vector(2)
	if data.bad || len(data.b) > 0 || list.bad || len(list.b) > 0 || kind != 0 || !isServerName(name.b) {
		return "", errHello
	}
	return strings.ToLower(string(name.b)), nil
}

// isServerName tells the names that hosts may have, as they are written here: without a
// final dot, and in ASCII.
func isServerName(name []byte) bool {
	if len(name) == 0 || len(name) > 253 || name[len(name)-1] == '.' {
		return false
	}
	for _, c := range name {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.' || c == ':') {
			return false
		}
	}
	return true
}
