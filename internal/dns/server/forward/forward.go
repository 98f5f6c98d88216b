package forward

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
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

// Forwarder asks upstream servers. Make one with New, let Run watch over it. It does
// not change: Next makes one with another Config.
type Forwarder struct {
	*shared
	config Config
	cache  *cache
	flight singleflight.Group
	// zones are ordered by length, the longest first.
	zones []*zone
}

// shared is what Forwarders that follow one another have in common.
type shared struct {
	began   time.Time
	own     func(netip.AddrPort) bool
	tap     func(Attempt)
	log     *slog.Logger
	metrics *metrics
	loops   loops
	packets packets
	// current is the Forwarder that metrics tell of.
	current atomic.Pointer[Forwarder]
	// ctx ends what no query waits for; stop does that.
	ctx  context.Context
	stop context.CancelFunc
	// dial is dialNetwork but in tests.
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// New returns a Forwarder that has read its upstreams but asked none yet. An
// unreadable resolv.conf is no error: Describe names it, and Run tries again.
func New(config Config) (*Forwarder, error) {
	config, err := config.complete()
	if err != nil {
		return nil, err
	}
	s := &shared{began: time.Now(), own: config.Own, tap: config.Tap, log: config.Log, dial: dialNetwork}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.metrics = newMetrics(s)
	s.loops.sent = map[string]*probe{}
	f := &Forwarder{shared: s, config: config, cache: newCache(config.Cache, new(cacheCounts))}
	for _, z := range config.Zones {
		f.zones = append(f.zones, newZone(s, z, config.limits()))
	}
	f.current.Store(f)
	return f, nil
}

// Configured reports whether there is any upstream to ask.
func (f *Forwarder) Configured() bool {
	for _, z := range f.zones {
		if len(*z.upstreams.Load()) > 0 {
			return true
		}
	}
	return false
}

// Timeout returns how long Exchange takes at most.
func (f *Forwarder) Timeout() time.Duration { return f.config.Timeout }

// Exchange returns the reply to a query from an upstream; use Cached first. The
// caller may change it. It ends with ctx or after the configured timeout. If no
// upstream knows better it may be a reply that has expired, see Stale.
func (f *Forwarder) Exchange(ctx context.Context, q Query) (*wire.Msg, error) {
	z := f.route(q.Name)
	if z == nil {
		return nil, ErrNoUpstream
	}
	key, err := q.key()
	if err != nil {
		return nil, err
	}
	if !z.enter() {
		return nil, ErrOverload
	}
	defer z.leave()
	result := f.fly(z, key, q)
	var stale <-chan time.Time
	if f.config.Cache.Stale.Verify && f.config.Cache.Stale.For > 0 {
		timer := time.NewTimer(f.config.Cache.Stale.VerifyTimeout)
		defer timer.Stop()
		stale = timer.C
	}
	for {
		select {
		case r := <-result:
			if r.Err != nil {
				return nil, r.Err
			}
			return r.Val.(*wire.Msg).Copy(), nil
		case <-stale:
			// What is asked goes on, for the next client.
			if reply := f.stale(key); reply != nil {
				return reply, nil
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// enter counts a query, unless there are too many already.
func (z *zone) enter() bool {
	if z.busy.Add(1) > int64(z.MaxConcurrent) {
		z.busy.Add(-1)
		z.shared.metrics.rejects.Inc()
		return false
	}
	return true
}

func (z *zone) leave() { z.busy.Add(-1) }

// fly asks upstream, or joins those who are doing so for the same key. Others
// may join, so it does not end with the caller.
func (f *Forwarder) fly(z *zone, key []byte, q Query) <-chan singleflight.Result {
	return f.flight.DoChan(string(key), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(f.ctx), f.config.Timeout)
		defer cancel()
		return f.fetch(ctx, z, key, q)
	})
}

// fetch resolves a query and keeps the reply. A panic in a flight would end the
// process, so it becomes an error here.
func (f *Forwarder) fetch(ctx context.Context, z *zone, key []byte, q Query) (reply *wire.Msg, err error) {
	defer func() {
		if problem := recover(); problem != nil {
			f.log.Error("forwarding a query panicked", "problem", problem, "stack", string(debug.Stack()))
			reply, err = nil, fmt.Errorf("forwarding panicked: %v", problem)
		}
	}()
	reply, err = z.resolve(ctx, q)
	if err != nil || reply.Rcode != wire.RcodeSuccess && reply.Rcode != wire.RcodeNameError {
		if old := f.stale(key); old != nil {
			return old, nil
		}
	}
	if err != nil {
		return nil, err
	}
	f.metrics.scrubbed.Add(float64(scrub(q, reply)))
	f.cache.put(key, q.Name, reply, f.cache.at(time.Now()))
	return reply, nil
}
