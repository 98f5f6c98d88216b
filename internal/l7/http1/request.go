package http1

import "bytes"

// Request is what a client asks for. Its zero value is ready to be parsed into.
type Request struct {
	head
	Method []byte
	// Target is the path with its query as they were sent, or *.
	Target []byte
	// Path is what of the Target is before a question mark, and Query what follows it.
	Path, Query []byte
	// Authority is the host with its port, if any, as sent: in the target, or else in
	// the field Host. Host is the host alone in lower case without final dot; an
	// address of IPv6 is in brackets.
	Authority, Host []byte
	// Continue is set if the client waits for leave to send the body.
	Continue bool
	// Rounds is how often the request has been through this program, in any replica, by what
	// CDN-Loop says (RFC 8586).
	Rounds int
	// loops is set if there is a CDN-Loop.
	loops bool
}

// Parse reads the header of the request that begins b, and returns how many bytes
// it has: 0 if it is not complete yet. The body follows it. Errors are of type
// *Error.
func (r *Request) Parse(b []byte, limits *Limits) (int, error) {
	skip := 0
	if len(b) > 1 && b[0] == '\r' && b[1] == '\n' {
		skip = 2 // one empty line before a request is forgiven: RFC 9112, section 2.2
	}
	n, err := r.end(b[skip:], limits)
	if err != nil {
		return 0, err
	}
	if n == 0 {
		if len(b) >= limits.Head {
			return 0, errHead // with the empty line there is no space for more
		}
		return 0, nil
	}
	if err := r.parse(b[skip:skip+n], limits); err != nil {
		return 0, err
	}
	return skip + n, nil
}

func (r *Request) parse(b []byte, limits *Limits) *Error {
	*r = Request{head: r.head}
	r.Reset()
	first, rest, err := line(b)
	if err != nil {
		return err
	}
	if len(first) > limits.Line {
		return errLongLine
	}
	if err := r.parseLine(first); err != nil {
		return err
	}
	if err := r.parseFields(rest, limits); err != nil {
		return err
	}
	if err := r.checkFields(); err != nil {
		return err
	}
	return r.parseHost()
}

// parseLine reads METHOD SP TARGET SP HTTP/1.x.
func (r *Request) parseLine(first []byte) *Error {
	method, rest, ok := bytes.Cut(first, []byte(" "))
	if !ok {
		return errLine
	}
	target, version, ok := bytes.Cut(rest, []byte(" "))
	if !ok {
		return errLine
	}
	switch {
	case string(version) == "HTTP/1.1":
		r.Minor = 1
	case string(version) == "HTTP/1.0":
		r.Minor = 0
	case len(version) == 8 && string(version[:5]) == "HTTP/" && digit(version[5]) && version[6] == '.' && digit(version[7]):
		return errVersion
	default:
		return errLine
	}
	if len(method) == 0 {
		return errMethod
	}
	for _, c := range method {
		if lowerToken[c] == 0 {
			return errMethod
		}
	}
	r.Method = method
	switch string(method) {
	case "CONNECT", "TRACE":
		// A gateway is nobody's tunnel, and TRACE would return fields of one hop.
		return errNoMethod
	}
	return r.parseTarget(target)
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// checkFields demands of fields what only requests need.
func (r *Request) checkFields() *Error {
	hosts := 0
	for i := range r.Fields {
		f := &r.Fields[i]
		switch string(f.Lower) {
		case "host":
			f.hop = true
			if hosts++; hosts > 1 || len(f.Value) == 0 {
				return errHost
			}
			if r.Authority == nil {
				r.Authority = f.Value
			} else if host, ok := hostOf(f.Value); !ok || len(host) == 0 {
				return errHost
			}
		case "expect":
			f.hop = true
			if !equalFold(f.Value, "100-continue") {
				return errExpect
			}
			// RFC 9110, section 10.1.1: not of clients that do not know it.
			r.Continue = r.Minor > 0
		case loopName:
			f.hop, r.loops = true, true // written anew
			r.Rounds += rounds(f.Value)
		}
	}
	if hosts == 0 && r.Minor > 0 {
		return errHost // RFC 9112, section 3.2
	}
	if !r.Chunked && r.Length <= 0 {
		r.Continue = false
	}
	return nil
}

// Bodyless reports whether no body follows.
func (r *Request) Bodyless() bool { return !r.Chunked && r.Length <= 0 }

// Idempotent reports whether a request may be sent twice (RFC 9110, section 9.2.2).
func (r *Request) Idempotent() bool {
	switch string(r.Method) {
	case "GET", "HEAD", "OPTIONS", "PUT", "DELETE":
		return true
	}
	return false
}
