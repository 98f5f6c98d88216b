package http1

import (
	"bytes"
	"net/netip"
	"strconv"
)

// Hop is what a request is told about the connection that it came on, under the
// names and with the values of ingress-nginx. It is made once per connection.
type Hop struct {
	peer, scheme, port string
	address            netip.Addr
	// trusted is nil if the peer's word about earlier hops counts for nothing.
	trusted func(netip.Addr) bool
	// fields are those that are the same for every request.
	fields []byte
}

// NewHop returns what is said of a connection: the client's address, the scheme, and
// the port that was connected to. If trusted holds of the client, the fields that it
// sends about earlier hops are passed on and added to; else they are dropped.
func NewHop(peer netip.Addr, scheme string, port uint16, trusted func(netip.Addr) bool) *Hop {
	h := &Hop{address: peer, peer: peer.String(), scheme: scheme, port: strconv.Itoa(int(port))}
	if trusted != nil && trusted(peer) {
		h.trusted = trusted
		return h
	}
	h.fields = appendLine(h.fields, "X-Real-IP", h.peer)
	h.fields = appendLine(h.fields, "X-Forwarded-For", h.peer)
	h.fields = appendLine(h.fields, "X-Forwarded-Port", h.port)
	h.fields = appendLine(h.fields, "X-Forwarded-Proto", h.scheme)
	h.fields = appendLine(h.fields, "X-Forwarded-Scheme", h.scheme)
	h.fields = appendLine(h.fields, "X-Scheme", h.scheme)
	return h
}

func appendLine[T, U []byte | string](dst []byte, name T, value U) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

// Onward is what of a request an upstream gets in another way than it came.
type Onward struct {
	// ID is for requests that bring no usable X-Request-ID.
	ID []byte
	// Upgrade: the request asks for the protocol that the client asked for.
	Upgrade bool
	// Host replaces the host, but not in X-Forwarded-Host; empty: it stays.
	Host string
	// Trace are whole lines that say of which trace the request is; nil: what the client says
	// of that is passed on. KeepsState: its tracestate is, in either case.
	Trace      []byte
	KeepsState bool
	// Prefix is sent as X-Forwarded-Prefix; empty: nothing is.
	Prefix string
}

// AppendRequest appends the header of a request as an upstream gets it: written
// anew, without what was for one hop only, with what the Hop and Onward say. The body
// has to follow in the framing it came in.
func AppendRequest(dst []byte, r *Request, h *Hop, to *Onward) []byte {
	dst = append(dst, r.Method...)
	dst = append(dst, ' ')
	dst = append(dst, r.Target...)
	dst = append(dst, " HTTP/1.1\r\n"...)
	if to.Host != "" {
		dst = appendLine(dst, "Host", to.Host)
	} else {
		dst = appendLine(dst, "Host", r.Authority)
	}
	begin := len(dst)
	dst = appendLine(dst, "X-Request-ID", r.ID(to.ID))
	if h.trusted == nil {
		dst = append(dst, h.fields...)
		dst = appendLine(dst, "X-Forwarded-Host", r.Authority)
	} else {
		dst = h.appendTrusted(dst, r)
	}
	if to.Prefix != "" {
		dst = appendLine(dst, "X-Forwarded-Prefix", to.Prefix)
	}
	if r.owns {
		dst = dropReplaced(dst, begin, r)
	}
	dst = append(dst, to.Trace...)
	dst = append(dst, "CDN-Loop: "...)
	dst = append(r.AppendLoop(dst), "\r\n"...)
	for i := range r.Fields {
		f := &r.Fields[i]
		if !h.Passes(f) || to.Prefix != "" && string(f.Lower) == "x-forwarded-prefix" {
			continue
		}
		if to.Trace != nil && f.Traces() && !(to.KeepsState && string(f.Lower) == "tracestate") {
			continue
		}
		dst = appendLine(dst, f.Name, f.Value)
	}
	switch {
	case r.Chunked:
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	case r.Length >= 0:
		dst = append(dst, "Content-Length: "...)
		dst = strconv.AppendInt(dst, r.Length, 10)
		dst = append(dst, "\r\n"...)
	}
	if r.Continue {
		dst = append(dst, "Expect: 100-continue\r\n"...)
	}
	if to.Upgrade {
		dst = appendLine(dst, "Upgrade", r.Upgrade())
		dst = append(dst, "Connection: upgrade\r\n"...)
	}
	return append(dst, "\r\n"...)
}

// withheld reports whether a client's field is never passed on as it is: those of
// a Hop; what only a proxy says of a client's certificate, this one or, in fields of a
// header, a trusted one in front; Proxy, which CGI programs take
// for a setting (CVE-2016-5385); and names with an underscore, which many upstreams take
// for those with a hyphen.
func withheld(lower []byte) bool {
	if lower[0] != 'x' && lower[0] != 'p' {
		if bytes.HasPrefix(lower, sslClient) {
			return true
		}
		return bytes.IndexByte(lower, '_') >= 0
	}
	switch string(lower) {
	case "x-request-id", "x-real-ip", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port",
		"x-forwarded-proto", "x-forwarded-scheme", "x-scheme", "proxy":
		return true
	}
	return bytes.IndexByte(lower, '_') >= 0
}

var sslClient = []byte("ssl-client-")

// aboutHops reports whether a field says what only a proxy in front may say: of
// earlier hops (RFC 7239 and its forerunners), or what URL was asked for, which
// frameworks take for the request's own.
func aboutHops(lower []byte) bool {
	switch string(lower) {
	case "forwarded", "x-forwarded-prefix", "x-forwarded-ssl", "x-forwarded-server", "x-original-url", "x-original-uri", "x-original-method", "x-rewrite-url":
		return true
	}
	return false
}

// ID returns the request's X-Request-ID: the client's if that can be used, else own.
func (r *Request) ID(own []byte) []byte {
	if sent := r.Get("x-request-id"); usableID(sent) {
		return sent
	}
	return own
}

// usableID reports whether a client's X-Request-ID is passed on, which
// ingress-nginx does with any.
func usableID(id []byte) bool {
	return len(id) > 0 && len(id) <= 128 && all(id, inTarget)
}

// appendTrusted adds this hop to what the client says of earlier ones.
func (h *Hop) appendTrusted(dst []byte, r *Request) []byte {
	dst = append(dst, "X-Forwarded-For: "...)
	begin := len(dst)
	for i := range r.Fields {
		if f := &r.Fields[i]; string(f.Lower) == "x-forwarded-for" && len(f.Value) > 0 {
			dst = append(dst, f.Value...)
			dst = append(dst, ", "...)
		}
	}
	client := h.client(dst[begin:])
	dst = append(dst, h.peer...)
	dst = append(dst, "\r\n"...)
	dst = appendLine(dst, "X-Real-IP", client)
	dst = appendGiven(dst, r, "x-forwarded-host", "X-Forwarded-Host", r.Authority)
	dst = appendGiven(dst, r, "x-forwarded-port", "X-Forwarded-Port", h.port)
	scheme := h.Scheme(r)
	dst = appendLine(dst, "X-Forwarded-Proto", scheme)
	dst = appendLine(dst, "X-Forwarded-Scheme", scheme)
	return appendLine(dst, "X-Scheme", scheme)
}

// Scheme returns that which the client used, http or https: of the connection, or what
// a trusted peer says.
func (h *Hop) Scheme(r *Request) string {
	if h.trusted != nil {
		switch given := r.Get("x-forwarded-proto"); {
		case equalFold(given, "http"):
			return "http"
		case equalFold(given, "https"):
			return "https"
		}
	}
	return h.scheme
}

// Client returns the client's address: the peer, or the one that a trusted peer says.
func (h *Hop) Client(r *Request) netip.Addr {
	if h.trusted == nil {
		return h.address
	}
	var list []byte
	for i := range r.Fields {
		if f := &r.Fields[i]; string(f.Lower) == "x-forwarded-for" && len(f.Value) > 0 {
			list = append(append(list, f.Value...), ", "...)
		}
	}
	client, err := netip.ParseAddr(h.client(list))
	if err != nil {
		return h.address
	}
	return client.Unmap()
}

func appendGiven[T []byte | string](dst []byte, r *Request, lower, name string, standard T) []byte {
	if given := r.Get(lower); len(given) > 0 {
		return appendLine(dst, name, given)
	}
	return appendLine(dst, name, standard)
}

// client returns the last address of a list that is not trusted: it is the first
// that nobody trusted vouches for.
func (h *Hop) client(list []byte) string {
	client := h.peer
	for len(list) > 0 {
		var last []byte
		if i := bytes.LastIndexByte(list, ','); i >= 0 {
			list, last = list[:i], trim(list[i+1:])
		} else {
			list, last = nil, trim(list)
		}
		if len(last) == 0 {
			continue
		}
		address, err := netip.ParseAddr(string(last))
		if err != nil {
			return client
		}
		if client = address.String(); !h.trusted(address.Unmap()) {
			return client
		}
	}
	return client
}
