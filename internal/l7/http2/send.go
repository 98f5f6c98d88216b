package http2

import "math"

// Open returns a stream for a request, which begins with SendHeader; nil means that no
// more can be begun at the moment. With toHEAD, the answer has no body.
func (c *Conn) Open(toHEAD bool) *Stream {
	if !c.Vacant() {
		return nil
	}
	s := c.stream(0)
	s.toHEAD = toHEAD
	c.active++
	return s
}

// number gives a stream its number, in the order in which requests are sent (RFC
// 9113, section 5.1.1). It reports whether the request can still be sent.
func (c *Conn) number(s *Stream) bool {
	if c.failed != nil || c.Draining {
		s.closed, s.Err = true, &StreamError{Code: RefusedStream, Unprocessed: true}
		return false
	}
	s.ID, s.room = c.next, c.peer.window
	c.next += 2
	c.streams[s.ID] = s
	return true
}

// Vacant reports whether Open will return a stream.
func (c *Conn) Vacant() bool { return c.Usable() && c.active < c.peer.streams }

// Usable reports whether streams can still be opened, now or later.
func (c *Conn) Usable() bool { return c.failed == nil && !c.Draining && c.next < math.MaxInt32 }

// SendHeader sends a header block, in as many frames as it takes; with end, nothing
// follows it. Nothing is sent if the stream has ended.
func (c *Conn) SendHeader(s *Stream, block []byte, end bool) {
	if s.closed || s.ID == 0 && !c.number(s) {
		return
	}
	s.sent = true
	flags := byte(0)
	if end {
		flags = flagEndStream
	}
	extra := 0
	if !c.sized {
		extra = 1
	}
	for kind := byte(frameHeaders); ; kind, flags, extra = frameContinuation, 0, 0 {
		n := min(len(block), standardFrame-extra)
		if n == len(block) {
			flags |= flagEndHeaders
		}
		c.Out = appendFrame(c.Out, n+extra, kind, flags, s.ID)
		if extra > 0 {
			// The table of the other side is not used, so its size never has to be spoken
			// of again (RFC 7541, section 4.2).
			c.Out = append(c.Out, 0x20)
			c.sized = true
		}
		c.Out = append(c.Out, block[:n]...)
		if block = block[n:]; len(block) == 0 {
			break
		}
	}
	c.Relax(2 * strainReset) // of what clients ask for and do not wait for, a part may be in vain
	c.sentAll(s, end)
}

// SendData sends of a body what the windows allow, and returns how much that was. With
// end, nothing follows b.
func (c *Conn) SendData(s *Stream, b []byte, end bool) int {
	if s.closed {
		return 0
	}
	n := min(len(b), c.Room(s))
	if n < len(b) {
		end = false
	} else {
		c.Relax(1)
	}
	if n == 0 && !end {
		return 0
	}
	s.room -= n
	c.room -= n
	for rest := b[:n]; ; {
		size := min(len(rest), standardFrame)
		flags := byte(0)
		if end && size == len(rest) {
			flags = flagEndStream
		}
		c.Out = append(appendFrame(c.Out, size, frameData, flags, s.ID), rest[:size]...)
		if rest = rest[size:]; len(rest) == 0 {
			break
		}
	}
	c.sentAll(s, end)
	return n
}

// sentAll notes that this side has sent all, if it has.
func (c *Conn) sentAll(s *Stream, end bool) {
	if !end {
		return
	}
	s.finished = true
	if s.Ended {
		c.forget(s)
	}
}

// Ping asks for a sign of life: Pongs counts them.
func (c *Conn) Ping() {
	c.Out = append(appendFrame(c.Out, pingSize, framePing, 0, 0), "fairlead"...)
}

// Announce says that the connection is about to end, but takes requests that are on
// their way (RFC 9113, section 6.8).
func (c *Conn) Announce() { c.Out = appendGoAway(c.Out, maxStreamID, NoError) }

// Stop takes no more requests: those that come are as if they had not been sent.
func (c *Conn) Stop() {
	if !c.stopped {
		c.stopped = true
		c.Out = appendGoAway(c.Out, c.taken, NoError)
	}
}
