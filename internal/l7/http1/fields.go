package http1

import "bytes"

// Limits bound what is read of a message before it is refused.
type Limits struct {
	// Line is the longest first line, Head the largest header with it, in bytes;
	// Fields is how many fields there may be.
	Line, Head, Fields int
}

// Field is one line of a header. Its parts are slices of the message.
type Field struct {
	Name, Value []byte
	// Lower is Name in lower case.
	Lower []byte
	// hop is set for fields that end here: those about this connection, those that
	// Connection names, and those that are written anew.
	hop bool
	// own is set for fields that the proxy adds.
	own bool
}

// Hop reports whether a field is for this hop only, or written anew for the next.
func (f *Field) Hop() bool { return f.hop }

// head is what requests and responses have in common.
type head struct {
	// Fields are in the order in which they came.
	Fields []Field
	// Minor is the version's second digit: 0 or 1.
	Minor int
	// Chunked is set if the body is in chunks. Length is that of the body otherwise;
	// it is -1 if none was given.
	Chunked bool
	Length  int64

	connection connection
	upgrade    []byte
	// lower holds names in lower case.
	lower []byte
	// named is how many fields Connection names.
	named int
	// owns is set if there are fields of the proxy's own.
	owns    bool
	codings int
	scanned int
}

// maxNamed is how many fields Connection may name: each is compared with every field
// that there is.
const maxNamed = 32

// connection is a set of what Connection says.
type connection uint8

const (
	saysClose connection = 1 << iota
	saysKeepAlive
	saysUpgrade
)

// Reset forgets what has been parsed, also of a header that never became complete.
func (h *head) Reset() {
	*h = head{Fields: h.Fields[:0], lower: h.lower[:0], Length: -1}
}

// end returns how long the header is that begins b: with the empty line that ends
// it. It is 0 if that has not come yet.
func (h *head) end(b []byte, limits *Limits) (int, *Error) {
	from := min(max(h.scanned-3, 0), len(b))
	if i := bytes.Index(b[from:], []byte("\r\n\r\n")); i >= 0 {
		if from+i+4 > limits.Head {
			return 0, errHead
		}
		return from + i + 4, nil
	}
	// A client that ends lines in another way would be waited for in vain.
	for i := from; ; {
		next := bytes.IndexByte(b[i:], '\n')
		if next < 0 {
			break
		}
		if i += next; i == 0 || b[i-1] != '\r' {
			return 0, errBareLF
		}
		i++
	}
	h.scanned = len(b)
	if len(b) > limits.Line+1 && bytes.IndexByte(b[:limits.Line+2], '\n') < 0 {
		return 0, errLongLine
	}
	if len(b) >= limits.Head {
		return 0, errHead
	}
	return 0, nil
}

// line cuts the first line off b, which has one.
func line(b []byte) (first, rest []byte, err *Error) {
	i := bytes.IndexByte(b, '\n')
	if i < 1 || b[i-1] != '\r' {
		return nil, nil, errBareLF
	}
	return b[:i-1], b[i+1:], nil
}

// parseFields reads the lines of a header up to the empty one.
func (h *head) parseFields(b []byte, limits *Limits) *Error {
	for {
		text, rest, err := line(b)
		if err != nil {
			return err
		}
		if len(text) == 0 {
			break
		}
		if len(h.Fields) >= limits.Fields {
			return errFields
		}
		if err := h.parseField(text); err != nil {
			return err
		}
		b = rest
	}
	if h.named > maxNamed {
		return errNamed
	}
	if h.named > 0 {
		h.dropNamed()
	}
	if h.codings > 1 {
		return errCodingTwice
	}
	if h.Chunked && h.Length >= 0 {
		return errBothLengths
	}
	if h.codings > 0 && h.Minor == 0 {
		return errCodingVersion
	}
	return nil
}

func (h *head) parseField(text []byte) *Error {
	if text[0] == ' ' || text[0] == '\t' {
		return errFold
	}
	begin, i := len(h.lower), 0
	for ; i < len(text); i++ {
		c := lowerToken[text[i]]
		if c == 0 {
			break
		}
		h.lower = append(h.lower, c)
	}
	if i == 0 || i == len(text) || text[i] != ':' {
		return errName
	}
	value := text[i+1:]
	if !all(value, inValue) {
		return errValue
	}
	field := Field{Name: text[:i], Value: trim(value), Lower: h.lower[begin:len(h.lower):len(h.lower)]}
	err := h.know(&field)
	h.Fields = append(h.Fields, field)
	return err
}

// know takes note of the fields that decide how a message and its connection go on.
func (h *head) know(f *Field) *Error {
	switch string(f.Lower) {
	case "content-length":
		f.hop = true
		length, ok := parseLength(f.Value)
		if !ok || h.Length >= 0 {
			return errLength
		}
		h.Length = length
	case "transfer-encoding":
		f.hop = true
		h.codings++
		if !equalFold(f.Value, "chunked") {
			return errCoding
		}
		h.Chunked = true
	case "connection":
		f.hop = true
		h.parseConnection(f.Value)
	case "upgrade":
		f.hop = true
		h.upgrade = f.Value
	case "keep-alive", "proxy-connection", "te", "trailer", "http2-settings":
		// RFC 9110, section 7.6.1; the trailer itself ends here too.
		f.hop = true
	}
	return nil
}

// parseLength reads a Content-Length: digits, and nothing else.
func parseLength(value []byte) (int64, bool) {
	if len(value) == 0 || len(value) > 18 {
		return 0, false
	}
	length := int64(0)
	for _, c := range value {
		if c < '0' || c > '9' {
			return 0, false
		}
		length = length*10 + int64(c-'0')
	}
	return length, true
}

func (h *head) parseConnection(value []byte) {
	for len(value) > 0 {
		var option []byte
		option, value, _ = bytes.Cut(value, []byte(","))
		switch option = trim(option); {
		case len(option) == 0:
		case equalFold(option, "close"):
			h.connection |= saysClose
		case equalFold(option, "keep-alive"):
			h.connection |= saysKeepAlive
		case equalFold(option, "upgrade"):
			h.connection |= saysUpgrade
		default:
			h.named++
		}
	}
}

// dropNamed marks the fields that Connection names (RFC 9110, section 7.6.1).
func (h *head) dropNamed() {
	for i := range h.Fields {
		if string(h.Fields[i].Lower) != "connection" {
			continue
		}
		for value := h.Fields[i].Value; len(value) > 0; {
			var option []byte
			option, value, _ = bytes.Cut(value, []byte(","))
			option = trim(option)
			for j := range h.Fields {
				if bytes.EqualFold(option, h.Fields[j].Lower) {
					h.Fields[j].hop = true
				}
			}
		}
	}
}

// Persistent reports whether the sender goes on using the connection after this
// message (RFC 9112, section 9.3).
func (h *head) Persistent() bool {
	if h.connection&saysClose != 0 {
		return false
	}
	return h.Minor > 0 || h.connection&saysKeepAlive != 0
}

// Upgrade returns the protocol that the sender wants to change to; nil if none.
func (h *head) Upgrade() []byte {
	if h.connection&saysUpgrade == 0 {
		return nil
	}
	return h.upgrade
}

// Get returns the value of the first field of a name, which is in lower case.
func (h *head) Get(lower string) []byte {
	for i := range h.Fields {
		if string(h.Fields[i].Lower) == lower {
			return h.Fields[i].Value
		}
	}
	return nil
}
