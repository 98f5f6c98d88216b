package http2

import "fmt"

// Code says why a stream or a connection ends (RFC 9113, section 7).
type Code uint32

// The codes.
const (
	NoError Code = iota
	Protocol
	Internal
	FlowControl
	SettingsTimeout
	StreamClosed
	FrameSize
	RefusedStream
	Cancel
	Compression
	ConnectError
	EnhanceYourCalm
)

// Error is why a connection ends.
type Error struct {
	Code   Code
	Reason string
}

func (e *Error) Error() string { return fmt.Sprintf("%s (HTTP/2 error %d)", e.Reason, e.Code) }

// StreamError is why a stream has ended before its time.
type StreamError struct {
	Code Code
	// Remote is set if the other side ended it, Unprocessed if nothing can have come of
	// it there, so that it can be repeated (RFC 9113, section 8.7).
	Remote, Unprocessed bool
}

func (e *StreamError) Error() string {
	who := "reset"
	if e.Remote {
		who = "reset by the other side"
	}
	return fmt.Sprintf("the stream was %s (HTTP/2 error %d)", who, e.Code)
}
