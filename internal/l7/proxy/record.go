package proxy

import (
	"crypto/tls"
	"encoding/hex"
	"net/netip"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/accesslog"
	"github.com/fairlead-net/fairlead/internal/l7/filter"
	"github.com/fairlead-net/fairlead/internal/l7/http1"
	"github.com/fairlead-net/fairlead/internal/l7/tracing"
)

// record is what is noted of a request while it is answered, for those who want to know
// later.
type record struct {
	// head is how long the request's header was, body how much came after it, in bytes.
	head, body int64
	// sent is how much the client was sent, sentHead how much of that was header.
	sent, sentHead int64
	// method and target are the request's, as they were sent, and route is its: an answer by
	// another backend makes other ones of them. reason says why the proxy answered itself.
	method, target []byte
	route          *l7.Route
	reason         string
	// tries are the endpoints that were asked, count how many; of those beyond, the last.
	tries   [filter.MaxTries]accesslog.Try
	count   int
	asked   int64
	backend l7.BackendID
	// kept is a copy of the header, where what follows would overwrite it. texts holds values
	// of fields of the answer, which answers are.
	kept, texts []byte
	answers     [][]byte
	// tracing says who records the request as a trace; nil: nobody.
	tracing *Tracing
	// trace is that of the request, spans those of the tries; lines says so to an endpoint.
	trace tracing.Context
	spans [filter.MaxTries]tracing.SpanID
	lines []byte
	ids   [48]byte
	// entry and line are memory.
	entry accesslog.Entry
	line  []byte
}

// begin forgets the last request. The header's length has been noted already.
func (r *record) begin(q *http1.Request) {
	r.body, r.sent, r.sentHead, r.method, r.target, r.route, r.reason = 0, 0, 0, q.Method, q.Target, nil, ""
	r.count, r.asked, r.backend = 0, 0, l7.BackendID{}
	r.texts, r.answers = r.texts[:0], r.answers[:0]
}

// forget lets go of memory that is large, and of what belongs to a connection.
func (r *record) forget() {
	r.entry, r.method, r.target, r.route, r.tracing = accesslog.Entry{}, nil, nil, nil, nil
	if cap(r.kept) > bufferSize {
		r.kept = nil
	}
	if cap(r.texts) > bufferSize {
		r.texts = nil
	}
	if cap(r.line) > bufferSize {
		r.line = nil
	}
}

// try returns the endpoint that is being asked.
func (r *record) try() *accesslog.Try { return &r.tries[max(r.count-1, 0)] }

// records reports whether anybody wants to know about requests.
func (p *Proxy) records() bool { return p.book.Load() != nil || p.settings().Tracing != nil }

// keep copies the header of the request that has just been parsed, as its body will be
// read to where that is, and much still reads the header then: another endpoint is asked,
// a page for errors made, the answer revised, a line written.
func (c *conn) keep() {
	w := c.work
	r := &w.record
	r.kept = append(r.kept[:0], w.in.b[w.in.begin-int(r.head):w.in.begin]...)
	_, _ = w.request.Parse(r.kept, &w.limits) // as it did before
}

// asks notes that an endpoint is asked.
func (x *exchange) asks(e *endpoint) {
	r := &x.record
	if r.count < len(r.tries) {
		r.count++
	}
	r.asked = x.at
	*r.try() = accesslog.Try{Asked: time.Duration(x.at - x.begin), Address: e.address, Host: e.host, Port: e.port, Connect: -1, Header: -1}
}

// connected notes that there is a connection to the endpoint.
func (x *exchange) connected() { x.record.try().Connect = time.Duration(x.at - x.record.asked) }

// heard notes that the header of the answer has come.
func (x *exchange) heard() {
	t := x.record.try()
	t.Status = x.response.Status
	if x.proxy.records() {
		t.Header = time.Duration(x.tick() - x.record.asked)
	}
}

// got notes that so much of the answer's body has come.
func (x *exchange) got(n int64) { x.record.try().Received += n }

// told notes that the endpoint has answered, or failed.
func (x *exchange) told(b *backend, err error) {
	if err != nil {
		x.tick()
	}
	t := x.record.try()
	t.Took = time.Duration(x.tick() - x.record.asked)
	if t.Status == 0 && err != nil {
		if t.Status = 502; timedOut(err) {
			t.Status = 504
		}
	}
	m := b.meter
	m.ask(t.Status, int64(t.Took), x.at, err)
	if x.record.count > 1 {
		m.retries.Add(1)
	}
}

// noteAnswer keeps the values of fields of the answer that the log wants: before the proxy
// changes it and after.
func (w *work) noteAnswer(upstream bool) {
	if w.format == nil {
		return
	}
	fields, r := w.format.Fields(), &w.record
	for len(r.answers) < len(fields) {
		r.answers = append(r.answers, nil)
	}
	for i := range fields {
		if fields[i].Upstream == upstream {
			begin := len(r.texts)
			r.texts = append(r.texts, w.response.Get(fields[i].Name)...)
			r.answers[i] = r.texts[begin:len(r.texts):len(r.texts)]
		}
	}
}

// count counts the request.
func (x *exchange) count() {
	r := &x.record
	s := x.proxy.tally.count(r.route, x.status, x.at-x.begin, x.at)
	s.received.Add(uint64(r.head + max(r.body, x.work.body.received())))
	s.sent.Add(uint64(r.sent))
	x.listener.meter.requests[x.version()].Add(1)
}

// write writes the request down, and tells who records traces, if that is wanted.
func (x *exchange) write() {
	book, r := x.proxy.book.Load(), &x.record
	writes := book != nil && x.format != nil && (r.route == nil || r.route.Filters == nil || !r.route.Filters.NoAccessLog) && !book.Skips.Has(r.target)
	records := r.tracing != nil && r.trace.Sampled
	if !writes && !records {
		return
	}
	x.describeEntry()
	if writes {
		r.line = x.format.Append(r.line[:0], &r.entry)
		x.proxy.note(book, r.line)
	}
	if records {
		r.tracing.Record(&Traced{Entry: &r.entry, Context: r.trace, Spans: r.spans[:r.count]})
	}
}

// describeEntry fills in the Entry with what is known of the request.
func (x *exchange) describeEntry() {
	r, record := &x.request, &x.record
	e := &record.entry
	r.Method = record.method
	*e = accesslog.Entry{
		Begin: x.proxy.clock.at(x.begin), Took: time.Duration(x.at - x.begin),
		Client: x.hop.Client(r), Peer: x.peer(), Request: r, Target: record.target, Protocol: x.protocol(),
		Scheme: x.hop.Scheme(r), ServerPort: x.hop.Port(), ID: r.ID(x.id[:]),
		Status: x.status, Reason: record.reason, Received: record.head + max(record.body, x.work.body.received()), Sent: record.sent,
		SentBody: max(record.sent-record.sentHead, 0), Tries: record.tries[:record.count], Answers: record.answers,
		Connection: int64(x.shard), ConnectionRequests: x.served.Load(),
	}
	if x.format != nil && x.format.User() {
		e.User, _, _ = x.credentials()
	}
	if route := record.route; route != nil {
		e.Kind, e.Namespace, e.Name, e.Rule = route.Source.Kind, route.Source.Namespace, route.Source.Name, route.Rule
		if len(route.Backends) > 0 {
			first := route.Backends[0].Backend
			e.Service = accesslog.Service{Namespace: first.Service.Namespace, Name: first.Service.Name, Port: first.Port}
			if b := record.backend; b != first && b != (l7.BackendID{}) {
				e.Alternative = accesslog.Service{Namespace: b.Service.Namespace, Name: b.Service.Name, Port: b.Port}
			}
		}
	}
	if record.tracing != nil {
		hex.Encode(record.ids[:32], record.trace.Trace[:])
		hex.Encode(record.ids[32:], record.trace.Span[:])
		e.TraceID, e.SpanID = text(record.ids[:32]), text(record.ids[32:])
	}
	if f := x.facts; f != nil {
		e.TLSVersion, e.Cipher, e.ServerName = f.version, f.cipher, f.name
	}
}

func (x *exchange) protocol() string {
	return [...]string{"HTTP/1.0", "HTTP/1.1", "HTTP/2.0", "HTTP/3.0"}[x.version()]
}

func (x *exchange) version() int {
	switch {
	case x.inbound != nil:
		return x.inbound.version
	case x.request.Minor == 0:
		return http10
	}
	return http11
}

// peer is the address that the connection is with.
func (c *conn) peer() netip.Addr {
	return c.from.Addr()
}

// writeRefusal writes down a message that is no request. Nothing of it is known.
func (c *conn) writeRefusal(w *work, status int, reason string) {
	book := c.proxy.book.Load()
	if book == nil || w.format == nil {
		return
	}
	now := c.proxy.clock.now()
	r := &w.record
	r.entry = accesslog.Entry{
		Begin: c.proxy.clock.at(now), Client: c.hop.Client(new(http1.Request)), Peer: c.peer(), Request: new(http1.Request),
		Scheme: c.hop.Scheme(new(http1.Request)), ServerPort: c.hop.Port(), Status: status, Reason: reason,
		Connection: int64(c.shard), ConnectionRequests: c.served.Load(),
	}
	if f := c.facts; f != nil {
		r.entry.TLSVersion, r.entry.Cipher, r.entry.ServerName = f.version, f.cipher, f.name
	}
	r.line = w.format.Append(r.line[:0], &r.entry)
	c.proxy.note(book, r.line)
}

// facts are what is written down of a connection within TLS, in nginx's words.
type facts struct{ version, cipher, name string }

// learn notes how a handshake has ended.
func (c *conn) learn(state tls.ConnectionState) {
	if !c.proxy.records() {
		return
	}
	version := "TLSv1.2"
	if state.Version == tls.VersionTLS13 {
		version = "TLSv1.3"
	}
	c.facts = &facts{version, tls.CipherSuiteName(state.CipherSuite), state.ServerName}
}
