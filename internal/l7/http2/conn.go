package http2

import (
	"golang.org/x/net/http2/hpack"
)

// Limits bound what the other side can make a Conn hold.
type Limits struct {
	// Head is the largest header list in bytes, as RFC 9113 counts it, and Fields how
	// many fields it may have.
	Head, Fields int
	// Connect: clients may have a stream carry another protocol (RFC 8441, RFC 9220).
	Connect bool
	// Streams is how many streams a client may have at a time.
	Streams int
	// StreamWindow and ConnWindow are how many bytes of bodies are held, of a stream and
	// in all. For a client ConnWindow is not used: a stream that nobody reads must not
	// hold up the others.
	StreamWindow, ConnWindow int
}

// Conn is one side of a connection. NewServer and NewClient make one.
type Conn struct {
	// Out is what is to be written. The caller takes it and leaves another buffer.
	Out []byte
	// Opened is called with each request that a client begins; Reset with each stream
	// that the other side, or an error of its, has ended. Neither may call the Conn.
	Opened, Reset func(*Stream)
	// Draining is set when the other side asks for no more new streams.
	Draining bool
	// Pongs counts answers to Ping.
	Pongs int

	server bool
	limits Limits
	// failed is why the connection has ended.
	failed  error
	greeted int // bytes of the preface that have been read
	settled bool

	streams map[uint32]*Stream
	// free are streams for use again.
	free []*Stream
	// active counts streams that have not been released, of which some may be closed.
	active int
	// last is the largest stream that the client has opened, taken the largest that was
	// taken; next the one to open.
	last, taken, next uint32
	// stopped is set when no more streams are taken: Stop.
	stopped bool
	// ended are streams that were ended here, of which frames may still come.
	ended   [128]uint32
	endedAt int

	block   block
	decoder *hpack.Decoder
	list    list
	strain  int

	// room is how much may be sent; unread how much may be received, returned what of it
	// has been given back and not said yet.
	room             int
	unread, returned int

	peer struct {
		streams, window int
	}
	// sized is set once the other side knows that its table of fields is not used.
	sized bool
}

// block is a header block that is being read.
type block struct {
	// id is 0 if there is none.
	id     uint32
	stream *Stream
	kind   listKind
	end    bool
	// refuse is what becomes of the stream when the block is whole.
	refuse *Code
	drop   bool
	size   int
	frames int
}

// NewServer returns the side of a server. Its settings are in Out.
func NewServer(limits Limits) *Conn {
	c := newConn(limits)
	c.server = true
	c.unread = limits.ConnWindow
	settings := []uint32{settingMaxStreams, uint32(limits.Streams), settingInitialWindow, uint32(limits.StreamWindow), settingMaxHeaderList, uint32(limits.Head)}
	if limits.Connect {
		settings = append(settings, settingConnect, 1)
	}
	c.Out = appendSettings(c.Out, settings...)
	if more := limits.ConnWindow - standardWindow; more > 0 {
		c.Out = appendWindowUpdate(c.Out, 0, more)
	}
	return c
}

// clientWindow is what a server may send in all without being told more.
const clientWindow = 1 << 28

// NewClient returns the side of a client. Its preface and settings are in Out.
func NewClient(limits Limits) *Conn {
	c := newConn(limits)
	c.greeted = len(Preface)
	c.next = 1
	c.unread = clientWindow
	c.Out = append(c.Out, Preface...)
	c.Out = appendSettings(c.Out, settingEnablePush, 0, settingInitialWindow, uint32(limits.StreamWindow), settingMaxHeaderList, uint32(limits.Head))
	c.Out = appendWindowUpdate(c.Out, 0, clientWindow-standardWindow)
	return c
}

func newConn(limits Limits) *Conn {
	c := &Conn{limits: limits, streams: map[uint32]*Stream{}, room: standardWindow}
	c.peer.streams, c.peer.window = 100, standardWindow
	c.list.limits = &c.limits
	c.decoder = hpack.NewDecoder(standardTable, c.list.add)
	c.decoder.SetMaxStringLength(2 * limits.Head) // a larger block is none
	return c
}

// Feed reads the whole frames that begin b, and returns how many bytes it has read.
// What is left has to come again, with more. An error, of type *Error, is the end of
// the connection: what is in Out is to be written and then the connection closed.
func (c *Conn) Feed(b []byte) (n int, err error) {
	if c.failed != nil {
		return 0, c.failed
	}
	for c.greeted < len(Preface) {
		if n == len(b) {
			return n, nil
		}
		if b[n] != Preface[c.greeted] {
			return n, c.Fail(&Error{Protocol, "the preface is another one"})
		}
		c.greeted++
		n++
	}
	for len(b)-n >= frameHeaderSize {
		f := readFrame(b[n:])
		if f.length > standardFrame {
			return n, c.Fail(&Error{FrameSize, "a frame is larger than allowed"})
		}
		if len(b)-n < frameHeaderSize+f.length {
			break
		}
		payload := b[n+frameHeaderSize:][:f.length]
		n += frameHeaderSize + f.length
		if err := c.read(&f, payload); err != nil {
			return n, c.Fail(err)
		}
	}
	return n, nil
}

// Whole reports whether nothing is owed by the other side to complete what it has
// begun: its first settings, or a header block.
func (c *Conn) Whole() bool { return c.settled && c.block.id == 0 }

// Fail ends the connection and all its streams for a reason, which is sent if it is
// an *Error. It returns the reason.
func (c *Conn) Fail(err error) error {
	if c.failed != nil {
		return c.failed
	}
	c.failed = err
	if reason, ok := err.(*Error); ok { //nolint:errorlint // the errors of this package are never wrapped
		c.Out = appendGoAway(c.Out, c.taken, reason.Code)
	}
	for _, s := range c.streams {
		c.lose(s, err)
	}
	return err
}

// read handles a frame.
func (c *Conn) read(f *frame, p []byte) error {
	if !c.settled {
		if f.kind != frameSettings || f.has(flagAck) {
			return &Error{Protocol, "the first frame has no settings"}
		}
		c.settled = true
	}
	if c.block.id != 0 && (f.kind != frameContinuation || f.stream != c.block.id) {
		return &Error{Protocol, "a header block is interrupted"}
	}
	switch f.kind {
	case frameData:
		return c.readData(f, p)
	case frameHeaders:
		return c.readHeaders(f, p)
	case frameContinuation:
		if c.block.id == 0 {
			return &Error{Protocol, "a continuation of nothing"}
		}
		return c.fragment(p, f.has(flagEndHeaders))
	case framePriority:
		return c.readPriority(f, p)
	case frameReset:
		return c.readReset(f, p)
	case frameSettings:
		return c.readSettings(f, p)
	case framePushPromise:
		return &Error{Protocol, "a push that nobody wants"}
	case framePing:
		return c.readPing(f, p)
	case frameGoAway:
		return c.readGoAway(f, p)
	case frameWindowUpdate:
		return c.readWindowUpdate(f, p)
	}
	return c.bear(1) // a type that is not known is ignored: RFC 9113, section 5.5
}

// maxStrain is how much a connection bears of what costs work and asks for nothing.
const maxStrain = 1000

// The strains of what may have its use, but not too often: a request that is given
// up before it is answered (CVE-2023-44487), or made to be reset (CVE-2025-8671).
const strainReset = 10

// bear notes something of little use, and returns an error if it is too much.
func (c *Conn) bear(strain int) error {
	if c.strain += strain; c.strain > maxStrain {
		return &Error{EnhanceYourCalm, "too many frames, or resets, that ask for nothing"}
	}
	return nil
}

// Relax takes back strain: for time that has passed, and for work that was of use.
func (c *Conn) Relax(by int) { c.strain = max(0, c.strain-by) }

// idle reports whether a stream has not been opened yet.
func (c *Conn) idle(id uint32) bool {
	if c.server {
		return id&1 == 0 || id > c.last
	}
	return id&1 == 0 || id >= c.next
}

// endedHere reports whether a closed stream was ended by this side, so that the other
// may not have known when it sent a frame.
func (c *Conn) endedHere(id uint32) bool {
	for _, e := range c.ended {
		if e == id {
			return true
		}
	}
	return false
}
