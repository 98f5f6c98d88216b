package forward

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	wire "github.com/miekg/dns"
)

// outcome is the end of one attempt.
type outcome struct {
	upstream *upstream
	reply    *wire.Msg
	err      error
}

// Attempt is a question put to one server.
type Attempt struct {
	Server Server
	// Sent is as it was sent, Reply what came back, or nil.
	Sent, Reply *wire.Msg
	Began       time.Time
}

// attempts is the state of one query.
type attempts struct {
	zone     *zone
	query    Query
	plan     []*upstream
	outcomes chan outcome
	next     int
	pending  int
	// awaited is the upstream asked last, until it answers, fails or is late;
	// asked is when that was.
	awaited *upstream
	asked   time.Time
	// worse is a reply that is taken only if no better one comes.
	worse  *wire.Msg
	errors []string
}

// resolve asks one upstream after the other, each next one when the previous
// has failed or is late, and takes the first usable reply of any of them.
func (z *zone) resolve(ctx context.Context, q Query) (*wire.Msg, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	plan := z.plan()
	if len(plan) == 0 {
		return nil, errors.New("there is no server to ask: " + strings.Join(z.describe(), "; "))
	}
	a := attempts{zone: z, query: q, plan: plan, outcomes: make(chan outcome, len(plan))}
	a.start(ctx)
	patience := time.NewTimer(a.patience())
	defer patience.Stop()
	for a.pending > 0 {
		select {
		case o := <-a.outcomes:
			if reply := a.end(ctx, o); reply != nil {
				return reply, nil
			}
		case <-patience.C:
			if !a.impatient(ctx) {
				return a.give("")
			}
			patience.Reset(a.patience())
		case <-ctx.Done():
			return a.give("no upstream answered within " + z.limits.timeout.String())
		}
	}
	return a.give("every upstream failed")
}

// patience returns how long to wait before the next upstream is asked as well:
// for the first one as long as its replies usually take. Only one query in
// addition is sent on such a ground, for it may be the name that is slow.
func (a *attempts) patience() time.Duration {
	l := a.zone.limits
	if a.next > 1 || a.awaited == nil || a.allAsked() {
		return l.patience
	}
	return a.awaited.latency.patience(l.minPatience, l.patience)
}

// impatient notes that the upstream asked last has not answered in time, asks
// the next one as well, and reports whether there is still anything to wait for.
func (a *attempts) impatient(ctx context.Context) bool {
	if a.awaited != nil {
		a.awaited.late(a.asked)
		a.awaited = nil
	}
	if a.worse != nil && a.allAsked() {
		return false
	}
	if a.next < len(a.plan) {
		a.zone.shared.metrics.hedged.Inc()
	}
	a.start(ctx)
	return true
}

// start asks the next upstream of the plan, if there is one left.
func (a *attempts) start(ctx context.Context) {
	if a.next >= len(a.plan) {
		return
	}
	u := a.plan[a.next]
	a.next++
	a.pending++
	a.awaited, a.asked = u, time.Now()
	go func() {
		began, query := time.Now(), a.query.message()
		reply, err := u.send(ctx, a.query, query)
		if tap := u.zone.shared.tap; tap != nil {
			tap(Attempt{u.Server, query, reply, began})
		}
		a.outcomes <- outcome{u, reply, err}
	}()
}

// end takes in the end of an attempt and returns the reply to give, if any.
func (a *attempts) end(ctx context.Context, o outcome) *wire.Msg {
	a.pending--
	if a.awaited == o.upstream {
		a.awaited = nil
	}
	if o.err != nil {
		a.errors = append(a.errors, o.upstream.String()+": "+o.err.Error())
		if ctx.Err() == nil {
			o.upstream.failed(o.err)
		}
		a.start(ctx)
		return nil
	}
	o.upstream.healed()
	code := o.reply.Rcode
	if code == wire.RcodeServerFailure || code == wire.RcodeRefused || slices.Contains(a.zone.Failover, code) {
		// Another server may know better.
		a.worse = o.reply
		a.errors = append(a.errors, o.upstream.String()+": "+wire.RcodeToString[code])
		if !a.allAsked() {
			a.start(ctx)
		}
		return nil
	}
	return o.reply
}

// allAsked reports whether every upstream has been asked at least once.
func (a *attempts) allAsked() bool { return a.next >= len(a.plan)/retries }

// give ends a query without a usable reply.
func (a *attempts) give(summary string) (*wire.Msg, error) {
	if a.worse != nil {
		return a.worse, nil
	}
	if len(a.errors) > 0 {
		summary += " (" + strings.Join(a.errors, "; ") + ")"
	}
	return nil, fmt.Errorf("%s", summary)
}
