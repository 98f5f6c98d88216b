package proxy

import (
	"errors"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7/http1"
	"github.com/fairlead-net/fairlead/internal/l7/waf"
)

// inspectTimeout is how long a request waits until rules can be evaluated.
const inspectTimeout = 5 * time.Second

// errWithheld is that rules refuse an answer.
var errWithheld = errors.New("a rule refuses the answer")

// evaluate calls f when a processor may be spent on rules: those of one Ingress must not
// have all that others are served with. It reports whether that came about.
func (p *Proxy) evaluate(f func()) bool {
	select {
	case p.inspecting <- struct{}{}:
	default:
		timeout := time.NewTimer(inspectTimeout)
		defer timeout.Stop()
		select {
		case p.inspecting <- struct{}{}:
		case <-timeout.C:
			return false
		}
	}
	defer func() { <-p.inspecting }()
	f()
	return true
}

// inspected reports whether the rules of the Route let the request through; if not, it
// has been answered. A body is waited for as far as rules look at it.
func (x *exchange) inspected() bool {
	f := x.route.Filters
	if f == nil || f.ModSecurity == nil {
		return true
	}
	rules, open := f.ModSecurity.InForce()
	if open {
		return true
	}
	if rules == nil {
		x.add("Retry-After", "1", always)
		x.answer(503, "the rules of the route are not ready")
		return false
	}
	id := string(f.ModSecurity.ID.Append(nil, x.value))
	if id = id[:min(len(id), 128)]; id == "" {
		id = string(x.request.ID(x.id[:]))
	}
	x.check = rules.Begin(id)
	if x.check.Off() {
		return true
	}
	var v *waf.Verdict
	if !x.evaluates(func() { v = x.inspectHead() }) {
		return false
	}
	limit, wants := x.check.WantsBody()
	var body []byte
	if v == nil && wants && !x.request.Bodyless() && !overHTTP2(x.route) {
		err := error(nil)
		if body, err = x.readBody(limit); err != nil {
			x.failed(err)
			return false
		}
	}
	if v == nil && !x.evaluates(func() { v = x.inspectBody(body) }) {
		return false
	}
	if v != nil {
		x.refuse(v)
	}
	return v == nil
}

// evaluates calls f, or answers that there is too much to do.
func (x *exchange) evaluates(f func()) bool {
	if x.proxy.evaluate(f) {
		return true
	}
	x.answer(503, "too many requests wait for their rules to be evaluated")
	return false
}

// inspectHead has rules look at the request's header, as the client sent it.
func (x *exchange) inspectHead() *waf.Verdict {
	r := &x.request
	for i := range r.Fields {
		x.check.Field(string(r.Fields[i].Name), string(r.Fields[i].Value))
	}
	if len(r.Get("host")) == 0 {
		x.check.Field("Host", string(r.Authority))
	}
	return x.check.Request(waf.Head{
		Client: x.hop.Client(r).String(), Method: string(r.Method), Target: string(x.record.target), Protocol: x.protocol(), Host: string(r.Host),
	})
}

// inspectBody has rules look at the request's body.
func (x *exchange) inspectBody(body []byte) *waf.Verdict {
	if len(body) > 0 {
		if v := x.check.Body(body); v != nil {
			return v
		}
	}
	return x.check.BodyEnd()
}

// readBody returns the request's body, or what comes first of it, of at least limit
// octets. It is sent on all the same: in one piece if it is whole.
func (x *exchange) readBody(limit int) ([]byte, error) {
	r, in := &x.request, &x.work.in
	if x.atOnce() {
		return in.bytes()[:max(r.Length, 0)], nil
	}
	if r.Continue {
		if err := x.leave(); err != nil {
			return nil, err
		}
		r.Continue = false
	}
	b := &x.work.body
	*b = bodyOf(r, x.maxBody())
	framed := b.framed
	b.framed = false
	var all, part []byte
	for done := false; !done; {
		var err error
		if part, done, err = x.client.receive(part[:0], b); err != nil {
			return nil, err
		}
		all = append(all, part...)
		if !done && len(all) >= limit {
			b.framed = framed
			x.client = &replay{downstream: x.client, first: all, body: *b}
			return all, nil
		}
	}
	larger := make([]byte, max(len(all)+in.len(), bufferSize))
	end := copy(larger, all)
	end += copy(larger[end:], in.bytes()) // of the next request
	*in = buffer{b: larger, end: end}
	r.Chunked, r.Length = false, int64(len(all))
	return all, nil
}

// replay is a downstream of whose body a part has been read before.
type replay struct {
	downstream
	first []byte
	body  body
}

// receive implements downstream.
func (p *replay) receive(dst []byte, b *body) (out []byte, done bool, err error) {
	if p.first == nil {
		return p.downstream.receive(dst, b)
	}
	framed, call := b.framed, b.call
	*b = p.body
	b.framed, b.call = framed, call
	first := p.first
	p.first = nil
	if framed {
		return http1.AppendChunk(dst, first), false, nil
	}
	return append(dst, first...), false, nil
}

// refuse answers as a rule says.
func (x *exchange) refuse(v *waf.Verdict) {
	x.closes = x.closes || v.Close
	if v.Location != "" {
		x.add("Location", v.Location, always)
	}
	x.answer(v.Status, "a rule of the route refuses the request")
}

// answerPasses reports whether rules let the answer through whose header has come. Its
// body is held back as far as they look at it.
func (x *exchange) answerPasses() bool {
	if x.check == nil || x.instead || x.check.Off() {
		return true
	}
	r := &x.response
	if !x.proxy.evaluate(func() {
		for i := range r.Fields {
			x.check.AnswerField(string(r.Fields[i].Name), string(r.Fields[i].Value))
		}
		x.refusal = x.check.Answer(r.Status, x.protocol())
	}) {
		x.refusal = &waf.Verdict{Status: 503}
	}
	if x.refusal == nil && x.check.WantsAnswer() && !overHTTP2(x.route) {
		x.guard()
	}
	return x.refusal == nil
}

// guard has the body of the answer held back, behind what sends it bit by bit: of what is
// held back nothing must be sent.
func (x *exchange) guard() {
	at := &x.client
	for {
		switch d := (*at).(type) {
		case *replay:
			at = &d.downstream
			continue
		case *paced:
			at = &d.downstream
			continue
		}
		*at = &guarded{downstream: *at, exchange: x}
		return
	}
}

// guarded is a downstream that gets an answer once rules have looked at its body.
type guarded struct {
	downstream
	exchange *exchange
	// got is how much has come; past is set once nobody looks any more.
	got  int
	past bool
}

// data implements downstream.
func (g *guarded) data(b []byte, how part) bool {
	if g.past {
		return g.downstream.data(b, how)
	}
	x := g.exchange
	g.got += len(b)
	g.past = how == last || g.got >= waf.MaxResponseBody
	var v *waf.Verdict
	if !x.proxy.evaluate(func() {
		if len(b) > 0 {
			v = x.check.AnswerBody(b)
		}
		if v == nil && g.past {
			v = x.check.AnswerEnd()
		}
	}) {
		v = &waf.Verdict{Status: 503}
	}
	if v != nil {
		// None of it has been sent yet.
		g.past, x.refusal = true, v
		x.out, x.replied = x.out[:0], false
		return false
	}
	if !g.past {
		how = held
	}
	return g.downstream.data(b, how)
}

// refused says that rules refuse the answer, if so, in place of what came of that.
func (x *exchange) refused(err error) error {
	if x.refusal != nil {
		return errWithheld
	}
	return err
}

// withhold answers in place of an answer that rules refuse.
func (x *exchange) withhold() {
	x.instead = true // nor does a page for errors
	x.closes = x.closes || !x.request.Bodyless()
	x.refuse(x.refusal)
}

// reportRules writes down what rules have found, under the Ingress's name.
func (x *exchange) reportRules() {
	report := x.check.End()
	x.check = nil
	if report == nil {
		return
	}
	target := x.record.target
	args := []any{
		"source", x.record.route.Source.String(), "id", report.ID, "client", x.hop.Client(&x.request).String(), "method", string(x.record.method),
		"target", string(target[:min(len(target), 256)]), "refused", report.Verdict != nil, "status", x.status, "rules", report.Matches,
	}
	if report.More > 0 {
		args = append(args, "more", report.More)
	}
	x.proxy.config.Log.Warn("rules of ModSecurity hold for a request", args...)
}
