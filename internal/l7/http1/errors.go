package http1

// Error is why a message is refused. Those of requests have the status that the
// client is owed; after any of them the connection cannot be used again, since
// nobody knows where the next message would begin.
type Error struct {
	Status int
	// Reason says what is wrong with the message. It holds nothing of the message.
	Reason string
}

func (e *Error) Error() string { return e.Reason }

func bad(reason string) *Error { return &Error{400, reason} }

// The reasons to refuse a message.
var (
	errLine          = bad("the first line is malformed")
	errMethod        = bad("the method is no token")
	errBareLF        = bad("a line does not end in CR LF")
	errFold          = bad("a header field is folded over several lines")
	errName          = bad("the name of a header field is no token followed by a colon")
	errValue         = bad("the value of a header field has a control character")
	errTarget        = bad("the request target is malformed")
	errEscape        = bad("the path has a malformed or forbidden escape")
	errHost          = bad("the host is missing, malformed, or there are several")
	errLength        = bad("Content-Length is no number, or there are several")
	errBothLengths   = bad("there are both Content-Length and Transfer-Encoding")
	errCodingTwice   = bad("Transfer-Encoding occurs more than once")
	errCodingVersion = bad("Transfer-Encoding in a message of HTTP/1.0")
	errChunk         = bad("the chunked body is malformed")
	errTrailer       = bad("the trailer is malformed or too large")
	errNamed         = bad("Connection names too many header fields")
	errStatus        = bad("the status line is malformed")

	errLongLine   = &Error{414, "the request target is too long"}
	errHead       = &Error{431, "the header is too large"}
	errFields     = &Error{431, "there are too many header fields"}
	errCoding     = &Error{501, "the transfer coding is not supported"}
	errNoMethod   = &Error{501, "the method is not supported"}
	errVersion    = &Error{505, "the version of HTTP is not supported"}
	errExpect     = &Error{417, "the expectation cannot be met"}
	errExtensions = bad("the extensions of chunks are too long")
)
