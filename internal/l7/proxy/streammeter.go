package proxy

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/accesslog"
	"github.com/fairlead-net/fairlead/internal/l7/http1"
)

// streamMeter counts the connections of one Stream. Its bytes are counted as they move.
type streamMeter struct {
	series
	open atomic.Int64
}

// stream returns the meter of a Stream; of those beyond maxSeries they have one together.
func (t *tallies) stream(s *l7.Stream) *streamMeter {
	if s == nil {
		return &t.noStream
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	k := key{s.Source, s.Rule, s.Host}
	m := t.streams[k]
	if m == nil {
		if len(t.streams) >= maxSeries {
			return &t.restStreams
		}
		m = new(streamMeter)
		t.streams[k] = m
	}
	return m
}

// pruneStreams forgets Streams that have had no connection for long; mu is held.
func (t *tallies) pruneStreams(now int64) {
	for k, m := range t.streams {
		if last := m.last.Load(); last != 0 && now-last > int64(forget) && m.open.Load() == 0 {
			delete(t.streams, k)
		}
	}
}

// stream reports a Stream.
func (m *metrics) stream(out output, s *streamMeter, source, rule, host string) {
	if open := s.open.Load(); open != 0 || s.last.Load() != 0 {
		s.collect(out, m.streamConnections, m.streamDuration, source, rule, host)
		out.gauge(m.streamOpen, open, source, rule, host)
		out.counter(m.streamBytes, s.received.Load(), source, rule, host, "in")
		out.counter(m.streamBytes, s.sent.Load(), source, rule, host, "out")
	}
}

// write writes the connection down.
func (p *passage) write(status int, reason string, now int64) {
	book := p.proxy.book.Load()
	if book == nil {
		return
	}
	client, local := p.ends()
	e := accesslog.Entry{
		Begin: p.proxy.clock.at(p.begin), Took: time.Duration(now - p.begin), Client: client.Addr(), Peer: p.peer(),
		Request: new(http1.Request), Protocol: "TCP", Status: status, Reason: reason, ServerPort: strconv.Itoa(int(local.Port())),
		Received: p.forth.Load(), Sent: p.back.Load(), SentBody: p.back.Load(), Tries: p.tries, ServerName: p.name,
		Connection: int64(p.shard),
	}
	if n := len(p.tries); n > 0 {
		t := &p.tries[n-1]
		t.Received, t.Took = e.Sent, time.Duration(now-p.begin)-t.Asked
	}
	if s := p.stream; s != nil {
		e.Kind, e.Namespace, e.Name, e.Rule = s.Source.Kind, s.Source.Namespace, s.Source.Name, s.Rule
		if len(s.Backends) > 0 {
			first := s.Backends[0].Backend
			e.Service = accesslog.Service{Namespace: first.Service.Namespace, Name: first.Service.Name, Port: first.Port}
			if b := p.from; b != nil && b.id != first {
				e.Alternative = accesslog.Service{Namespace: b.id.Service.Namespace, Name: b.id.Service.Name, Port: b.id.Port}
			}
		}
	}
	p.proxy.note(book, book.Format.Append(nil, &e))
}
