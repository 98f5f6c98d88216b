package http1

import "bytes"

// NewField returns a field that the proxy adds itself: it is passed on even where a
// client's of that name would not be. It shares no memory with the strings. Bytes that no
// value may have (RFC 9110, section 5.5) become spaces: values hold what clients say, in
// certificates for one, and a line break would begin another field.
func NewField(name, value string) Field {
	text := make([]byte, 2*len(name)+len(value))
	copy(text[copy(text, name):], value)
	f := Field{Name: text[:len(name)], Value: text[len(name) : len(name)+len(value)], Lower: text[len(name)+len(value):], own: true}
	blank(f.Value)
	for i, c := range f.Name {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		f.Lower[i] = c
	}
	return f
}

// blank replaces bytes that no field's value may have.
func blank(value []byte) {
	for i, c := range value {
		if classes[c]&inValue == 0 {
			value[i] = ' '
		}
	}
}

// Remove leaves out all fields of a name, which is in lower case.
func (h *head) Remove(lower string) {
	for i := range h.Fields {
		if string(h.Fields[i].Lower) == lower {
			h.Fields[i].hop = true
		}
	}
}

// RemoveGiven leaves out those of a name, which is in lower case, that the sender gave: not
// those of the proxy's own.
func (h *head) RemoveGiven(lower string) {
	for i := range h.Fields {
		if f := &h.Fields[i]; !f.own && string(f.Lower) == lower {
			f.hop = true
		}
	}
}

// Append adds a field of the proxy's own.
func (h *head) Append(f Field) {
	h.Fields = append(h.Fields, f)
	h.owns = true
}

// Set sets a field of the proxy's own in place of those of its name.
func (h *head) Set(f Field) {
	h.Remove(string(f.Lower))
	h.Append(f)
}

// dropReplaced takes out of lines that this hop has written those in whose place the
// request has fields of the proxy's own.
func dropReplaced(dst []byte, begin int, r *Request) []byte {
	for i := range r.Fields {
		f := &r.Fields[i]
		if !f.own || f.hop {
			continue
		}
		for at := begin; at < len(dst); {
			end := at + bytes.IndexByte(dst[at:], '\n') + 1
			if colon := bytes.IndexByte(dst[at:end], ':'); equalFold(dst[at:at+colon], string(f.Lower)) {
				dst = append(dst[:at], dst[end:]...)
				continue
			}
			at = end
		}
	}
	return dst
}

// Port returns the port that was connected to.
func (h *Hop) Port() string { return h.port }

// PassesTrailer reports whether a field after the body of a request is passed on to an
// upstream, whose name is in lower case: one that neither says who asks and from where, nor
// would stand beside one of the header that the proxy has set or taken away (RFC 9110,
// section 6.5.1).
func (h *Hop) PassesTrailer(r *Request, lower []byte) bool {
	switch string(lower) {
	case "authorization", "proxy-authorization", "cookie", "host", "content-length", "transfer-encoding":
		return false
	}
	if len(lower) == 0 || withheld(lower) || aboutHops(lower) || bytes.HasPrefix(lower, xForwarded) {
		return false
	}
	for i := range r.Fields {
		if f := &r.Fields[i]; (f.own || f.hop) && bytes.Equal(f.Lower, lower) {
			return false
		}
	}
	return true
}

var xForwarded = []byte("x-forwarded-")

// Passes reports whether a field of a request is passed on to an upstream.
func (h *Hop) Passes(f *Field) bool {
	switch {
	case f.hop:
		return false
	case f.own:
		return string(f.Lower) != "host" && string(f.Lower) != loopName
	case h.trusted != nil:
		return !withheld(f.Lower) || bytes.HasPrefix(f.Lower, sslClient) && bytes.IndexByte(f.Lower, '_') < 0
	}
	return !withheld(f.Lower) && !aboutHops(f.Lower)
}
