package bgp

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/fairlead-net/fairlead/internal/announce"
	"github.com/fairlead-net/fairlead/internal/announce/bgp/bfd"
	"github.com/fairlead-net/fairlead/internal/desired"
)

// usualDrain is how long routers have to turn to other nodes before routes go.
const usualDrain = 5 * time.Second

// Config is what a Plane is made with.
type Config struct {
	Log *slog.Logger
	// NodeName makes the router ID where nothing else does.
	NodeName string
	// RouterID is an IPv4 address of the node; not valid if it has none. BGPPeers may
	// name another. It should be the same after a restart.
	RouterID netip.Addr
	// Drain is how long routers are asked to prefer other nodes (RFC 8326) before the
	// routes of a node that is to announce nothing are withdrawn; 0 means 5 s.
	Drain time.Duration
}

// Plane keeps the sessions with routers, and what they are told, equal to the last
// applied Table. Make one with New. Its methods are safe for concurrent use.
type Plane struct {
	config        Config
	log           *slog.Logger
	journal       *journal
	bfd           *bfd.Plane
	wake, changed chan struct{}
	stop          context.CancelFunc
	running       context.Context
	stopped       sync.WaitGroup

	mu     sync.Mutex
	closed bool
	// plan is that of the last Table of an available node, leaving the one that takes
	// its place for a time when the node is no longer, and left what counts then: no
	// more than the routes to the node's own pods.
	plan, leaving, left plan
	unavailable         string
	leaveAt             time.Time
	server              *server // nil while there is no session to make
	routerID            netip.Addr
	entries             map[desired.Name]*entry
	links               map[string]*neighbourhood
	failed              error // of the last reconciliation
}

// New returns a Plane without sessions. It belongs to the network namespace of the
// process, and needs CAP_NET_ADMIN for passwords and CAP_NET_RAW for routers that are
// named by an interface. A process must not have two of them at work at once.
func New(config Config) (*Plane, error) {
	if config.NodeName == "" {
		return nil, errors.New("a node without a name cannot have a router ID")
	}
	if config.Drain == 0 {
		config.Drain = usualDrain
	}
	if !config.RouterID.Is4() {
		config.RouterID = hashedRouterID(config.NodeName)
	}
	p := &Plane{
		config: config, log: config.Log.With("component", "bgp"), wake: make(chan struct{}, 1), changed: make(chan struct{}, 1),
		bfd: bfd.New(bfd.Config{Log: config.Log}), entries: map[desired.Name]*entry{}, links: map[string]*neighbourhood{},
	}
	p.journal = newJournal(func() { signal(p.wake) })
	p.running, p.stop = context.WithCancel(context.Background())
	p.stopped.Go(p.run)
	return p, nil
}

// Changed receives a value after something that Peers returns may have changed.
func (p *Plane) Changed() <-chan struct{} { return p.changed }

// Apply makes the sessions, and what routers are told, those of a Table. A Table that
// is not synced changes nothing. One that is Unavailable has routers asked to prefer
// other nodes, and after Config.Drain the routes withdrawn that it does not have; with
// no peers in it, the sessions end. The error names what could
// not be done, which is tried again; what a router refuses is no error but part of
// its Status.
func (p *Plane) Apply(ctx context.Context, want announce.Table) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return os.ErrClosed
	}
	if err := ctx.Err(); err != nil || !want.Synced {
		return err
	}
	now := time.Now()
	next := compile(want)
	switch {
	case want.Unavailable == "":
		p.plan = next
	case p.unavailable == "":
		p.leaving, p.leaveAt = p.plan.leaving(), now
		if p.plan.announces() {
			p.leaveAt = now.Add(p.config.Drain)
			p.log.Info("asking routers to prefer other nodes", "why", want.Unavailable, "for", p.config.Drain)
		}
	}
	p.unavailable, p.left = want.Unavailable, next
	signal(p.wake) // for what is to be done later
	return p.reconcile(now)
}

// target is the plan that counts now.
func (p *Plane) target(now time.Time) plan {
	switch {
	case p.unavailable == "":
		return p.plan
	case now.Before(p.leaveAt):
		return p.leaving
	}
	return p.left
}

// run does what the time, a router, or BFD calls for, until the Plane is closed.
func (p *Plane) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-p.running.Done():
			return
		case <-p.wake:
		case <-p.bfd.Changed():
		case <-timer.C:
		}
		timer.Reset(p.turn())
		signal(p.changed)
	}
}

// turn reconciles, and returns when to do it again.
func (p *Plane) turn() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return time.Hour
	}
	before := p.failed
	if err := p.reconcile(time.Now()); err != nil && (before == nil || before.Error() != err.Error()) {
		p.log.Error("cannot do what was asked of BGP, trying again", "error", err)
	}
	return max(time.Until(p.next(time.Now())), 10*time.Millisecond)
}

// Close ends all sessions in the way that lets routers which restart gracefully keep
// the routes, and leaves nothing running.
func (p *Plane) Close() error {
	p.mu.Lock()
	var err error
	if !p.closed {
		p.closed = true
		// BGP first: a router that has just seen BFD end would not keep the routes.
		err = p.unserve()
		err = errors.Join(err, p.bfd.Close())
		for _, link := range p.links {
			link.close()
		}
	}
	p.mu.Unlock()
	p.stop()
	p.stopped.Wait()
	return err
}

// signal leaves a value in a channel of size one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
