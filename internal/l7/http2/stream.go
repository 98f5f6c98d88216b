package http2

// Stream is a request and its answer. Its fields are for reading, and change only
// while the Conn is called.
type Stream struct {
	ID uint32
	// Got gets a value when more has come, or the stream has ended; Roomier when more
	// can be sent.
	Got, Roomier chan struct{}
	// Head is the text of the header that the other side sent. Of an answer it may be
	// several, the last of which is final.
	Head []byte
	// TooLarge is set if the header list was too large; Head is not whole then.
	TooLarge bool
	// Carries is set if the client wants the stream to carry another protocol (RFC 8441):
	// Head then asks for an upgrade to it, without what is only so in HTTP/1.1, and what
	// follows is of that protocol.
	Carries bool
	// Trailer is the text of the fields after the body.
	Trailer []byte
	// Ended is set when all has come, Err when the stream has ended otherwise. An answer
	// that has ended is whole, whatever Err says.
	Ended bool
	Err   error
	// GotBy and RoomierBy are the caller's: until when it waits, 0 if it does not. Expire
	// ends the waits. Owner is the caller's too.
	GotBy, RoomierBy int64
	Owner            any

	body []byte
	off  int
	// length is what the header says of the body, -1 if nothing; received is what came.
	length, received int64
	// window is how much may be received, spent what of it has been read.
	window, spent int
	room          int
	// toHEAD: no body follows, whatever the header says.
	toHEAD bool
	// final is set once the header of the answer is there, sent once one has been sent.
	final, sent bool
	// finished is set once this side has sent all; closed when the Conn has forgotten it.
	finished, closed bool
}

// Body is what has come of the body and has not been consumed.
func (s *Stream) Body() []byte { return s.body[s.off:] }

// Over reports whether all of the body has come and been consumed.
func (s *Stream) Over() bool { return s.Ended && s.off == len(s.body) }

// wake tells who waits.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Wake makes both who wait for something look again.
func (s *Stream) Wake() {
	wake(s.Got)
	wake(s.Roomier)
}

// keptBuffer is how much memory for a header or a body a stream keeps for the next one.
const keptBuffer = 4 << 10

// stream returns a new stream.
func (c *Conn) stream(id uint32) *Stream {
	var s *Stream
	if n := len(c.free); n > 0 {
		s = c.free[n-1]
		c.free = c.free[:n-1]
		*s = Stream{Got: s.Got, Roomier: s.Roomier, Head: s.Head[:0], Trailer: s.Trailer[:0], body: s.body[:0]}
		drain(s.Got)
		drain(s.Roomier)
	} else {
		s = &Stream{Got: make(chan struct{}, 1), Roomier: make(chan struct{}, 1)}
	}
	s.ID, s.length, s.window, s.room = id, -1, c.limits.StreamWindow, c.peer.window
	return s
}

func drain(c chan struct{}) {
	select {
	case <-c:
	default:
	}
}

// recycle keeps a stream for use again.
func (c *Conn) recycle(s *Stream) {
	for _, b := range []*[]byte{&s.Head, &s.Trailer, &s.body} {
		if cap(*b) > keptBuffer {
			*b = nil
		}
	}
	if len(c.free) < 128 {
		c.free = append(c.free, s)
	}
}

// forget removes a stream that has ended for both sides.
func (c *Conn) forget(s *Stream) {
	if !s.closed {
		s.closed = true
		delete(c.streams, s.ID)
		if b := &c.block; b.stream == s {
			// What comes yet of its trailer is decoded, and goes nowhere.
			b.stream, b.refuse, b.drop = nil, nil, true
			c.list.text = nil
		}
	}
}

// lose ends a stream for a reason.
func (c *Conn) lose(s *Stream, err error) {
	c.forget(s)
	if s.Err == nil {
		s.Err = err
		if c.Reset != nil && (c.server || !s.Ended) {
			c.Reset(s)
		}
	}
	s.Wake()
}

// Cancel ends a stream from this side.
func (c *Conn) Cancel(s *Stream, code Code) {
	if s.closed {
		return
	}
	if s.ID != 0 {
		c.reset(s.ID, code)
	}
	c.forget(s)
	if s.Err == nil {
		s.Err = &StreamError{Code: code}
	}
	s.Wake()
}

// reset sends that a stream ends.
func (c *Conn) reset(id uint32, code Code) {
	c.Out = appendReset(c.Out, id, code)
	c.ended[c.endedAt%len(c.ended)] = id
	c.endedAt++
}

// fault resets a stream for what the other side did wrong. The error is that it does
// so too often.
func (c *Conn) fault(id uint32, s *Stream, code Code) error {
	c.reset(id, code)
	strain := strainReset
	if !c.server || code == RefusedStream || s != nil && s.sent {
		strain = 1
	}
	if s != nil {
		c.lose(s, &StreamError{Code: code})
	}
	return c.bear(strain)
}

// Release gives a stream back that the caller will not use any more. What has not been
// sent or received is given up.
func (c *Conn) Release(s *Stream) {
	switch {
	case s.closed:
	case s.finished:
		c.Cancel(s, NoError) // the rest of the request is not wanted: RFC 9113, section 8.1
	default:
		c.Cancel(s, Cancel)
	}
	if c.server {
		c.credit(len(s.Body()))
	}
	c.active--
	c.recycle(s)
}

// Room is how much can be sent on a stream at the moment.
func (c *Conn) Room(s *Stream) int { return max(0, min(s.room, c.room)) }

// Expire wakes those who have waited for long enough.
func (c *Conn) Expire(now int64) {
	for _, s := range c.streams {
		if s.GotBy != 0 && s.GotBy <= now {
			wake(s.Got)
		}
		if s.RoomierBy != 0 && s.RoomierBy <= now {
			wake(s.Roomier)
		}
	}
}

// Rest gives back memory that is kept for streams to come.
func (c *Conn) Rest() {
	c.free = nil
	if len(c.Out) == 0 {
		c.Out = nil
	}
}

// Active is the number of streams that have not been released.
func (c *Conn) Active() int { return c.active }
