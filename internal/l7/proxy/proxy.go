package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/acme"
	"github.com/fairlead-net/fairlead/internal/l7/htpasswd"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// Proxy serves Tables. Make one with New, begin with Start, give it Tables with
// Apply, and end it with Close.
type Proxy struct {
	// config is that of the start, wanted the last one that was set, and inForce that one
	// with what the Table says.
	config, wanted Config
	inForce        atomic.Pointer[Config]
	clock          *clock
	shards         int
	works          sync.Pool
	bulks          sync.Pool
	tally          *tallies
	// book is where requests are written down; nil: nowhere. books are the goroutines of it
	// and of those before it that still write; lines counts for all there were.
	book  atomic.Pointer[logbook]
	books sync.WaitGroup
	lines lineCounts
	// match is l7.Routes.Match.
	match func(*l7.Routes, *l7.Request) *l7.Route
	// asks is l7.Routes.AsksCertificate.
	asks func(routes *l7.Routes, host string) bool
	// normalize reads a path: what is matched, and what is sent on.
	normalize func(path string) (match, wire string, err error)

	// resolver finds the addresses of names, of which forbidden tells those that are not
	// connected to.
	resolver  *net.Resolver
	forbidden func(netip.Addr) bool
	own       *ownAddresses

	state        atomic.Pointer[state]
	certificates atomic.Pointer[Certificates]
	authorities  atomic.Pointer[Authorities]
	contents     atomic.Pointer[Contents]
	answers      atomic.Pointer[acme.Answers]
	// passwords checks those of basic authentication, asker asks other servers who is let
	// in, decisions are what they said.
	passwords *htpasswd.Verifier
	asker     *http.Client
	decisions decisions
	limiters  limiters
	// mirrors has a place for each copy of a request that is under way, by the namespace
	// whose it is.
	mirrors *portions[string]
	// inspecting has a place for each processor that rules may be evaluated on.
	inspecting chan struct{}
	// today is time.Now.
	today  func() time.Time
	checks *checks
	// connections is the number of those of clients, guests is whose they are.
	connections atomic.Int64
	guests      guests
	// streams is the number of requests of HTTP/2 under way, waiting that of goroutines
	// that wait for one in jobs.
	streams, waiting atomic.Int64
	jobs             chan job
	// mourned is when a panic was last logged; 0: never.
	mourned atomic.Int64
	// closing is set when readiness is withdrawn, draining when no more connections are
	// accepted.
	started, closing, draining atomic.Bool

	// ctx ends what happens in the background; serving are the goroutines of listeners
	// and connections.
	ctx                 context.Context
	cancel              context.CancelFunc
	background, serving sync.WaitGroup
	// laid are connections of HTTP/2 to endpoints.
	laid sync.WaitGroup

	tickets tickets
	// mu guards Start, Apply and Close, listeners and tickets.
	mu        sync.Mutex
	listeners map[string]*listener
	// udp are the listeners of UDP, flows the places for their sessions.
	udp    map[string]*datagrams
	flows  *portions[netip.Addr]
	closed bool
}

// state is what a Table becomes. It is never changed.
type state struct {
	table    l7.Table
	backends pmap.Map[l7.BackendID, *backend]
}

// Certificates are what HTTPS listeners show, by the names in Tables; the zero name's is
// for clients that none is for.
type Certificates map[l7.CertificateID]*tls.Certificate

// New returns a proxy that does nothing yet. Errors say which field of the Config
// to correct.
func New(config Config) (*Proxy, error) {
	config, err := config.complete()
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		config: config, clock: newClock(config.tick()), shards: runtime.GOMAXPROCS(0),
		listeners: map[string]*listener{}, udp: map[string]*datagrams{}, flows: newPortions[netip.Addr](config.MaxSessions), match: (*l7.Routes).Match, asks: (*l7.Routes).AsksCertificate, normalize: l7.Normalize, tally: newTallies(),
		resolver: new(net.Resolver), own: &ownAddresses{list: net.InterfaceAddrs}, jobs: make(chan job), today: time.Now,
		guests: guests{of: map[netip.Addr]*guest{}}, checks: newChecks(),
	}
	p.wanted = config
	config.unbounded = config.TrustedProxies
	p.inForce.Store(&config)
	p.forbidden = func(a netip.Addr) bool {
		now := p.settings()
		return (&reach{allowed: now.AllowedRanges, denied: now.DeniedRanges, own: p.own}).forbids(a)
	}
	limits := config.limits()
	p.works.New = func() any { return newWork(limits) }
	p.bulks.New = func() any { return new([bulkSize]byte) }
	p.state.Store(new(state))
	p.certificates.Store(new(Certificates))
	p.authorities.Store(new(Authorities))
	p.contents.Store(new(Contents))
	p.answers.Store(new(acme.Answers))
	p.filters()
	p.ctx, p.cancel = context.WithCancel(context.Background())
	if config.Registry != nil {
		return p, config.Registry.Register(newMetrics(p))
	}
	return p, nil
}

// Collector reports what the proxy has counted, for a registry of the caller's.
func (p *Proxy) Collector() prometheus.Collector { return newMetrics(p) }

// filters prepares what Filters of Routes need.
func (p *Proxy) filters() {
	p.passwords = htpasswd.NewVerifier((p.shards+1)/2, maxPasswords)
	p.inspecting = make(chan struct{}, (p.shards+1)/2)
	p.mirrors = newPortions[string](maxMirrors)
	p.decisions.of = map[string]*decided{}
	p.limiters.of = map[desired.Ref]*limiter{}
	p.asker = p.newAsker()
}

// tick is how exact deadlines have to be.
func (c *Config) tick() time.Duration {
	least := min(c.HeadTimeout, c.IdleTimeout, c.BodyTimeout, c.ReadTimeout, c.WriteTimeout, c.ContinueTimeout, c.TunnelTimeout)
	return min(max(least/8, 5*time.Millisecond), 250*time.Millisecond)
}

// Start opens the listeners of the Table, if there is one already, and begins to
// serve. Errors name the listener and what to do; Apply tries again.
func (p *Proxy) Start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.started.Load() || p.closed {
		return errors.New("the proxy has been started or closed already")
	}
	p.started.Store(true)
	p.settle()
	p.background.Go(func() { p.clock.run(p.ctx, p.everyTick(), p.shield) })
	return p.listen(ctx)
}

// everyTick returns what is done now and then: connections to endpoints that nobody
// needs are closed, and counters of routes that are gone forgotten.
func (p *Proxy) everyTick() func(now int64) {
	next := int64(0)
	return func(now int64) {
		if now < next {
			return
		}
		next = after(now, min(time.Second, p.settings().UpstreamIdleTimeout))
		for _, b := range p.state.Load().backends.All() {
			p.shield(func() {
				b.look(now)
				b.unchecked()
			})
			for _, e := range b.all {
				p.shield(func() { e.prune(now - int64(p.settings().UpstreamIdleTimeout)) })
			}
		}
		p.shield(func() { p.check(p.state.Load().backends.All(), now) })
		p.shield(func() { p.lookAtTickets(time.Now()) })
		p.shield(func() { p.tally.prune(now) })
		p.shield(p.guests.prune)
		p.shield(func() { p.limiters.prune(now - int64(forgetLimits)) })
	}
}

// Apply makes want what is served, from the next request on. Listeners that are
// wanted no more close, new ones open; an error names those that cannot, and the rest
// is served nevertheless.
func (p *Proxy) Apply(ctx context.Context, want l7.Table) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errors.New("the proxy is closed")
	}
	before := p.state.Load()
	edit := before.backends.Edit()
	var gone []*backend
	for change := range pmap.Diff(before.table.Backends, want.Backends) {
		old, _ := edit.Get(change.Key)
		if change.HasNew {
			edit.Set(change.Key, newBackend(change.New, old, p.shards, p.clock.now()))
		} else if edit.Delete(change.Key); old != nil {
			gone = append(gone, old)
		}
	}
	p.state.Store(&state{table: want, backends: edit.Map()})
	if before.table.Engine != want.Engine {
		p.settle()
	}
	p.tally.turn()
	for _, b := range gone {
		b.close()
	}
	if !p.started.Load() {
		return nil
	}
	return p.listen(ctx)
}

// SetCertificates makes these what handshakes show from now on, with clients and with
// endpoints whose Route names one.
func (p *Proxy) SetCertificates(certificates Certificates) { p.certificates.Store(&certificates) }

// listen opens and closes listeners so that they are those of the Table.
func (p *Proxy) listen(ctx context.Context) error {
	now := p.state.Load()
	for name, l := range p.listeners {
		if l.in(now) != nil {
			l.last.Store(now)
			continue
		}
		delete(p.listeners, name)
		l.drain()
	}
	var failures []error
	for name, spec := range now.table.Listeners {
		if p.listeners[name] != nil || spec.Protocol == l7.UDP {
			continue
		}
		l, err := p.newListener(ctx, name, spec)
		if err != nil {
			failures = append(failures, fmt.Errorf("listener %s: %w", name, err))
			continue
		}
		p.listeners[name] = l
		p.serving.Go(l.serve)
		if l.quic != nil {
			p.serving.Go(l.quic.serve)
		}
	}
	return errors.Join(append(failures, p.listenUDP(ctx, now)...)...)
}

// Addresses returns where a listener accepts connections; none if it does not.
func (p *Proxy) Addresses(name string) []netip.AddrPort {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.listeners[name]; l != nil {
		return []netip.AddrPort{l.address()}
	}
	if l := p.udp[name]; l != nil {
		return []netip.AddrPort{l.address()}
	}
	return nil
}

// Ready reports whether the proxy serves all listeners of a Table, but for those of TCP
// and UDP: a port that is taken must not keep requests away. If not, reasons say why.
func (p *Proxy) Ready() (ready bool, reasons []string) {
	if p.closing.Load() {
		return false, []string{"the proxy is closing"}
	}
	if !p.started.Load() {
		return false, []string{"the proxy has not been started"}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	want := p.state.Load().table
	if want.Listeners == nil {
		return false, []string{"no routes have arrived yet"}
	}
	for name, spec := range want.Listeners {
		if p.listeners[name] == nil && (spec.Protocol == l7.HTTP || spec.Protocol == l7.HTTPS) {
			reasons = append(reasons, fmt.Sprintf("listener %s is not open", name))
		}
	}
	slices.Sort(reasons)
	return len(reasons) == 0, reasons
}

// Close withdraws readiness, goes on for Config.Lameduck, then accepts no more
// connections and waits for those there are, at most for Config.DrainTimeout.
func (p *Proxy) Close() error {
	p.closing.Store(true)
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	listeners, udp := p.listeners, p.udp
	p.listeners, p.udp = map[string]*listener{}, map[string]*datagrams{}
	p.mu.Unlock()
	if p.started.Load() {
		p.config.Log.Info("proxy is closing", "lameduck", p.settings().Lameduck, "drain", p.settings().DrainTimeout)
		time.Sleep(p.settings().Lameduck)
	}
	p.draining.Store(true)
	for _, l := range listeners {
		l.drain()
	}
	for _, l := range udp {
		l.drain()
	}
	p.wait()
	p.cancel()
	p.background.Wait()
	p.waitForBooks()
	for _, b := range p.state.Load().backends.All() {
		b.close()
	}
	p.clock.closeAll() // a trunk that was replaced belongs to no backend any more
	p.laid.Wait()
	return nil
}

// wait waits for all connections, and ends those that take longer than they may.
func (p *Proxy) wait() {
	done := make(chan struct{})
	go func() {
		p.serving.Wait()
		close(done)
	}()
	timeout := time.NewTimer(p.settings().DrainTimeout)
	defer timeout.Stop()
	select {
	case <-done:
	case <-timeout.C:
		p.cancel() // nor are connections to upstreams made any more
		p.clock.closeAll()
		<-done
	}
}
