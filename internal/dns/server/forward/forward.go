package forward

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	wire "github.com/miekg/dns"
	"golang.org/x/sync/singleflight"
)

// Errors of Exchange. Any other error says which upstreams failed and how.
var (
	ErrNoUpstream = errors.New("no upstream server is configured")
	ErrOverload   = errors.New("too many queries are waiting for upstream servers")
)

// Forwarder asks upstream servers. Make one with New, let Run watch over it.
type Forwarder struct {
	config  Config
	cache   *cache
	flight  singleflight.Group
	busy    atomic.Int64
	metrics *metrics
	loops   loops

	upstreams atomic.Pointer[[]*upstream]

	mu       sync.Mutex
	resolv   fileState
	problems []string
}

// New returns a Forwarder that has read its upstreams but asked none yet. An
// unreadable resolv.conf is no error: Describe names it, and Run tries again.
func New(config Config) (*Forwarder, error) {
	config, err := config.complete()
	if err != nil {
		return nil, err
	}
	f := &Forwarder{config: config, cache: newCache(config)}
	f.metrics = newMetrics(f)
	f.loops.sent = map[string]*probe{}
	f.upstreams.Store(new([]*upstream))
	if len(config.Upstreams) > 0 {
		f.use(config.Upstreams)
	} else {
		f.reread()
	}
	return f, nil
}

// Cached returns the reply to a query if it is in the cache. The caller may
// change it. Only the records and the response code count: ID, flags and OPT
// record are the upstream's.
func (f *Forwarder) Cached(q Query) (*wire.Msg, bool) {
	reply, ok := f.cache.get(q.key())
	f.metrics.cached(reply, ok)
	return reply, ok
}

// Configured reports whether there is any upstream to ask.
func (f *Forwarder) Configured() bool { return len(*f.upstreams.Load()) > 0 }

// Exchange returns the reply to a query from an upstream; use Cached first. The
// caller may change it. It ends with ctx or after the configured timeout.
func (f *Forwarder) Exchange(ctx context.Context, q Query) (*wire.Msg, error) {
	if !f.Configured() {
		return nil, ErrNoUpstream
	}
	if f.busy.Add(1) > int64(f.config.MaxConcurrent) {
		f.busy.Add(-1)
		f.metrics.rejects.Inc()
		return nil, ErrOverload
	}
	defer f.busy.Add(-1)
	key := q.key()
	result := f.flight.DoChan(key, func() (any, error) {
		// Others may join this flight, so it does not end with the first caller.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.config.Timeout)
		defer cancel()
		return f.fetch(ctx, key, q)
	})
	select {
	case r := <-result:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*wire.Msg).Copy(), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// fetch resolves a query and keeps the reply. A panic in a flight would end the
// process, so it becomes an error here.
func (f *Forwarder) fetch(ctx context.Context, key string, q Query) (reply *wire.Msg, err error) {
	defer func() {
		if problem := recover(); problem != nil {
			f.config.Log.Error("forwarding a query panicked", "problem", problem, "stack", string(debug.Stack()))
			reply, err = nil, fmt.Errorf("forwarding panicked: %v", problem)
		}
	}()
	if reply, err = f.resolve(ctx, q); err == nil {
		f.cache.put(key, reply)
	}
	return reply, err
}

// outcome is the end of one attempt.
type outcome struct {
	upstream *upstream
	reply    *wire.Msg
	err      error
}

// resolve asks one upstream after the other, each next one when the previous
// has failed or has been waited for long enough, and takes the first usable
// reply of any of them.
func (f *Forwarder) resolve(ctx context.Context, q Query) (*wire.Msg, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	plan := f.plan()
	if len(plan) == 0 {
		return nil, errors.New("every upstream leads back to this server: " + strings.Join(f.Describe(), "; "))
	}
	a := attempts{forwarder: f, query: q, plan: plan, outcomes: make(chan outcome, len(plan))}
	a.start(ctx)
	patience := time.NewTicker(f.config.Patience)
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
		case <-ctx.Done():
			return a.give("no upstream answered within " + f.config.Timeout.String())
		}
	}
	return a.give("every upstream failed")
}

// impatient notes that the upstream asked last has not answered in time, asks
// the next one as well, and reports whether there is still anything to wait for.
func (a *attempts) impatient(ctx context.Context) bool {
	if a.awaited != nil {
		a.forwarder.failed(a.awaited, errSlow)
		a.awaited = nil
	}
	if a.worse != nil && a.allAsked() {
		return false
	}
	a.start(ctx)
	return true
}

var errSlow = errors.New("no answer in time")

// attempts is the state of one query.
type attempts struct {
	forwarder *Forwarder
	query     Query
	plan      []*upstream
	outcomes  chan outcome
	next      int
	pending   int
	// awaited is the upstream asked last, until it answers, fails or is late.
	awaited *upstream
	// worse is a reply that is taken only if no better one comes.
	worse  *wire.Msg
	errors []string
}

// start asks the next upstream of the plan, if there is one left.
func (a *attempts) start(ctx context.Context) {
	if a.next >= len(a.plan) {
		return
	}
	u := a.plan[a.next]
	a.next++
	a.pending++
	a.awaited = u
	go func() {
		started := time.Now()
		reply, err := u.exchange(ctx, a.query.message())
		a.forwarder.metrics.exchanged(u, reply, err, time.Since(started))
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
		a.errors = append(a.errors, o.upstream.address.String()+": "+o.err.Error())
		if ctx.Err() == nil {
			a.forwarder.failed(o.upstream, o.err)
		}
		a.start(ctx)
		return nil
	}
	a.forwarder.healed(o.upstream)
	if o.reply.Rcode == wire.RcodeServerFailure || o.reply.Rcode == wire.RcodeRefused {
		// Another server may know better.
		a.worse = o.reply
		a.errors = append(a.errors, o.upstream.address.String()+": "+wire.RcodeToString[o.reply.Rcode])
		if !a.allAsked() {
			a.start(ctx)
		}
		return nil
	}
	return o.reply
}

// allAsked reports whether every upstream has been asked at least once.
func (a *attempts) allAsked() bool {
	return a.next >= len(a.plan)/retries
}

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
