package l7

// Request is what of a request decides about its way. Its strings need to be valid
// only while a call lasts: nothing keeps them.
type Request struct {
	Method string
	// Host is in lower case, without port and final dot.
	Host string
	// Path is what is matched: decoded and without dots and double slashes, as
	// Normalize returns it first.
	Path string
	// Query is what follows the question mark, as it was sent.
	Query  string
	Header []Field
}

// Field is one line of a header. Names are in lower case.
type Field struct{ Name, Value string }
