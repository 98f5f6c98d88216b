package proxy

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/net/http2"
)

// connecting is a client of HTTP/2 whose one stream carries another protocol: net/http
// cannot ask for that.
type connecting struct {
	*framer
	mu sync.Mutex
	// changed is signalled when the windows have, which are what may be sent.
	changed  sync.Cond
	all, own int
	failed   error
	answered chan *http2.MetaHeadersFrame
	body     *io.PipeWriter
	offered  bool
}

// connectStream begins a stream with these fields beside the pseudo-fields.
func connectStream(t testing.TB, p *Proxy, protocol, path string, fields ...string) (*connecting, io.ReadCloser, int, http.Header) {
	t.Helper()
	from, body := io.Pipe()
	c := &connecting{framer: dialFrames(t, p), all: 65535, own: 65535, answered: make(chan *http2.MetaHeadersFrame, 1), body: body}
	c.changed.L = &c.mu
	fields = append([]string{":method", "CONNECT", ":protocol", protocol, ":scheme", "http", ":path", path, ":authority", "ws.example"}, fields...)
	c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.header(fields...), EndHeaders: true})
	c.out.Flush()
	go func() {
		err := c.read()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.failed = err
		c.changed.Broadcast()
		body.CloseWithError(err)
		close(c.answered)
	}()
	h := <-c.answered
	if h == nil {
		return c, from, 0, nil
	}
	status, _ := strconv.Atoi(h.PseudoValue("status"))
	header := http.Header{}
	for _, f := range h.RegularFields() {
		header.Add(f.Name, f.Value)
	}
	return c, from, status, header
}

// read does what frames say, until the stream ends.
func (c *connecting) read() error {
	for {
		frame, err := c.ReadFrame()
		if err != nil {
			return err
		}
		var data []byte
		end := false
		c.mu.Lock()
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if v, ok := f.Value(http2.SettingInitialWindowSize); ok {
				c.own += int(v) - 65535
			}
			if v, ok := f.Value(http2.SettingEnableConnectProtocol); ok {
				c.offered = v == 1
			}
			if !f.IsAck() {
				c.WriteSettingsAck()
			}
		case *http2.WindowUpdateFrame:
			if f.StreamID == 0 {
				c.all += int(f.Increment)
			} else {
				c.own += int(f.Increment)
			}
		case *http2.MetaHeadersFrame:
			end = f.StreamEnded()
			c.answered <- f
		case *http2.DataFrame:
			if data, end = f.Data(), f.StreamEnded(); len(data) > 0 {
				c.WriteWindowUpdate(0, uint32(len(data)))
				c.WriteWindowUpdate(1, uint32(len(data)))
			}
		case *http2.RSTStreamFrame:
			err = errReset
		}
		c.out.Flush()
		c.changed.Broadcast()
		c.mu.Unlock()
		if len(data) > 0 {
			c.body.Write(data)
		}
		if end {
			err = io.EOF
		}
		if err != nil {
			return err
		}
	}
}

// Write sends on the stream, as the windows allow.
func (c *connecting) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for rest := b; len(rest) > 0; {
		for c.failed == nil && min(c.all, c.own) <= 0 {
			c.changed.Wait()
		}
		if c.failed != nil {
			return len(b) - len(rest), c.failed
		}
		n := min(len(rest), c.all, c.own, 16<<10)
		c.all, c.own = c.all-n, c.own-n
		if err := c.WriteData(1, false, rest[:n]); err != nil {
			return 0, err
		}
		if err := c.out.Flush(); err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	return len(b), nil
}

// Close says that nothing follows.
func (c *connecting) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Join(c.WriteData(1, true, nil), c.out.Flush())
}

// reset gives the stream up.
func (c *connecting) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.WriteRSTStream(1, http2.ErrCodeCancel)
	c.out.Flush()
}

var errReset = errors.New("the stream was reset")
