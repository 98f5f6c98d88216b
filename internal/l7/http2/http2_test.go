package http2

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

var limits = Limits{Head: 4096, Fields: 20, Streams: 10, StreamWindow: 1000, ConnWindow: 3000}

// peer is the other side of a Conn, by x/net.
type peer struct {
	*http2.Framer
	t       testing.TB
	c       *Conn
	out     bytes.Buffer
	block   bytes.Buffer
	encoder *hpack.Encoder
	opened  []*Stream
	reset   []*Stream
}

func newPeer(t testing.TB, limits Limits) *peer {
	p := &peer{t: t, c: NewServer(limits)}
	p.Framer = http2.NewFramer(&p.out, nil)
	p.AllowIllegalWrites = true
	p.encoder = hpack.NewEncoder(&p.block)
	p.c.Opened = func(s *Stream) { p.opened = append(p.opened, s) }
	p.c.Reset = func(s *Stream) { p.reset = append(p.reset, s) }
	p.out.WriteString(Preface)
	p.WriteSettings()
	if err := p.feed(); err != nil {
		t.Fatal(err)
	}
	return p
}

// feed has the Conn read what has been written.
func (p *peer) feed() error {
	n, err := p.c.Feed(p.out.Bytes())
	p.out.Next(n)
	return err
}

func (p *peer) header(fields ...string) []byte {
	p.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		p.encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return bytes.Clone(p.block.Bytes())
}

// ask begins a request.
func (p *peer) ask(stream uint32, end bool, fields ...string) {
	fields = append([]string{":method", "GET", ":scheme", "http", ":authority", "x", ":path", "/"}, fields...)
	p.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: p.header(fields...), EndHeaders: true, EndStream: end})
}

// frames returns what the Conn wants to be written, but for its settings.
func (p *peer) frames() string {
	var b strings.Builder
	f := http2.NewFramer(nil, bytes.NewReader(p.c.Out))
	p.c.Out = nil
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				p.t.Errorf("x/net does not understand what is sent: %v", err)
			}
			return b.String()
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			fmt.Fprintf(&b, "headers %d %t %v|", frame.StreamID, frame.StreamEnded(), frame.Fields)
		case *http2.DataFrame:
			fmt.Fprintf(&b, "data %d %t %d|", frame.StreamID, frame.StreamEnded(), len(frame.Data()))
		case *http2.RSTStreamFrame:
			fmt.Fprintf(&b, "reset %d %s|", frame.StreamID, frame.ErrCode)
		case *http2.GoAwayFrame:
			fmt.Fprintf(&b, "goaway %d %s|", frame.LastStreamID, frame.ErrCode)
		case *http2.WindowUpdateFrame:
			fmt.Fprintf(&b, "window %d %d|", frame.StreamID, frame.Increment)
		}
	}
}

func codeIs(err error, code Code) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == code
}

// TestFlow holds that no more is sent than the other side has room for, and that it is
// told of room when, and only when, what it sent has been consumed.
func TestFlow(t *testing.T) {
	p := newPeer(t, limits)
	p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
	p.ask(1, false)
	if err := p.feed(); err != nil {
		t.Fatal(err)
	}
	p.frames()
	s := p.opened[0]
	p.c.SendHeader(s, appendStatus(nil, 200), false)
	if n := p.c.SendData(s, make([]byte, 30), true); n != 10 {
		t.Errorf("%d bytes sent", n)
	}
	p.WriteWindowUpdate(1, 15)
	p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 5}) // five less
	p.feed()
	if n := p.c.SendData(s, make([]byte, 20), true); n != 10 {
		t.Errorf("%d bytes sent", n)
	}
	p.WriteWindowUpdate(1, 10)
	p.feed()
	if n := p.c.SendData(s, make([]byte, 10), true); n != 10 {
		t.Errorf("%d bytes sent", n)
	}
	if got, want := p.frames(), "headers 1 false [header field \":status\" = \"200\"]|data 1 false 10|data 1 false 10|data 1 true 10|"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	p.WriteData(1, false, make([]byte, 900))
	p.feed()
	if got := p.frames(); got != "" || len(s.Body()) != 900 {
		t.Errorf("%s, %d bytes", got, len(s.Body()))
	}
	p.c.Consume(s, 800)
	if got := p.frames(); got != "window 0 800|window 1 800|" {
		t.Error(got)
	}
	p.WriteDataPadded(1, false, make([]byte, 500), make([]byte, 200)) // padding takes room too
	p.feed()
	if got := p.frames(); got != "" || len(s.Body()) != 600 {
		t.Errorf("%s, %d bytes", got, len(s.Body()))
	}
	p.WriteData(1, false, make([]byte, 400))
	p.feed()
	if got := p.frames(); got != "reset 1 FLOW_CONTROL_ERROR|" || s.Err == nil || len(p.reset) != 1 {
		t.Error(got, s.Err)
	}
	p.c.Release(s) // what it held is the connection's again
	if p.frames(); p.c.unread+p.c.returned != limits.ConnWindow || p.c.Active() != 0 || len(p.c.streams) != 0 {
		t.Errorf("%d and %d of the window, %d streams", p.c.unread, p.c.returned, p.c.Active())
	}
}

// TestReleased holds what becomes of streams that are given back in any state.
func TestReleased(t *testing.T) {
	for name, c := range map[string]struct {
		end, answer bool
		want        string
	}{
		"whole":      {true, true, ""},
		"early":      {false, true, "reset 1 NO_ERROR|"},
		"unanswered": {true, false, "reset 1 CANCEL|"},
	} {
		p := newPeer(t, limits)
		p.ask(1, c.end)
		p.feed()
		if c.answer {
			p.c.SendHeader(p.opened[0], appendStatus(nil, 204), true)
		}
		p.frames()
		p.c.Release(p.opened[0])
		if got := p.frames(); got != c.want {
			t.Errorf("%s: %s", name, got)
		}
		// What was on its way is not held against the client.
		p.WriteData(1, true, []byte("x"))
		p.ask(3, true)
		if err := p.feed(); err != nil || len(p.opened) != 2 && !c.end {
			t.Errorf("%s: %v, %d streams", name, err, len(p.opened))
		}
	}
}

// TestFloods holds that what asks for nothing and costs something ends the connection
// before long, and the same for requests that nobody waits for.
func TestFloods(t *testing.T) {
	next := func(i int) uint32 { return uint32(2*i + 1) }
	for name, once := range map[string]func(p *peer, i int){
		"settings": func(p *peer, _ int) { p.WriteSettings() },
		"ping":     func(p *peer, _ int) { p.WritePing(false, [8]byte{}) },
		"priority": func(p *peer, i int) { p.WritePriority(next(i), http2.PriorityParam{StreamDep: 0}) },
		"unknown":  func(p *peer, _ int) { p.WriteRawFrame(99, 0, 0, nil) },
		"window":   func(p *peer, _ int) { p.WriteWindowUpdate(0, 1) },
		"rapid reset (CVE-2023-44487)": func(p *peer, i int) {
			p.ask(next(i), true)
			p.WriteRSTStream(next(i), http2.ErrCodeCancel)
		},
		"made to reset (CVE-2025-8671)": func(p *peer, i int) {
			p.ask(next(i), true)
			p.WriteWindowUpdate(next(i), 0)
		},
		"malformed": func(p *peer, i int) { p.ask(next(i), true, "connection", "close") },
		"empty data": func(p *peer, i int) {
			if i == 0 {
				p.ask(1, false)
			}
			p.WriteData(1, false, nil)
		},
		"continuation (CVE-2024-27316)": func(p *peer, i int) {
			if i == 0 {
				p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.header(":method", "GET")})
			}
			p.WriteContinuation(1, false, nil)
		},
		"large continuation": func(p *peer, i int) {
			if i == 0 {
				p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.header(":method", "GET")})
			}
			p.WriteContinuation(1, false, p.header("x", strings.Repeat("y", 1000)))
		},
	} {
		p := newPeer(t, limits)
		var err error
		i, out := 0, 0
		for ; i < 5000 && err == nil; i++ {
			once(p, i)
			err = p.feed()
			for _, s := range p.opened {
				p.c.Release(s)
			}
			p.opened = nil
			if name == "empty data" && i == 0 {
				continue
			}
			out = max(out, len(p.c.Out))
			if err == nil {
				p.c.Out = nil
			}
		}
		if !codeIs(err, EnhanceYourCalm) || out > 1000 {
			t.Errorf("%s: %v after %d times, %d bytes out", name, err, i, out)
		}
	}
}

// TestUse holds that what looks like a flood is none if there is some use in it.
func TestUse(t *testing.T) {
	p := newPeer(t, limits)
	for i := range 5000 {
		id := uint32(2*i + 1)
		p.ask(id, true)
		p.WritePing(false, [8]byte{})
		if i%2 == 0 {
			p.feed()
			p.c.SendHeader(p.opened[i], appendStatus(nil, 200), false) // and then the client has enough
		}
		p.WriteRSTStream(id, http2.ErrCodeCancel)
		if err := p.feed(); err != nil {
			t.Fatal(i, err)
		}
		p.c.Release(p.opened[i])
		p.c.Out = nil
	}
}

// TestBomb holds that a header list which is small on the wire and large when it is
// decoded takes no memory.
func TestBomb(t *testing.T) {
	p := newPeer(t, Limits{Head: 8192, Fields: 100, Streams: 10, StreamWindow: 1000, ConnWindow: 3000})
	block := p.header(":method", "GET", ":scheme", "http", ":authority", "x", ":path", "/", "x", strings.Repeat("y", 3000))
	block = append(block, bytes.Repeat([]byte{0x80 | 62}, 8000)...)
	p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndHeaders: true, EndStream: true})
	if err := p.feed(); err != nil || len(p.opened) != 1 || !p.opened[0].TooLarge || len(p.opened[0].Head) > 10000 {
		t.Fatal(err, len(p.opened), p.opened[0].TooLarge, len(p.opened[0].Head))
	}
	p.ask(3, true) // and the table is still in step
	if err := p.feed(); err != nil || len(p.opened) != 2 || !strings.HasPrefix(string(p.opened[1].Head), "GET / HTTP/1.1\r\nHost: x\r\n") {
		t.Error(err, p.opened)
	}
}

// TestTooMany holds that more streams than allowed are refused so that they can be
// asked for again, and that those count which are reset but still worked on.
func TestTooMany(t *testing.T) {
	p := newPeer(t, limits)
	for i := range 15 {
		p.ask(uint32(2*i+1), true)
		if i < 5 {
			p.WriteRSTStream(uint32(2*i+1), http2.ErrCodeCancel)
		}
	}
	if err := p.feed(); err != nil || len(p.opened) != 10 {
		t.Fatal(err, len(p.opened))
	}
	if got := p.frames(); got != "reset 21 REFUSED_STREAM|reset 23 REFUSED_STREAM|reset 25 REFUSED_STREAM|reset 27 REFUSED_STREAM|reset 29 REFUSED_STREAM|" {
		t.Error(got)
	}
}

// TestFarewell holds that a connection which ends takes what is on its way, and then
// nothing more.
func TestFarewell(t *testing.T) {
	p := newPeer(t, limits)
	p.frames()
	p.c.Announce()
	p.c.Ping()
	p.ask(1, true)
	p.WritePing(true, [8]byte{})
	p.feed()
	if p.c.Pongs != 1 || len(p.opened) != 1 {
		t.Error(p.c.Pongs, p.opened)
	}
	p.c.Stop()
	p.ask(3, true, "x", "y")
	if err := p.feed(); err != nil || len(p.opened) != 1 {
		t.Error(err, p.opened)
	}
	if got := p.frames(); got != "goaway 2147483647 NO_ERROR|goaway 1 NO_ERROR|" {
		t.Error(got)
	}
}
