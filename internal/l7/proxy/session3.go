package proxy

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// session3 is a client's connection of HTTP/3.
type session3 struct {
	*quicListener
	quic *quic.Conn
	// server serves this connection only: it can so be ended by itself.
	server *http3.Server
	// conn is what exchanges know of the connection.
	conn *conn
	// active are the requests under way.
	active atomic.Int64
	// idle ends a connection that has brought no whole request for too long, be it that a
	// part of one has come: http3 waits for the rest of a header for ever.
	idle *time.Timer
}

// run serves the connection until its end.
func (s *session3) run() {
	defer s.idle.Stop()
	_ = s.server.ServeQUICConn(s.quic)
	s.close()
}

func (s *session3) close() {
	_ = s.quic.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
}

// rest notes that a request is over.
func (s *session3) rest() {
	if s.active.Add(-1) == 0 {
		s.idle.Reset(s.proxy.settings().IdleTimeout)
	}
}

// lookActive is how often it is looked whether the last request of a connection that
// drains is over.
const lookActive = 20 * time.Millisecond

// drain tells the client that no more requests are taken (RFC 9114, section 5.2), and
// ends the connection after the last one. A client without requests may end it itself.
func (s *session3) drain() {
	ctx, cancel := context.WithCancel(s.proxy.ctx)
	defer cancel()
	go func() {
		defer cancel()
		ticks := time.NewTicker(lookActive)
		defer ticks.Stop()
		for begin := time.Now(); time.Since(begin) < patience || s.active.Load() > 0; {
			select {
			case <-ticks.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	_ = s.server.Shutdown(ctx)
}

// ServeHTTP answers a request.
func (s *session3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p := s.proxy
	defer s.rest()
	// A client that resets streams at once has more requests under way than streams.
	if s.active.Add(1) > int64(p.settings().MaxStreams) {
		p.tally.shed.Add(1)
		reject(w, http3.ErrCodeRequestRejected)
		return
	}
	if !p.ask(s.conn.guest) {
		reject(w, http3.ErrCodeRequestRejected)
		return
	}
	defer p.answered(s.conn.guest)
	c := s.conn
	if client := addressOfUDP(s.quic.RemoteAddr()); client != c.from {
		c = s.newConn(client, c.shard) // the client has moved (RFC 9000, section 9)
		c.facts = s.conn.facts
	}
	c.served.Store(s.conn.served.Add(1))
	d := newInbound3(c, w, r)
	stop := context.AfterFunc(r.Context(), d.leave)
	code := d.guarded(r)
	stop()
	if code != 0 {
		reject(w, code)
	}
}

// reject ends a stream without an answer, or without the rest of one.
func reject(w http.ResponseWriter, code http3.ErrCode) {
	streamer, ok := w.(http3.HTTPStreamer)
	if !ok {
		panic(http.ErrAbortHandler)
	}
	s, err := streamer.HTTPStream()
	if err != nil {
		panic(http.ErrAbortHandler) // a part is gone already: http3 resets the stream
	}
	s.CancelRead(quic.StreamErrorCode(code))
	s.CancelWrite(quic.StreamErrorCode(code))
}
