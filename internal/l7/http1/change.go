package http1

// NewField returns a field that the proxy adds itself: it is passed on even where a
// client's of that name would not be. It shares no memory with the strings.
func NewField(name, value string) Field {
	text := make([]byte, 2*len(name)+len(value))
	copy(text[copy(text, name):], value)
	f := Field{Name: text[:len(name)], Value: text[len(name) : len(name)+len(value)], Lower: text[len(name)+len(value):], own: true}
	for i, c := range f.Name {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		f.Lower[i] = c
	}
	return f
}

// Remove leaves out all fields of a name, which is in lower case.
func (h *head) Remove(lower string) {
	for i := range h.Fields {
		if string(h.Fields[i].Lower) == lower {
			h.Fields[i].hop = true
		}
	}
}

// Append adds a field of the proxy's own.
func (h *head) Append(f Field) { h.Fields = append(h.Fields, f) }

// Set sets a field of the proxy's own in place of those of its name.
func (h *head) Set(f Field) {
	h.Remove(string(f.Lower))
	h.Append(f)
}

// Port returns the port that was connected to.
func (h *Hop) Port() string { return h.port }

// Passes reports whether a field of a request is passed on to an upstream.
func (h *Hop) Passes(f *Field) bool {
	return !f.hop && (f.own || !withheld(f.Lower) && (h.trusted != nil || !aboutHops(f.Lower)))
}
