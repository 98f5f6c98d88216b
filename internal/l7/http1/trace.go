package http1

import "strings"

// Traces reports whether a field says of which trace a request is: those of W3C Trace
// Context and of B3.
func (f *Field) Traces() bool {
	switch lower := string(f.Lower); lower[0] {
	case 't':
		return lower == "traceparent" || lower == "tracestate"
	case 'b':
		return lower == "b3"
	case 'x':
		return strings.HasPrefix(lower, "x-b3-")
	}
	return false
}
