package http2

import (
	"iter"

	"golang.org/x/net/http2/hpack"
)

// AppendHead appends to dst the header of a request of HTTP/1.1 that says what a header
// list does, which HTTP/3 has brought: the rules are those of HTTP/2 (RFC 9114, section
// 4.2 and 4.3, and RFC 9113, section 8). With end, no body follows. It reports whether the
// list is too large, which is to be answered with 431, and whether it is a request at all.
func AppendHead(dst []byte, fields iter.Seq2[string, string], limits Limits, end bool) (head []byte, tooLarge, ok bool) {
	l := list{limits: &limits}
	l.begin(ofRequest, dst)
	for name, value := range fields {
		l.add(hpack.HeaderField{Name: name, Value: value})
	}
	l.end(end)
	return l.text, l.tooLong, !l.bad
}
