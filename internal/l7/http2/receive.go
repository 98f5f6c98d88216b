package http2

import "encoding/binary"

// readData takes a part of a body (RFC 9113, section 6.1).
func (c *Conn) readData(f *frame, p []byte) error {
	if f.stream == 0 || c.idle(f.stream) {
		return &Error{Protocol, "data of no stream"}
	}
	data, err := unpad(f, p)
	if err != nil {
		return err
	}
	if c.unread -= f.length; c.unread < 0 {
		return &Error{FlowControl, "more data than allowed"}
	}
	s := c.streams[f.stream]
	switch {
	case s == nil && c.endedHere(f.stream):
		c.credit(f.length)
		return c.bearEmpty(data)
	case s == nil, s.Ended:
		c.credit(f.length)
		return c.fault(f.stream, s, StreamClosed)
	case !s.final:
		c.credit(f.length)
		return c.fault(f.stream, s, Protocol)
	case f.length > s.window:
		c.credit(f.length)
		return c.fault(f.stream, s, FlowControl)
	}
	end := f.has(flagEndStream)
	s.window -= f.length
	s.received += int64(len(data))
	padding := f.length - len(data)
	if s.length >= 0 && (s.received > s.length || end && s.received != s.length) {
		c.credit(f.length)
		return c.fault(f.stream, s, Protocol)
	}
	if s.off > 0 && 2*s.off >= len(s.body) {
		s.body, s.off = s.body[:copy(s.body, s.body[s.off:])], 0
	}
	s.body = append(s.body, data...)
	c.credit(padding)
	c.creditStream(s, padding)
	if !c.server {
		c.credit(len(data))
	}
	if end {
		c.ended1(s)
	}
	wake(s.Got)
	if end {
		return nil
	}
	return c.bearEmpty(data)
}

// bearEmpty tells data that is of use from data that is none.
func (c *Conn) bearEmpty(data []byte) error {
	if len(data) == 0 {
		return c.bear(1)
	}
	c.Relax(1)
	return nil
}

// ended1 notes that the other side has sent all.
func (c *Conn) ended1(s *Stream) {
	s.Ended = true
	if s.finished {
		c.forget(s)
	}
}

// credit lets the other side send more in all.
func (c *Conn) credit(n int) {
	c.returned += n
	window := clientWindow
	if c.server {
		window = c.limits.ConnWindow
	}
	if c.returned >= window/4 && c.failed == nil {
		c.Out = appendWindowUpdate(c.Out, 0, c.returned)
		c.unread += c.returned
		c.returned = 0
	}
}

// creditStream lets the other side send more on a stream.
func (c *Conn) creditStream(s *Stream, n int) {
	s.spent += n
	if s.spent >= c.limits.StreamWindow/4 && !s.closed && !s.Ended {
		c.Out = appendWindowUpdate(c.Out, s.ID, s.spent)
		s.window += s.spent
		s.spent = 0
	}
}

// Consume takes n bytes off the begin of a body.
func (c *Conn) Consume(s *Stream, n int) {
	s.off += n
	if c.server {
		c.credit(n)
	}
	c.creditStream(s, n)
}

// readPriority ignores what RFC 9113 has done away with (section 5.3.2).
func (c *Conn) readPriority(f *frame, p []byte) error {
	switch {
	case f.stream == 0:
		return &Error{Protocol, "a priority of no stream"}
	case len(p) != prioritySize:
		return c.fault(f.stream, c.streams[f.stream], FrameSize)
	case binary.BigEndian.Uint32(p)&maxStreamID == f.stream:
		return c.fault(f.stream, c.streams[f.stream], Protocol)
	}
	return c.bear(1)
}

// readReset ends a stream (RFC 9113, section 6.4).
func (c *Conn) readReset(f *frame, p []byte) error {
	switch {
	case len(p) != 4:
		return &Error{FrameSize, "a reset of another size"}
	case f.stream == 0 || c.idle(f.stream):
		return &Error{Protocol, "a reset of no stream"}
	}
	s := c.streams[f.stream]
	if s == nil {
		return c.bear(1)
	}
	code := Code(binary.BigEndian.Uint32(p))
	c.lose(s, &StreamError{Code: code, Remote: true, Unprocessed: code == RefusedStream})
	if c.server && !s.sent {
		return c.bear(strainReset)
	}
	return c.bear(1)
}

// readSettings takes what the other side wants (RFC 9113, section 6.5).
func (c *Conn) readSettings(f *frame, p []byte) error {
	switch {
	case f.stream != 0:
		return &Error{Protocol, "settings of a stream"}
	case f.has(flagAck):
		if len(p) > 0 {
			return &Error{FrameSize, "an acknowledgement of settings with settings"}
		}
		return c.bear(1)
	case len(p)%settingSize != 0:
		return &Error{FrameSize, "settings of another size"}
	}
	window := c.peer.window
	for ; len(p) > 0; p = p[settingSize:] {
		value := binary.BigEndian.Uint32(p[2:])
		switch binary.BigEndian.Uint16(p) {
		case settingEnablePush:
			if value > 1 || value == 1 && !c.server {
				return &Error{Protocol, "the setting of push is out of its range"}
			}
		case settingMaxStreams:
			c.peer.streams = int(min(value, 1<<20))
		case settingInitialWindow:
			if value > maxWindow {
				return &Error{FlowControl, "the setting of the window is out of its range"}
			}
			window = int(value)
		case settingMaxFrame:
			if value < standardFrame || value > largestFrame {
				return &Error{Protocol, "the setting of the frame is out of its range"}
			}
		}
	}
	for _, s := range c.streams {
		if s.room += window - c.peer.window; s.room > maxWindow {
			return &Error{FlowControl, "a window grows too large"}
		}
		wake(s.Roomier)
	}
	c.peer.window = window
	c.Out = appendFrame(c.Out, 0, frameSettings, flagAck, 0)
	return c.bear(1)
}

func (c *Conn) readPing(f *frame, p []byte) error {
	switch {
	case f.stream != 0:
		return &Error{Protocol, "a ping of a stream"}
	case len(p) != pingSize:
		return &Error{FrameSize, "a ping of another size"}
	case f.has(flagAck):
		c.Pongs++
	default:
		c.Out = append(appendFrame(c.Out, pingSize, framePing, flagAck, 0), p...)
	}
	return c.bear(1)
}

// readGoAway notes that the other side takes no new streams, and gives up those that
// it has not taken (RFC 9113, section 6.8).
func (c *Conn) readGoAway(f *frame, p []byte) error {
	switch {
	case f.stream != 0:
		return &Error{Protocol, "a farewell of a stream"}
	case len(p) < 8:
		return &Error{FrameSize, "a farewell of another size"}
	}
	c.Draining = true
	last := binary.BigEndian.Uint32(p) & maxStreamID
	code := Code(binary.BigEndian.Uint32(p[4:]))
	for id, s := range c.streams {
		if !c.server && id > last {
			c.lose(s, &StreamError{Code: code, Remote: true, Unprocessed: true})
		}
	}
	return c.bear(1)
}

// readWindowUpdate lets this side send more (RFC 9113, section 6.9).
func (c *Conn) readWindowUpdate(f *frame, p []byte) error {
	if len(p) != 4 {
		return &Error{FrameSize, "a window of another size"}
	}
	more := int(binary.BigEndian.Uint32(p) & maxWindow)
	if f.stream == 0 {
		if more == 0 {
			return &Error{Protocol, "a window that does not grow"}
		}
		if c.room += more; c.room > maxWindow {
			return &Error{FlowControl, "the window grows too large"}
		}
		for _, s := range c.streams {
			wake(s.Roomier)
		}
		return c.bear(1)
	}
	if c.idle(f.stream) {
		return &Error{Protocol, "a window of no stream"}
	}
	s := c.streams[f.stream]
	switch {
	case s == nil:
	case more == 0:
		return c.fault(f.stream, s, Protocol)
	case s.room+more > maxWindow:
		return c.fault(f.stream, s, FlowControl)
	default:
		s.room += more
		wake(s.Roomier)
	}
	return c.bear(1)
}
