package forward

import (
	"context"
	"sync"
	"time"

	wire "github.com/miekg/dns"
)

const (
	// rereadPause is how often resolv.conf is looked at.
	rereadPause = 2 * time.Second
	// loopPause is how often an upstream that led back here is tried again.
	loopPause = 30 * time.Second
	// probeWait is how long a probe waits for a reply, as in CoreDNS.
	probeWait = time.Second
)

// late notes that an upstream has not answered a query in the usual time. Unless
// other queries have been answered since that one was sent, it is asked after
// others from now on, and a probe finds out whether it is there at all.
func (u *upstream) late(sent time.Time) {
	s := u.zone.shared
	if u.replied.Load() > int64(sent.Sub(s.began)) || u.suspect.Swap(true) {
		return
	}
	go u.probe(s.ctx)
}

func (u *upstream) failed(err error) {
	if u.strike() {
		u.zone.shared.log.Warn("upstream does not answer, asking others until it does", "upstream", u, "error", err)
	}
}

func (u *upstream) healed() {
	if u.heal() {
		u.zone.shared.log.Info("upstream answers again", "upstream", u)
	}
}

// probe asks the upstream the question of its zone's health check, unless that
// is being done; any reply heals it.
func (u *upstream) probe(ctx context.Context) {
	if u.probing.Swap(true) {
		return
	}
	defer u.probing.Store(false)
	ctx, cancel := context.WithTimeout(ctx, probeWait)
	defer cancel()
	q := Query{Name: u.zone.Probe.Name, Type: wire.TypeNS, Class: wire.ClassINET, noRecursion: u.zone.Probe.NoRecursion}
	_, err := u.exchange(ctx, q)
	switch {
	case err == nil:
		u.healed()
	case ctx.Err() != context.Canceled:
		u.zone.shared.metrics.probeFailed(u)
		u.failed(err)
	}
}

// Run keeps the upstreams and their health up to date until ctx ends. Then it ends
// all that goes on, unless another Forwarder has taken over.
func (f *Forwarder) Run(ctx context.Context) {
	var all sync.WaitGroup
	defer func() {
		all.Wait()
		f.end()
	}()
	for _, z := range f.zones {
		all.Go(func() { z.watch(ctx) })
	}
	f.findLoops(ctx, func(*upstream) bool { return true })
	reread, loop := time.NewTicker(rereadPause), time.NewTicker(loopPause)
	defer reread.Stop()
	defer loop.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-reread.C:
			for _, z := range f.zones {
				if z.reread() {
					f.findLoops(ctx, func(u *upstream) bool { return u.zone == z })
				}
			}
		case <-loop.C:
			f.findLoops(ctx, func(u *upstream) bool { return u.own.Load() })
		}
	}
}

// watch probes the upstreams of a zone that failed or owe an answer.
func (z *zone) watch(ctx context.Context) {
	tick := time.NewTicker(z.Probe.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, u := range *z.upstreams.Load() {
			if !u.own.Load() && (!u.healthy() || u.suspect.Load()) {
				go u.probe(ctx)
			}
		}
	}
}

// all returns the upstreams of every zone.
func (f *Forwarder) all() []*upstream {
	var list []*upstream
	for _, z := range f.zones {
		list = append(list, *z.upstreams.Load()...)
	}
	return list
}

// CheckOwn asks Config.Own again about every upstream; call it when its answer
// may have changed.
func (f *Forwarder) CheckOwn() {
	for _, u := range f.all() {
		if f.own(u.Address) && !u.own.Swap(true) {
			f.log.Error("upstream leads back to this server and is not asked: name another server in its place", "upstream", u)
		}
	}
}

// Describe says in words which servers are asked, and what is wrong with them.
func (f *Forwarder) Describe() []string {
	var lines []string
	if f.route(".") == nil {
		lines = append(lines, "no upstream: names outside of the cluster are refused")
		if f.Configured() {
			lines[0] = "no upstream: names outside of the cluster, and of the zones below, are refused"
		}
	}
	for _, z := range f.zones {
		lines = append(lines, z.describe()...)
	}
	return lines
}
