package waf

import (
	"strings"

	"github.com/corazawaf/coraza/v3/types"
)

// Verdict is that a request, or its answer, is refused.
type Verdict struct {
	// Status answers; Location is where a redirect leads. Close: the connection ends.
	Status   int
	Location string
	Close    bool
	// Rule is its id; 0: a body is larger than the limit.
	Rule int
}

// Check is a request that is being checked. End it in any case.
type Check struct {
	tx types.Transaction
	// limit is how much of a body is read.
	limit int
	// reported is that it has been refused.
	verdict *Verdict
}

// Begin begins to check a request, whose identity the logs have, by Rules that are ready.
func (r *Rules) Begin(id string) *Check {
	b := r.built.Load()
	return &Check{tx: b.waf.NewTransactionWithID(id), limit: b.request}
}

// Off reports whether rules say that nothing is checked.
func (c *Check) Off() bool { return c.tx.IsRuleEngineOff() }

// Head is what is known of a request.
type Head struct {
	Client, Method, Target, Protocol, Host string
}

// Field adds a field of the request's header. All come before Request.
func (c *Check) Field(name, value string) { c.tx.AddRequestHeader(name, value) }

// Request checks the request's header; nil: nothing is wrong so far.
func (c *Check) Request(h Head) *Verdict {
	c.tx.ProcessConnection(h.Client, 0, "", 0)
	c.tx.ProcessURI(h.Target, h.Method, h.Protocol)
	c.tx.SetServerName(h.Host)
	return c.found(c.tx.ProcessRequestHeaders())
}

// WantsBody reports whether the request's body is looked at, and how much of it at most.
func (c *Check) WantsBody() (limit int, wants bool) {
	return c.limit, c.tx.IsRequestBodyAccessible()
}

// Body adds a part of the request's body.
func (c *Check) Body(b []byte) *Verdict {
	found, _, err := c.tx.WriteRequestBody(b)
	return c.found(found, err)
}

// BodyEnd checks what has come of the body, which may be none.
func (c *Check) BodyEnd() *Verdict {
	found, err := c.tx.ProcessRequestBody()
	return c.found(found, err)
}

// AnswerField adds a field of the answer's header. All come before Answer.
func (c *Check) AnswerField(name, value string) { c.tx.AddResponseHeader(name, value) }

// Answer checks the answer's header.
func (c *Check) Answer(status int, protocol string) *Verdict {
	return c.found(c.tx.ProcessResponseHeaders(status, protocol))
}

// WantsAnswer reports whether the answer's body is looked at.
func (c *Check) WantsAnswer() bool {
	return c.tx.IsResponseBodyAccessible() && c.tx.IsResponseBodyProcessable()
}

// AnswerBody adds a part of the answer's body.
func (c *Check) AnswerBody(b []byte) *Verdict {
	found, _, err := c.tx.WriteResponseBody(b)
	return c.found(found, err)
}

// AnswerEnd checks what has come of the answer's body.
func (c *Check) AnswerEnd() *Verdict {
	found, err := c.tx.ProcessResponseBody()
	return c.found(found, err)
}

// found makes a Verdict. What could not be checked is refused.
func (c *Check) found(i *types.Interruption, errs ...error) *Verdict {
	for _, err := range errs {
		if err != nil {
			c.verdict = &Verdict{Status: 500}
			return c.verdict
		}
	}
	if i == nil {
		return nil
	}
	v := &Verdict{Status: i.Status, Rule: i.RuleID}
	switch i.Action {
	case "redirect":
		v.Location = i.Data
	case "drop":
		v.Status, v.Close = 403, true
	}
	if v.Status < 300 || v.Status > 599 || v.Location == "" && v.Status < 400 {
		v.Status = 403
	}
	c.verdict = v
	return v
}

// Bounds of a Report.
const (
	maxMatches = 16
	maxDatum   = 256
)

// Match is a rule that holds.
type Match struct {
	Rule           int
	Severity       string
	Message, Datum string
}

// Report is what a Check has found.
type Report struct {
	ID      string
	Matches []Match
	// More are matches beyond those.
	More    int
	Verdict *Verdict
}

// End ends a Check. The Report has what rules say that have a message; nil: nothing.
func (c *Check) End() *Report {
	c.tx.ProcessLogging()
	r := &Report{ID: c.tx.ID(), Verdict: c.verdict}
	for _, m := range c.tx.MatchedRules() {
		// Of a rule that says nolog nothing is to be said; types.MatchedRule does not tell yet.
		if silent, ok := m.(interface{ Log() bool }); m.Message() == "" || ok && !silent.Log() {
			continue
		}
		if len(r.Matches) == maxMatches {
			r.More++
			continue
		}
		r.Matches = append(r.Matches, Match{m.Rule().ID(), m.Rule().Severity().String(), short(m.Message()), short(m.Data())})
	}
	_ = c.tx.Close()
	if len(r.Matches) == 0 && r.Verdict == nil {
		return nil
	}
	return r
}

// short bounds a text that a client may have written; the copy lives on by itself.
func short(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), maxDatum)], "?")
}
