package tracing

import (
	"encoding/hex"
	"strings"

	"github.com/fairlead-net/fairlead/internal/l7/http1"
)

// TraceID is as in W3C Trace Context; zero is none.
type TraceID [16]byte

// SpanID is as in W3C Trace Context; zero is none.
type SpanID [8]byte

// Context is the trace of a request.
type Context struct {
	Trace TraceID
	// Parent is the span that the request was sent by; zero if this is the first.
	Parent SpanID
	// Span is that of the request itself.
	Span SpanID
	// Sampled: spans are recorded.
	Sampled bool
	// KeepsState: tracestate is of this trace, and passed on.
	KeepsState bool

	// forms are those of B3 that the client speaks.
	single, multi bool
	debug         bool
}

// said is whether a client has its trace recorded.
type said uint8

const (
	saidNothing said = iota
	saidNo
	saidYes
)

// Start returns the Context of a request: of the trace that the client names, else of a
// new one. W3C's traceparent goes before B3's single field, that before B3's several.
func Start(r *http1.Request, s *Sampler, random func() uint64) Context {
	f := find(r)
	var c Context
	var sampled said
	ok := false
	if f.parent != nil && !f.twice {
		c.Trace, c.Parent, sampled, ok = parseParent(f.parent)
		c.KeepsState = ok
	}
	if !ok && f.single != nil {
		c.Trace, c.Parent, sampled, c.debug, ok = parseSingle(f.single)
	}
	if !ok && f.trace != nil {
		ok = id(c.Trace[:], f.trace) && id(c.Parent[:], f.span)
	}
	if !ok {
		c.Trace, c.Parent, c.KeepsState = TraceID{}, SpanID{}, false
	}
	if !c.KeepsState && sampled == saidNothing { // B3 may say so without naming a trace
		sampled = f.says()
		c.debug = c.debug || string(f.flags) == "1"
	}
	c.single, c.multi = f.single != nil, f.trace != nil || f.sampled != nil
	for c.Trace == (TraceID{}) {
		fill(c.Trace[:8], random())
		fill(c.Trace[8:], random())
	}
	c.Span = NewSpan(random)
	c.Sampled = s.samples(&c.Trace, c.Parent != (SpanID{}), sampled)
	c.debug = c.debug && c.Sampled
	return c
}

// NewSpan returns a random SpanID.
func NewSpan(random func() uint64) SpanID {
	var s SpanID
	for s == (SpanID{}) {
		fill(s[:], random())
	}
	return s
}

func fill(b []byte, n uint64) {
	for i := range b {
		b[i] = byte(n >> (8 * i))
	}
}

// fields are those of a request that are about traces.
type fields struct {
	parent, single, trace, span, sampled, flags []byte
	// twice is set if there are several of traceparent.
	twice bool
}

func find(r *http1.Request) fields {
	var f fields
	for i := range r.Fields {
		field := &r.Fields[i]
		if !field.Traces() {
			continue
		}
		switch string(field.Lower) {
		case "traceparent":
			f.twice = f.parent != nil
			f.parent = field.Value
		case "b3":
			f.single = field.Value
		case "x-b3-traceid":
			f.trace = field.Value
		case "x-b3-spanid":
			f.span = field.Value
		case "x-b3-sampled":
			f.sampled = field.Value
		case "x-b3-flags":
			f.flags = field.Value
		}
	}
	return f
}

// says is what the fields of B3 say of recording.
func (f *fields) says() said {
	switch {
	case string(f.flags) == "1", string(f.sampled) == "1", string(f.sampled) == "true":
		return saidYes
	case string(f.sampled) == "0", string(f.sampled) == "false":
		return saidNo
	}
	return saidNothing
}

// parseParent reads a traceparent (W3C Trace Context, section 3.2).
func parseParent(b []byte) (t TraceID, s SpanID, sampled said, ok bool) {
	const length = len("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	if len(b) < length || b[2] != '-' || b[35] != '-' || b[52] != '-' {
		return t, s, 0, false
	}
	var version, flags [1]byte
	switch {
	case !decode(version[:], b[:2], false) || version[0] == 0xff:
	case version[0] == 0 && len(b) != length, len(b) > length && b[length] != '-':
	case !decode(t[:], b[3:35], false) || !decode(s[:], b[36:52], false) || !decode(flags[:], b[53:55], false):
	default:
		if sampled = saidNo; flags[0]&1 != 0 {
			sampled = saidYes
		}
		return t, s, sampled, t != TraceID{} && s != SpanID{}
	}
	return t, s, 0, false
}

// parseSingle reads B3's one field: TRACE-SPAN, perhaps -STATE, perhaps -PARENT; or the
// STATE alone, which names no trace.
func parseSingle(b []byte) (t TraceID, s SpanID, sampled said, debug, ok bool) {
	rest := string(b)
	if len(rest) > len("--0-")+32+16+16 {
		return t, s, 0, false, false
	}
	trace, rest, several := strings.Cut(rest, "-")
	if !several {
		sampled, debug, _ = state(trace)
		return t, s, sampled, debug, false
	}
	span, rest, hasState := strings.Cut(rest, "-")
	if !id(t[:], []byte(trace)) || !id(s[:], []byte(span)) {
		return t, s, 0, false, false
	}
	if hasState {
		of, parent, hasParent := strings.Cut(rest, "-")
		var known bool
		var p SpanID
		if sampled, debug, known = state(of); !known || hasParent && !id(p[:], []byte(parent)) {
			return t, s, 0, false, false
		}
	}
	return t, s, sampled, debug, true
}

// state reads B3's word on recording.
func state(text string) (s said, debug, ok bool) {
	switch text {
	case "0":
		return saidNo, false, true
	case "1":
		return saidYes, false, true
	case "d":
		return saidYes, true, true
	}
	return saidNothing, false, false
}

// id reads an ID of B3: of all digits, or of a trace half as many, in either case; not
// zero.
func id(dst, b []byte) bool {
	if len(dst) == 16 && len(b) == 16 {
		clear(dst[:8])
		dst = dst[8:]
	}
	if !decode(dst, b, true) {
		return false
	}
	for _, c := range dst {
		if c != 0 {
			return true
		}
	}
	return false
}

// decode reads exactly len(dst) bytes in hexadecimal.
func decode(dst, b []byte, anyCase bool) bool {
	if len(b) != 2*len(dst) {
		return false
	}
	for _, c := range b {
		if !anyCase && c >= 'A' && c <= 'F' {
			return false
		}
	}
	_, err := hex.Decode(dst, b)
	return err == nil
}

// AppendFields appends the lines of a header that say of which trace a request is that was
// sent by a span: traceparent, and B3 in the forms in which it came.
func (c *Context) AppendFields(dst []byte, by SpanID) []byte {
	sampled := byte('0')
	if c.Sampled {
		sampled = '1'
	}
	dst = hex.AppendEncode(append(dst, "traceparent: 00-"...), c.Trace[:])
	dst = hex.AppendEncode(append(dst, '-'), by[:])
	dst = append(dst, '-', '0', sampled, '\r', '\n')
	if c.single {
		dst = hex.AppendEncode(append(dst, "b3: "...), c.Trace[:])
		dst = hex.AppendEncode(append(dst, '-'), by[:])
		state := sampled
		if c.debug {
			state = 'd'
		}
		dst = append(dst, '-', state, '\r', '\n')
	}
	if c.multi {
		dst = hex.AppendEncode(append(dst, "X-B3-TraceId: "...), c.Trace[:])
		dst = hex.AppendEncode(append(dst, "\r\nX-B3-SpanId: "...), by[:])
		dst = hex.AppendEncode(append(dst, "\r\nX-B3-ParentSpanId: "...), c.Span[:])
		if c.debug {
			dst = append(dst, "\r\nX-B3-Flags: 1\r\n"...)
		} else {
			dst = append(append(dst, "\r\nX-B3-Sampled: "...), sampled, '\r', '\n')
		}
	}
	return dst
}
