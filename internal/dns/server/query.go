package server

import "encoding/binary"

// usualQuery is a query as nearly all clients send it: one question of class IN
// and nothing else but an OPT record.
type usualQuery struct {
	// end is where the question ends, type and class included.
	end     int
	qtype   uint16
	options options
}

// readUsual reads a packet without allocating, or returns false if it is not
// usual: then the library has to say what it is. What it accepts, the library
// accepts, and finds the same in it.
func readUsual(packet []byte) (q usualQuery, ok bool) {
	const oneQuestion = 1 << 48 // the four counts as one number
	if len(packet) < headerSize || packet[2]&0xf8 != 0 {
		return q, false // a reply, or no standard query
	}
	counts := binary.BigEndian.Uint64(packet[4:])
	if counts != oneQuestion && counts != oneQuestion+1 {
		return q, false
	}
	at := headerSize
	for {
		if at >= len(packet) || packet[at] > 63 {
			return q, false
		}
		if packet[at] == 0 {
			break
		}
		at += 1 + int(packet[at])
	}
	if at++; at-headerSize > 255 || at+4 > len(packet) || binary.BigEndian.Uint16(packet[at+2:]) != 1 {
		return q, false
	}
	q.qtype = binary.BigEndian.Uint16(packet[at:])
	q.end = at + 4
	if counts == oneQuestion {
		return q, q.end == len(packet)
	}
	q.options, ok = readUsualOptions(packet[q.end:])
	return q, ok
}

// optSize is the size of an OPT record without options (RFC 6891, section 6.1.2).
const optSize = 11

// readUsualOptions reads an OPT record of version 0 that fills the rest of the
// packet, without options but a cookie.
func readUsualOptions(rest []byte) (o options, ok bool) {
	if len(rest) < optSize || rest[0] != 0 || rest[1] != 0 || rest[2] != typeOPT || rest[6] != 0 || optSize+int(binary.BigEndian.Uint16(rest[9:])) != len(rest) {
		return o, false
	}
	o = options{present: true, size: int(binary.BigEndian.Uint16(rest[3:])), do: rest[7]&0x80 != 0}
	data := rest[optSize:]
	if len(data) == 0 {
		return o, true
	}
	if len(data) < optionSize || data[0] != 0 || data[1] != optionCookie || optionSize+int(binary.BigEndian.Uint16(data[2:])) != len(data) {
		return o, false
	}
	o.cookie, ok = readCookie(data[optionSize:])
	return o, ok
}

const (
	typeOPT = 41
	// optionSize is the size of an option without data, optionCookie the code of
	// a cookie (RFC 7873, section 4).
	optionSize   = 4
	optionCookie = 10
)
