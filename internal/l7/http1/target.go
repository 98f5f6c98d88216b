package http1

import (
	"bytes"
	"net/netip"
)

// parseTarget takes apart a request target (RFC 9112, section 3.2): a path, a whole
// URL of http or https, or * of OPTIONS.
func (r *Request) parseTarget(target []byte) *Error {
	if len(target) == 0 || !all(target, inTarget) {
		return errTarget
	}
	if target[0] != '/' {
		if string(target) == "*" && string(r.Method) == "OPTIONS" {
			r.Target, r.Path = target, target
			return nil
		}
		var err *Error
		if target, err = r.cutAuthority(target); err != nil {
			return err
		}
	}
	r.Target = target
	if i := bytes.IndexByte(target, '?'); i >= 0 {
		r.Path, r.Query = target[:i], target[i+1:]
	} else {
		r.Path = target
	}
	return checkEscapes(r.Path)
}

// cutAuthority takes scheme and host off a URL. What is left is the path.
func (r *Request) cutAuthority(target []byte) ([]byte, *Error) {
	i := bytes.Index(target, []byte("://"))
	if i < 0 || !equalFold(target[:i], "http") && !equalFold(target[:i], "https") {
		return nil, errTarget
	}
	rest := target[i+3:]
	end := bytes.IndexAny(rest, "/?")
	if end < 0 {
		r.Authority = rest
		return []byte("/"), nil
	}
	r.Authority = rest[:end]
	if rest[end] == '?' {
		// A path that is empty is /, which is not in what was sent.
		return nil, errTarget
	}
	return rest[end:], nil
}

// checkEscapes demands that a percent sign is followed by the digits of a byte
// other than 0, which some read as the end.
func checkEscapes(path []byte) *Error {
	for {
		i := bytes.IndexByte(path, '%')
		if i < 0 {
			return nil
		}
		if len(path) < i+3 {
			return errEscape
		}
		high, ok1 := unhex(path[i+1])
		low, ok2 := unhex(path[i+2])
		if !ok1 || !ok2 || high|low == 0 {
			return errEscape
		}
		path = path[i+3:]
	}
}

// parseHost checks the Authority and makes Host of it.
func (r *Request) parseHost() *Error {
	if r.Authority == nil {
		return nil // HTTP/1.0
	}
	host, ok := hostOf(r.Authority)
	if !ok || len(host) == 0 {
		return errHost
	}
	begin := len(r.lower)
	for _, c := range host {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		r.lower = append(r.lower, c)
	}
	r.Host = r.lower[begin:]
	if n := len(r.Host); n > 1 && r.Host[n-1] == '.' {
		r.Host = r.Host[:n-1]
	}
	return nil
}

// hostOf cuts the port off an authority, and reports whether both are well formed.
func hostOf(authority []byte) (host []byte, ok bool) {
	host = authority
	if len(authority) > 0 && authority[0] == '[' {
		end := bytes.IndexByte(authority, ']')
		if end < 0 {
			return nil, false
		}
		// Brackets are rare, so the string may cost what it does.
		address, err := netip.ParseAddr(string(authority[1:end]))
		if err != nil || !address.Is6() || address.Zone() != "" {
			return nil, false
		}
		host, port := authority[:end+1], authority[end+1:]
		return host, len(port) == 0 || port[0] == ':' && validPort(port[1:])
	}
	if i := bytes.IndexByte(authority, ':'); i >= 0 {
		if host = authority[:i]; !validPort(authority[i+1:]) {
			return nil, false
		}
	}
	return host, len(host) <= 255 && all(host, inHost)
}

func validPort(port []byte) bool {
	if len(port) == 0 || len(port) > 5 {
		return false
	}
	value := 0
	for _, c := range port {
		if !digit(c) {
			return false
		}
		value = value*10 + int(c-'0')
	}
	return value > 0 && value < 1<<16
}
