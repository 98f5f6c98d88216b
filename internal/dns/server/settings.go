package server

import (
	"context"
	"slices"
	"time"

	"github.com/fairlead-net/fairlead/internal/dns"
	"github.com/fairlead-net/fairlead/internal/dns/rules"
	"github.com/fairlead-net/fairlead/internal/dns/server/forward"
)

// Settings are the part of a Config that can be changed while a server runs: MaxUDP,
// Lameduck, Autopath, Search, Blocks and Forward. They are made by Plane.Settings and
// never change.
type Settings struct {
	maxUDP   int
	lameduck time.Duration
	autopath bool
	search   []string
	blocks   blocks
	plain    bool // blocks make no difference
	// failures are about queries that fail, by the rules of their Block.
	failures  map[*rules.Rules]*failureLog
	taps      taps
	forwarder *forward.Forwarder
}

// live is what queries are answered by. It is replaced as a whole and never changed, so
// that a query which looks at it once is answered by one Table and its Settings.
type live struct {
	*Settings
	table dns.Table
}

// Settings returns those of a Config, for Change. Its other fields do not count. What
// of the forwarding stays as it is now keeps its connections and its cached replies.
// Errors say which field of the Config to correct.
func (p *Plane) Settings(config Config) (*Settings, error) {
	config, err := config.complete()
	if err != nil {
		return nil, err
	}
	forwarder, err := p.live.Load().forwarder.Next(config.Forward)
	if err != nil {
		return nil, err
	}
	return newSettings(config, forwarder, p), nil
}

func newSettings(c Config, f *forward.Forwarder, p *Plane) *Settings {
	s := &Settings{
		maxUDP: c.MaxUDP, lameduck: c.Lameduck, autopath: c.Autopath, search: c.Search,
		blocks: newBlocks(c.Blocks), failures: newFailureLogs(c.Blocks, p.lines), taps: p.newTaps(c.Blocks), forwarder: f,
	}
	s.plain = s.blocks.plain()
	return s
}

// Apply makes want the source of all further answers. It never fails.
func (p *Plane) Apply(ctx context.Context, want dns.Table) error {
	return p.Change(ctx, want, p.live.Load().Settings)
}

// Change makes a Table and Settings, at once, the source of all further answers.
// Queries that are under way end by those before. It never fails.
func (p *Plane) Change(_ context.Context, want dns.Table, with *Settings) error {
	p.changing.Lock()
	defer p.changing.Unlock()
	before := p.live.Load()
	if with != before.Settings {
		p.pauseKernel(with)
	}
	p.live.Store(&live{with, want})
	if with != before.Settings {
		for _, f := range before.failures {
			f.flush()
		}
		p.forwardBy(with.forwarder)
		p.tapBy(with.taps)
	}
	if with != before.Settings || !slices.Equal(before.table.ServerAddresses(), want.ServerAddresses()) {
		with.forwarder.CheckOwn()
	}
	p.tellKernel()
	if with != before.Settings {
		p.resumeKernel()
	}
	return nil
}

// startSettings watches over upstreams, and reports to collectors, from now on.
func (p *Plane) startSettings() {
	p.changing.Lock()
	defer p.changing.Unlock()
	p.watches, p.tapping = true, map[*tapStream]context.CancelFunc{}
	p.watch(p.live.Load().forwarder)
	p.tapBy(p.live.Load().taps)
}

// forwardBy lets a Forwarder take over. The caller holds changing.
func (p *Plane) forwardBy(f *forward.Forwarder) {
	f.TakeOver()
	if p.watches && f != p.watched {
		p.unwatch()
		p.watch(f)
	}
}

func (p *Plane) watch(f *forward.Forwarder) {
	var ctx context.Context
	p.watched = f
	ctx, p.unwatch = context.WithCancel(p.ctx)
	p.background.Go(func() { f.Run(ctx) })
}

// stopAll ends what goes on in the background.
func (p *Plane) stopAll() {
	p.changing.Lock()
	defer p.changing.Unlock()
	p.watches = false
	p.cancel()
}
