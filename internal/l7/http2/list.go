package http2

import (
	"strconv"

	"golang.org/x/net/http2/hpack"
)

// list reads a header list and writes it as text of HTTP/1.1.
type list struct {
	kind listKind
	text []byte
	// size is that of the list as RFC 9113 counts it (section 6.5.2).
	size, fields int
	limits       *Limits

	pseudo struct{ method, scheme, authority, path, status, protocol string }
	// seen are the pseudo-fields, begun is set after the first other field.
	seen         uint8
	begun        bool
	cookies      []byte
	length       int64
	status       int
	bad, tooLong bool
}

type listKind uint8

const (
	ofRequest listKind = iota
	ofResponse
	ofTrailer
)

const (
	hasMethod = 1 << iota
	hasScheme
	hasAuthority
	hasPath
	hasStatus
	hasProtocol
)

// begin prepares for another list, whose text is appended to text.
func (l *list) begin(kind listKind, text []byte) {
	*l = list{kind: kind, text: text, limits: l.limits, cookies: l.cookies[:0], length: -1}
}

// add takes the next field.
func (l *list) add(f hpack.HeaderField) {
	if l.bad || l.tooLong {
		return
	}
	l.size += len(f.Name) + len(f.Value) + 32
	if l.fields++; l.size > l.limits.Head || l.fields > l.limits.Fields+4 { // pseudo-fields are no fields
		l.tooLong = true
		return
	}
	switch {
	case f.Name == "":
		l.bad = true
	case f.Name[0] == ':':
		l.bad = l.begun || l.kind == ofTrailer || !l.addPseudo(f.Name, f.Value)
	case !isName(f.Name) || !isValue(f.Value):
		l.bad = true
	default:
		l.start()
		l.bad = l.bad || !l.addField(f.Name, f.Value)
	}
}

// addPseudo keeps a pseudo-field, of which there may be one of each name (RFC 9113,
// section 8.3).
func (l *list) addPseudo(name, value string) bool {
	var to *string
	bit, kind := uint8(0), ofRequest
	switch name {
	case ":method":
		to, bit = &l.pseudo.method, hasMethod
	case ":scheme":
		to, bit = &l.pseudo.scheme, hasScheme
	case ":authority":
		to, bit = &l.pseudo.authority, hasAuthority
	case ":path":
		to, bit = &l.pseudo.path, hasPath
	case ":protocol":
		if to, bit = &l.pseudo.protocol, hasProtocol; !l.limits.Connect || !isToken(value) {
			return false
		}
	case ":status":
		to, bit, kind = &l.pseudo.status, hasStatus, ofResponse
	default:
		return false
	}
	if l.kind != kind || l.seen&bit != 0 || !isVisible(value) {
		return false
	}
	*to, l.seen = value, l.seen|bit
	return true
}

// start writes the first line, once.
func (l *list) start() {
	if l.begun {
		return
	}
	l.begun = true
	switch l.kind {
	case ofRequest:
		l.bad = l.bad || !l.startRequest()
	case ofResponse:
		status, err := strconv.Atoi(l.pseudo.status)
		// 101 has no place here (RFC 9113, section 8.6).
		if l.bad = l.bad || err != nil || len(l.pseudo.status) != 3 || status < 100 || status == 101; l.bad {
			return
		}
		l.status = status
		l.text = append(append(append(l.text, "HTTP/1.1 "...), l.pseudo.status...), " \r\n"...)
	}
}

// carries reports whether the stream is to carry another protocol.
func (l *list) carries() bool { return l.seen&hasProtocol != 0 }

// startRequest writes METHOD SP TARGET and Host. Of CONNECT the target is the
// authority (RFC 9113, section 8.5); http1 refuses it. That which names a protocol (RFC
// 8441, section 4) becomes what asks for it in HTTP/1.1.
func (l *list) startRequest() bool {
	p := &l.pseudo
	method, target := p.method, p.path
	if l.carries() {
		if method = "GET"; p.method != "CONNECT" || l.seen != hasMethod|hasScheme|hasAuthority|hasPath|hasProtocol {
			return false
		}
	}
	if method == "CONNECT" {
		if target = p.authority; l.seen != hasMethod|hasAuthority {
			return false
		}
	} else {
		if l.seen&^hasProtocol|hasAuthority != hasMethod|hasScheme|hasAuthority|hasPath || p.scheme != "http" && p.scheme != "https" {
			return false
		}
		// Another form would be read as a URL with another host.
		if target == "" || target[0] != '/' && (target != "*" || p.method != "OPTIONS") {
			return false
		}
	}
	if !isToken(p.method) || target == "" || l.seen&hasAuthority != 0 && p.authority == "" {
		return false
	}
	l.text = append(append(append(append(l.text, method...), ' '), target...), " HTTP/1.1\r\n"...)
	if l.seen&hasAuthority != 0 {
		l.line("Host", p.authority)
	}
	if l.carries() {
		l.line("Connection", "Upgrade")
		l.line("Upgrade", p.protocol)
	}
	return true
}

func (l *list) line(name, value string) {
	l.text = append(append(append(append(l.text, name...), ": "...), value...), "\r\n"...)
}

// addField writes a field, unless it speaks about a connection (RFC 9113, section
// 8.2.2) or would contradict what is known.
func (l *list) addField(name, value string) bool {
	switch name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		return false
	case "sec-websocket-key":
		if l.carries() {
			return true // it has no meaning here: RFC 8441, section 5
		}
	case "te":
		return value == "trailers"
	case "host":
		if l.kind == ofRequest && l.seen&hasAuthority != 0 {
			return equalFold(value, l.pseudo.authority)
		}
	case "cookie":
		// RFC 9113, section 8.2.3: there may be several, but not in HTTP/1.1.
		if len(l.cookies) > 0 {
			l.cookies = append(l.cookies, "; "...)
		}
		l.cookies = append(l.cookies, value...)
		return true
	case "content-length":
		if l.carries() {
			return false
		}
		length, ok := parseLength(value)
		if ok = ok && l.length < 0; ok {
			l.length = length
		}
		return ok
	}
	if l.kind == ofTrailer && (name == "host" || name == "trailer" || name == "content-length") {
		return true
	}
	l.line(name, value)
	return true
}

// end completes the text. With end, no body follows.
func (l *list) end(end bool) {
	l.start()
	if l.bad || l.tooLong || l.kind == ofTrailer {
		return
	}
	if len(l.cookies) > 0 {
		l.text = append(append(append(l.text, "cookie: "...), l.cookies...), "\r\n"...)
	}
	switch {
	case l.kind == ofRequest && end && l.length > 0:
		l.bad = true
	case l.status >= 100 && l.status < 200:
		l.bad = end
	case l.length >= 0:
		l.text = append(l.text, "Content-Length: "...)
		l.text = append(strconv.AppendInt(l.text, l.length, 10), "\r\n"...)
	case !end && l.pseudo.method != "CONNECT":
		l.text = append(l.text, "Transfer-Encoding: chunked\r\n"...)
	case l.pseudo.method == "POST" || l.pseudo.method == "PUT" || l.pseudo.method == "PATCH":
		// Some servers refuse these without a length (RFC 9110, section 8.6).
		l.text = append(l.text, "Content-Length: 0\r\n"...)
	}
	l.text = append(l.text, "\r\n"...)
}

// parseLength reads a Content-Length: digits, and nothing else.
func parseLength(value string) (int64, bool) {
	if len(value) == 0 || len(value) > 18 {
		return 0, false
	}
	length := int64(0)
	for i := range len(value) {
		if value[i] < '0' || value[i] > '9' {
			return 0, false
		}
		length = length*10 + int64(value[i]-'0')
	}
	return length, true
}
