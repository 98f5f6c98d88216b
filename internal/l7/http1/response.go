package http1

// Response is what an upstream answers. Its zero value is ready to be parsed into.
type Response struct {
	head
	Status int
	// Reason is the text after the status, which says nothing to programs.
	Reason []byte
}

// Parse reads the header of the response that begins b, and returns how many bytes
// it has: 0 if it is not complete yet. Errors are of type *Error; their Status has
// no meaning.
func (r *Response) Parse(b []byte, limits *Limits) (int, error) {
	n, err := r.end(b, limits)
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, nil
	}
	r.Status, r.Reason = 0, nil
	r.Reset()
	first, rest, err := line(b[:n])
	if err != nil {
		return 0, err
	}
	if err := r.parseLine(first); err != nil {
		return 0, err
	}
	if err := r.parseFields(rest, limits); err != nil {
		return 0, err
	}
	return n, nil
}

// parseLine reads HTTP/1.x SP STATUS [SP REASON].
func (r *Response) parseLine(first []byte) *Error {
	if len(first) < len("HTTP/1.1 200") || string(first[:7]) != "HTTP/1." || first[8] != ' ' {
		return errStatus
	}
	switch first[7] {
	case '0':
	case '1':
		r.Minor = 1
	default:
		return errVersion
	}
	for _, c := range first[9:12] {
		if !digit(c) {
			return errStatus
		}
		r.Status = r.Status*10 + int(c-'0')
	}
	if r.Status < 100 || r.Status > 599 {
		return errStatus
	}
	if len(first) > 12 {
		if first[12] != ' ' || !all(first[13:], inValue) {
			return errStatus
		}
		r.Reason = first[13:]
	}
	return nil
}

// Interim reports whether another response follows (RFC 9110, section 15.2).
func (r *Response) Interim() bool { return r.Status < 200 && r.Status != 101 }

// Framing is where a body ends.
type Framing uint8

// The framings of bodies.
const (
	NoBody     Framing = iota + 1
	ByLength           // after Length bytes
	ByChunks           // with the last chunk
	UntilClose         // with the connection
)

// Framing returns where the body of the response to a request ends (RFC 9112,
// section 6.3).
func (r *Response) Framing(toHEAD bool) Framing {
	switch {
	case toHEAD, r.Status < 200, r.Status == 204, r.Status == 304:
		return NoBody
	case r.Chunked:
		return ByChunks
	case r.Length > 0:
		return ByLength
	case r.Length == 0:
		return NoBody
	}
	return UntilClose
}

// Make begins a response of the proxy's own, without fields; its Length is not known.
func (r *Response) Make(status int, reason string) {
	r.Reset()
	r.Status, r.Reason, r.Minor = status, r.keep(reason), 1
}

// Add appends a field to a response of the proxy's own. The name is not checked; of the
// value, bytes that none may have become spaces.
func (r *Response) Add(name, value string) {
	f := Field{Name: r.keep(name), Value: r.keep(value), Lower: r.keep(name)}
	blank(f.Value)
	for i, c := range f.Lower {
		f.Lower[i] = lowerToken[c]
	}
	r.Fields = append(r.Fields, f)
}

// keep copies a text to where names are.
func (h *head) keep(text string) []byte {
	begin := len(h.lower)
	h.lower = append(h.lower, text...)
	return h.lower[begin:len(h.lower):len(h.lower)]
}
