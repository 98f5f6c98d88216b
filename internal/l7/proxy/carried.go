package proxy

import (
	"crypto/sha1" //nolint:gosec // RFC 6455 demands it; nothing is kept secret by it
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7/http1"
	"github.com/fairlead-net/fairlead/internal/l7/http2"
)

// errProtocol answers a stream that is to carry a protocol which is not passed on.
var errProtocol = &http1.Error{Status: 501, Reason: "the protocol is not passed on"}

// carries reports whether streams may carry WebSockets.
func (c *Config) carries() bool {
	return slices.ContainsFunc(c.Upgrades, func(name string) bool { return strings.EqualFold(name, "websocket") })
}

// carry prepares for a stream that is to carry another protocol (RFC 8441, RFC 9220),
// which the endpoint is asked for as in HTTP/1.1. It reports whether that is allowed.
func (x *exchange) carry() bool {
	if x.upgrade = x.mayUpgrade(); !x.upgrade || !strings.EqualFold(text(x.request.Upgrade()), "websocket") {
		return false
	}
	var random [16]byte
	binary.LittleEndian.PutUint64(random[:8], rand.Uint64())
	binary.LittleEndian.PutUint64(random[8:], rand.Uint64())
	x.carries, x.nonce = true, base64.StdEncoding.EncodeToString(random[:])
	x.request.Set(field("Sec-WebSocket-Key", x.nonce))
	return true
}

// carriedAsAsked reports whether the endpoint has answered to the key, where the proxy has
// asked in the client's place (RFC 6455, section 4.1).
func (x *exchange) carriedAsAsked() bool {
	if !x.carries {
		return true
	}
	sum := sha1.Sum([]byte(x.nonce + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // see above
	return text(x.response.Get("sec-websocket-accept")) == base64.StdEncoding.EncodeToString(sum[:])
}

// patience is how long to wait for the next part of a body, or of what is carried.
func (d *interest) patience(b *body, c *Config) time.Duration {
	if d.carries {
		return c.TunnelTimeout
	}
	return b.pace.patience(c.BodyTimeout, b.least(c.MinRate))
}

// carryOn tells the client that its stream carries the protocol, and from then on passes
// on whatever comes from either side, as a tunnel does. The end of a stream is that of the
// endpoint's connection, and its reset that of the other (RFC 8441, section 5).
func (x *exchange) carryOn(up *upstream) {
	x.inbound.carries = true
	r := &x.response
	r.Status, r.Length, x.status, x.replied = 200, -1, 200, true
	r.Remove("sec-websocket-accept")
	if !x.client.head(r, http1.Answer{Framing: http1.ByChunks}) || !x.client.data(x.up.bytes(), whole) ||
		up.secured != nil && up.secured.tunnel() != nil {
		x.broke()
		return
	}
	c := carried{exchange: x, up: up}
	c.moved()
	done := make(chan error, 1)
	go func() {
		err := guard(c.forth)
		if err != nil && !errors.Is(err, errStopped) {
			_ = up.TCPConn.Close()
		}
		done <- err
	}()
	mine := c.back()
	if mine != nil {
		_ = up.TCPConn.Close()
	}
	// http3 sends the end of a stream when all is over, and what comes behind that of a
	// WebSocket server has no effect.
	if mine != nil || x.inbound.version == http30 {
		x.inbound.body.stop(true)
	}
	theirs := <-done
	if mine == nil && errors.Is(theirs, errStopped) {
		theirs = nil
	}
	if bug := (*panicked)(nil); errors.As(theirs, &bug) {
		panic(bug)
	}
	x.record.body, x.record.reason = c.sent, ""
	if mine != nil || theirs != nil {
		x.broke()
	}
}

// broke has the stream reset.
func (x *exchange) broke() {
	x.aborted, x.code, x.record.reason = true, http2.Cancel, "the stream broke off"
}

// carried is a stream that carries another protocol.
type carried struct {
	*exchange
	up   *upstream
	sent int64
}

// moved puts off the end.
func (c *carried) moved() {
	c.up.arm(after(c.proxy.clock.now(), c.proxy.settings().TunnelTimeout))
}

// forth passes on what the client sends.
func (c *carried) forth() error {
	b := body{chunked: true, limit: -1}
	buffer := c.work.in.b[:0]
	if c.inbound.version == http30 {
		buffer = nil // what has come is in there
	}
	for {
		data, done, err := c.client.receive(buffer[:0], &b)
		if len(data) > 0 {
			c.moved()
			if _, err := c.up.Write(data); err != nil {
				return err
			}
			c.sent += int64(len(data))
		}
		switch {
		case done:
			return c.up.stream().CloseWrite()
		case timedOut(err) && c.up.deadline.Load() > c.proxy.clock.now():
			// The other direction has moved since.
		case err != nil:
			return err
		}
		if cap(data) <= bulkSize {
			buffer = data
		}
	}
}

// back passes on what the endpoint sends.
func (c *carried) back() error {
	buffer := c.work.up.b
	for {
		n, err := c.up.Read(buffer)
		if n > 0 {
			c.moved()
			c.got(int64(n))
			if !c.client.data(buffer[:n], whole) {
				return errClient
			}
		}
		if errors.Is(err, io.EOF) {
			if !c.client.data(nil, last) {
				return errClient
			}
			return nil
		}
		if err != nil {
			return err
		}
	}
}
