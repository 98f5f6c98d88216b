package proxy

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strings"
	"unsafe"

	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/http2"
	"github.com/fairlead-net/fairlead/internal/l7/waf"
)

// exchange is a request under way. Of the connection it uses only what never changes,
// since that may have several.
type exchange struct {
	*conn
	*work
	// client is who asked: the connection, or a part of it.
	client downstream
	// inbound is what the client wants if it speaks HTTP/2 or HTTP/3, else nil; code is what it
	// is told if the answer cannot be completed.
	inbound *interest
	code    http2.Code
	// begin is when the request came, at what time it was when that was last asked.
	begin, at int64
	state     *state
	route     *l7.Route
	// status is that of the answer.
	status int
	// closes is set if the answer is the connection's last.
	closes bool
	// linger is set if the client may still be sending then, aborted if the answer
	// cannot be completed.
	linger, aborted bool
	// upgrade is set if the connection may change to another protocol.
	upgrade bool
	// carries is set if a stream of the client's is to carry another protocol, nonce what the
	// endpoint has to answer to then.
	carries bool
	nonce   string
	// early is set if the answer came before the upstream had all of the request.
	early bool
	// backend is set where a session may be with it, stuck once the client has been given
	// one.
	backend l7.BackendID
	stuck   bool
	// on is the backend that is asked, entered set while the request is one of those that
	// its limits count, alone if these are connections too; spends while it is one of those
	// that are sent once more.
	on                     *backend
	entered, alone, spends bool
	// counted is what counts the request of a client, with its address; nil: nothing.
	counted   *limiter
	countedAs netip.Addr
	// paced is set if the client gets the answer no faster than it may.
	paced bool
	// tries is how many endpoints may still be asked, instead set once a backend for errors
	// answers.
	tries int
	// whole is set if the request went out in one piece.
	whole   bool
	instead bool
	// interims counts the responses before the final one, sends how often a request has
	// been sent in vain.
	interims, sends int
	// check has rules look at the request; refusal is that they refuse its answer.
	check   *waf.Check
	refusal *waf.Verdict
}

// handle answers the request that has been parsed, and takes its body off the
// buffer.
func (c *conn) handle(w *work) {
	x := &w.exchange
	*x = exchange{conn: c, work: w, client: c}
	x.closes = !w.request.Persistent() || c.listener.draining.Load() || c.proxy.closing.Load()
	x.upgrade = x.mayUpgrade()
	c.socket.arm(0)
	c.pace, c.socket.stalled = pace{}, 0
	x.run()
	c.at = x.at
	c.linger = c.linger || x.linger
	if x.closes {
		c.done = true
	}
	if x.aborted {
		c.abort()
	}
}

// run answers the request.
func (x *exchange) run() {
	defer x.uncount()
	x.begin = x.tick()
	x.newID()
	x.replied, x.trailer = false, x.trailer[:0]
	x.record.begin(&x.request)
	x.trace()
	x.body = body{}
	var spec *l7.Listener
	x.state, spec = x.listener.current()
	x.added = append(x.added, x.listener.offer...)
	if err := x.describe(); err != nil {
		x.answer(400, err.Error())
	} else if !x.challenge() && !x.misdirected(spec) {
		x.route = x.proxy.match(spec.Routes, &x.query)
		x.record.route = x.route
		if x.ready() {
			x.forward()
		}
	}
	if x.at == x.begin {
		x.tick()
	}
	if x.check != nil {
		x.reportRules()
	}
	x.count()
	x.write()
	x.added = x.added[:0]
}

// uncount has what counts the requests of the client count this one no more.
func (x *exchange) uncount() {
	if x.counted != nil {
		x.counted.leave(x.countedAs)
	}
}

// tick notes what time it is.
func (x *exchange) tick() int64 {
	x.at = x.proxy.clock.now()
	return x.at
}

// describe tells the Routes what they may know of the request. The error is why its
// path is refused.
func (x *exchange) describe() error {
	r, q := &x.request, &x.query
	q.Method, q.Host, q.Query = text(r.Method), text(r.Host), text(r.Query)
	q.Path = text(r.Path)
	if r.Path[0] == '/' { // not so *
		match, wire, err := x.proxy.normalize(q.Path)
		if err != nil {
			return err
		}
		if wire != q.Path {
			query := r.Target[len(r.Path):]
			x.target = append(append(x.target[:0], wire...), query...)
			r.Target = x.target
		}
		q.Path = match
	}
	q.Header = q.Header[:0]
	for i := range r.Fields {
		q.Header = append(q.Header, l7.Field{Name: text(r.Fields[i].Lower), Value: text(r.Fields[i].Value)})
	}
	return nil
}

// text is a string that shares memory with b: it is valid as long as the request.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// newID fills in a random identity for the request.
func (w *work) newID() {
	const digits = "0123456789abcdef"
	for i := 0; i < len(w.id); i += 16 {
		for j, random := 0, rand.Uint64(); j < 16; j++ {
			w.id[i+j] = digits[random&15]
			random >>= 4
		}
	}
}

// mayUpgrade reports whether the client asks for a protocol that is allowed.
func (x *exchange) mayUpgrade() bool {
	wanted := x.request.Upgrade()
	if len(wanted) == 0 || !x.request.Bodyless() || x.request.Minor == 0 {
		return false
	}
	for _, name := range x.proxy.settings().Upgrades {
		if strings.EqualFold(name, text(wanted)) {
			return true
		}
	}
	return false
}

// forward has the request answered by an endpoint. Another one is tried if the
// first cannot have begun to work on it.
func (x *exchange) forward() {
	b := x.pick()
	if (b == nil || len(b.endpoints) == 0) && x.route.Errors != nil && x.route.Errors.Absent && x.skipBody() && x.errorPage(503) {
		return
	}
	if b == nil {
		x.answer(503, "the backend does not exist")
		return
	}
	x.record.backend = b.id
	x.mirror()
	switch err := x.refused(x.tryAll(b)); {
	case errors.Is(err, errWithheld):
		x.withhold()
	case errors.Is(err, errReplaced):
		if status := x.response.Status; !x.errorPage(status) {
			x.closes = x.closes || !x.request.Bodyless()
			x.answer(status, "the backend answered so, and what answers instead is not there")
		}
	case err != nil:
		x.failed(err)
	}
}

// tryAll has one endpoint of a backend after the other answer, until one does.
func (x *exchange) tryAll(b *backend) error {
	var (
		failed *endpoint
		err    error
	)
	defer x.exit()
	if err = x.enter(b); err != nil {
		return err
	}
	for x.tries = x.maxTries(); x.tries > 0; {
		x.tries--
		e := x.choose(b, failed)
		if e == nil {
			return errAbsent
		}
		if err = x.attempt(b, e); err == nil || !x.again(err) {
			break
		}
		failed = e
	}
	return err
}

// attempt has one endpoint answer, and notes what came of that.
func (x *exchange) attempt(b *backend, e *endpoint) error {
	e.active.Add(1)
	defer e.active.Add(-1)
	x.asks(e)
	err := x.observed(b, e)
	x.told(b, err)
	if b.note(e, x.response.Status, err, x.at) {
		x.proxy.ejected(b, e, x.at, err)
	}
	return err
}

var (
	// errRetry is that a request can be sent again: nothing has come of it.
	errRetry = errors.New("the endpoint did not take the request")
	// errAbsent is that a backend has no endpoint.
	errAbsent = errors.New("the backend has no endpoint")
	// errNext is that another endpoint is asked after an answer.
	errNext = errors.New("the endpoint answered what another one may do better")
	// errClient is that the client is to blame, or gone.
	errClient = errors.New("the client has failed")
	// errAnswer is that an upstream answers what cannot be passed on.
	errAnswer = errors.New("the answer of the endpoint is invalid")
	// errNotCarried is that a client asks for a protocol that an endpoint does not speak: it
	// is the client's choice, so nothing is held against the endpoint.
	errNotCarried = fmt.Errorf("%w: it does not change to the protocol that the client asks for", errAnswer)
	// errBody is that a body in chunks is larger than allowed.
	errBody = errors.New("the body is larger than allowed")
)

// try has one endpoint answer, over an idle connection or a new one.
func (x *exchange) try(e *endpoint) error {
	if overHTTP2(x.route) && x.carries {
		return errNotCarried // of the endpoint nothing of the kind is asked
	} else if overHTTP2(x.route) {
		return x.call(e)
	}
	secure, err := x.secure(e)
	if err != nil {
		return err
	}
	from := e.plain
	if secure != nil {
		from = secure.pool
	}
	if up := from.take(x.shard); up != nil && up.old(x.at) {
		_ = up.Close()
	} else if up != nil {
		x.connected()
		err := x.over(up)
		if err == nil || errors.Is(err, errNext) || !x.again(err) {
			return err
		}
		// Endpoints close idle connections when they like. That says nothing about whether
		// they take a new one.
	}
	up, err := x.dial(e, secure)
	if err != nil {
		return errors.Join(errRetry, err)
	}
	x.tick()
	x.connected()
	return x.over(up)
}

// again reports whether the request is sent once more after an error.
func (x *exchange) again(err error) bool {
	return errors.Is(err, errRetry) && x.sends < x.maxTries() && x.mayRetry() && x.affords(x.sends > 0)
}

// over sends the request over a connection and the answer to the client. The
// connection is then idle again, or closed.
func (x *exchange) over(up *upstream) error {
	if !x.inbound.hold(up.socket, nil) {
		_ = up.Close()
		return errClient
	}
	bug := true
	defer func() {
		if bug {
			_ = up.Close()
		}
	}()
	reusable, err := x.converse(up)
	bug = false
	if !x.inbound.hold(nil, nil) {
		reusable = false // it has been closed
	}
	if err != nil && !errors.Is(err, errStale) {
		x.sends++
	}
	if now := x.tick(); err != nil || !reusable || up.old(now) {
		_ = up.Close()
		return err
	}
	up.pool.put(up, x.shard, x.proxy.settings().MaxIdle, x.at)
	return nil
}

// failed answers a request that no endpoint has answered.
func (x *exchange) failed(err error) {
	status, reason := 502, "the connection to the backend broke"
	switch {
	case !x.inbound.wanted(), errors.Is(err, errGone):
		x.status, x.record.reason = statusGone, "the client has given up"
		x.closes = true
		return
	case x.replied:
		// Half an answer cannot be taken back, only be broken off.
		x.closes, x.aborted = true, true
		x.record.reason = "the answer broke off"
		return
	case errors.Is(err, errAbsent):
		status, reason = 503, "the backend has no endpoint that is ready"
	case errors.Is(err, errBody):
		status, reason = 413, errBody.Error()
	case errors.Is(err, errClient):
		status, reason = 400, "the body is malformed or has not arrived"
		if errors.Is(err, os.ErrDeadlineExceeded) {
			status, reason = 408, "the body took too long to arrive"
		}
	case errors.Is(err, errAuthorities):
		status, reason = 503, "the authorities to verify the backend with are missing"
	case errors.Is(err, errFull):
		status, reason = 503, "the backend has as many requests as its Service allows"
	case errors.Is(err, errBusy):
		status, reason = 503, "the backend takes no more requests"
	case errors.Is(err, errConnect):
		status, reason = unreachable(err)
	case errors.Is(err, errAnswer):
		status, reason = 502, "the answer of the backend is invalid"
	case errors.Is(err, os.ErrDeadlineExceeded):
		status, reason = 504, "the backend did not answer in time"
	}
	// Nobody knows how much of the body is off the buffer already.
	x.closes = x.closes || !x.request.Bodyless()
	x.answer(status, reason)
}
