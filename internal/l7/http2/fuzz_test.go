package http2

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"

	"github.com/fairlead-net/fairlead/internal/l7/http1"
)

// FuzzConnection holds that no bytes make a Conn panic, hold more than it may, or say
// more than it was asked; and that it does not matter in which pieces they come.
func FuzzConnection(f *testing.F) {
	for _, fill := range []func(p *peer){
		func(p *peer) { p.ask(1, true); p.ask(3, true) },
		func(p *peer) {
			p.ask(1, false, "content-length", "5")
			p.WriteData(1, false, []byte("ab"))
			p.WriteDataPadded(1, true, []byte("cde"), make([]byte, 3))
		},
		func(p *peer) {
			p.ask(1, false)
			p.WriteData(1, false, make([]byte, 900))
			p.WriteWindowUpdate(1, 10)
			p.WriteRSTStream(1, 8)
			p.WritePing(false, [8]byte{})
		},
		func(p *peer) { p.WriteGoAway(0, 0, nil); p.WriteSettings() },
	} {
		p := newPeer(f, limits)
		fill(p)
		f.Add(p.out.Bytes(), uint8(7))
	}
	f.Fuzz(func(t *testing.T, data []byte, step uint8) {
		one, out := feedAll(t, data, len(data)+1)
		other, _ := feedAll(t, data, int(step)+1)
		if one != other {
			t.Errorf("in one piece %s, in pieces of %d %s", one, int(step)+1, other)
		}
		if len(out) > 64*len(data)+256 {
			t.Errorf("%d bytes make %d", len(data), len(out))
		}
	})
}

// feedAll has a Conn read bytes in pieces, and returns what comes of it.
func feedAll(t *testing.T, data []byte, step int) (outcome string, out []byte) {
	c := NewServer(limits)
	c.Out = nil
	var b strings.Builder
	var streams []*Stream
	c.Opened = func(s *Stream) { streams = append(streams, s) }
	c.Reset = func(*Stream) {}
	for _, part := range []string{Preface, "\x00\x00\x00\x04\x00\x00\x00\x00\x00"} {
		if _, err := c.Feed([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	var held []byte
	for len(data) > 0 {
		n := min(step, len(data))
		held = append(held, data[:n]...)
		data = data[n:]
		n, err := c.Feed(held)
		held = held[n:]
		if err != nil {
			b.WriteString(err.Error())
			break
		}
		bodies := 0
		for _, s := range c.streams {
			bodies += len(s.Body())
		}
		if c.Active() > limits.Streams || bodies > limits.ConnWindow || len(c.streams) > limits.Streams {
			t.Fatalf("%d streams, %d bytes", c.Active(), bodies)
		}
	}
	for _, s := range streams {
		b.Write(s.Head)
		b.Write(s.Body())
		b.Write(s.Trailer)
		c.Release(s)
	}
	return b.String(), c.Out
}

// FuzzList holds that a header list says in HTTP/1.1 what it said, and nothing else.
func FuzzList(f *testing.F) {
	f.Add("GET", "http", "a.example", "/b?c", "x", "y", "cookie", "d=e", true)
	f.Add("POST", "https", "a.example:80", "*", "content-length", "3", "cookie", "d", false)
	f.Add("OPTIONS", "http", "", "*", "host", "a", "te", "trailers", true)
	f.Add("GET", "http", "a", "/ HTTP/1.1\r\nX: y", "x", "y\r\nz: a", "transfer-encoding", "chunked", false)
	f.Fuzz(func(t *testing.T, method, scheme, authority, path, name1, value1, name2, value2 string, end bool) {
		var block bytes.Buffer
		e := hpack.NewEncoder(&block)
		sent := map[string]string{"Host": authority, "host": authority}
		for _, field := range [][2]string{{":method", method}, {":scheme", scheme}, {":authority", authority}, {":path", path}, {name1, value1}, {name2, value2}} {
			if field[0] != ":authority" || field[1] != "" {
				e.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
			}
		}
		if name1 != "cookie" || name2 != "cookie" {
			sent[name1], sent[name2] = value1, value2
		} else {
			sent["cookie"] = value1 + "; " + value2
		}
		c := NewServer(Limits{Head: 16 << 10, Fields: 100, Streams: 1, StreamWindow: 1, ConnWindow: 1})
		var s *Stream
		c.Opened, c.Reset = func(opened *Stream) { s = opened }, func(*Stream) {}
		flags := byte(flagEndHeaders)
		if end {
			flags |= flagEndStream
		}
		in := append([]byte(Preface), "\x00\x00\x00\x04\x00\x00\x00\x00\x00"...)
		if block.Len() > standardFrame {
			return
		}
		in = append(appendFrame(in, block.Len(), frameHeaders, flags, 1), block.Bytes()...)
		if _, err := c.Feed(in); err != nil || s == nil || s.TooLarge {
			return
		}
		var r http1.Request
		n, err := r.Parse(s.Head, &http1.Limits{Line: 16 << 10, Head: 32 << 10, Fields: 100})
		if err != nil {
			return
		}
		if n != len(s.Head) || string(r.Method) != method || string(r.Target) != path {
			t.Errorf("%q of %q %q", s.Head, method, path)
		}
		if authority != "" && string(r.Authority) != authority {
			t.Errorf("%q for %q", s.Head, authority)
		}
		for i := range r.Fields {
			name, value := string(r.Fields[i].Name), string(r.Fields[i].Value)
			switch own := name == "Content-Length" && (end || sent["content-length"] == value) || name == "Transfer-Encoding" && !end; {
			case own, name == "Host" && authority == "" && sent["host"] == value:
			case name == name1 && value == value1, name == name2 && value == value2:
			case sent[name] != value:
				t.Errorf("%s: %q is not what was sent: %q", name, value, s.Head)
			}
		}
		if end != r.Bodyless() && !(!end && r.Length == 0) {
			t.Errorf("the end is elsewhere: %q", s.Head)
		}
	})
}

// FuzzAnswers holds the same of what an endpoint may send, and that http1 reads every
// header that comes of it, or refuses it.
func FuzzAnswers(f *testing.F) {
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	for _, field := range [][2]string{{":status", "200"}, {"content-length", "2"}, {"x", "y"}} {
		e.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	in := append(appendFrame(nil, block.Len(), frameHeaders, flagEndHeaders, 1), block.Bytes()...)
	in = append(appendFrame(in, 2, frameData, flagEndStream, 1), "ok"...)
	f.Add(append(appendFrame(nil, 1, frameHeaders, flagEndHeaders, 1), 0x80|9), uint8(1))
	f.Add(appendReset(appendGoAway(in, 1, NoError), 3, RefusedStream), uint8(9))
	f.Fuzz(func(t *testing.T, data []byte, step uint8) {
		c := NewClient(limits)
		streams := []*Stream{c.Open(false), c.Open(true)}
		for _, s := range streams {
			c.SendHeader(s, []byte{0x80 | 2}, true)
		}
		c.Out = nil
		held := appendSettings(nil)
		for at := 0; at < len(data); at += int(step) + 1 {
			held = append(held, data[at:min(len(data), at+int(step)+1)]...)
			n, err := c.Feed(held)
			if held = held[n:]; err != nil {
				break
			}
		}
		if len(c.Out) > 64*len(data)+256 {
			t.Errorf("%d bytes make %d", len(data), len(c.Out))
		}
		for _, s := range streams {
			if len(s.Body()) > limits.StreamWindow || len(s.Head) > 4*limits.Head {
				t.Errorf("%d and %d bytes are held", len(s.Body()), len(s.Head))
			}
			for head := s.Head; len(head) > 0; {
				var r http1.Response
				n, err := r.Parse(head, &http1.Limits{Line: 16 << 10, Head: 32 << 10, Fields: 100})
				if err != nil {
					break
				}
				if n == 0 {
					t.Errorf("%q is no header", head)
					break
				}
				head = head[n:]
			}
			c.Release(s)
		}
	})
}
