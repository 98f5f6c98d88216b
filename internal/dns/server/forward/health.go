package forward

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"time"

	wire "github.com/miekg/dns"
)

const (
	// probePause is the time between probes of an upstream that failed, as in
	// CoreDNS.
	probePause = 500 * time.Millisecond
	// rereadPause is how often resolv.conf is looked at.
	rereadPause = 2 * time.Second
	// loopPause is how often an upstream that led back here is tried again.
	loopPause = 30 * time.Second
	// retries is how often one upstream is asked the same: UDP loses packets.
	retries = 3
)

// plan returns the upstreams to ask in order. Unhealthy ones are asked only if
// no other is left; the whole list is repeated, for packets get lost.
func (f *Forwarder) plan() []*upstream {
	var healthy, failing []*upstream
	for _, u := range *f.upstreams.Load() {
		switch {
		case u.own.Load():
		case u.healthy():
			healthy = append(healthy, u)
		default:
			failing = append(failing, u)
		}
	}
	list := healthy
	if len(list) == 0 {
		if list = failing; len(list) > 0 {
			f.metrics.broken.Inc()
		}
	}
	if f.config.Policy == Random {
		rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
	return slices.Repeat(list, retries)
}

func (f *Forwarder) failed(u *upstream, err error) {
	if u.strike() {
		f.config.Log.Warn("upstream does not answer, asking others until it does", "upstream", u.address, "error", err)
	}
}

func (f *Forwarder) healed(u *upstream) {
	if u.heal() {
		f.config.Log.Info("upstream answers again", "upstream", u.address)
	}
}

// Run keeps the upstreams and their health up to date until ctx ends.
func (f *Forwarder) Run(ctx context.Context) {
	f.findLoops(ctx, func(*upstream) bool { return true })
	probe, reread, loop := time.NewTicker(probePause), time.NewTicker(rereadPause), time.NewTicker(loopPause)
	defer probe.Stop()
	defer reread.Stop()
	defer loop.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-probe.C:
			f.probe(ctx)
		case <-reread.C:
			if len(f.config.Upstreams) == 0 && f.reread() {
				f.findLoops(ctx, func(*upstream) bool { return true })
			}
		case <-loop.C:
			f.findLoops(ctx, func(u *upstream) bool { return u.own.Load() })
		}
	}
}

// probe asks every failing upstream for the root's servers; any reply heals it.
func (f *Forwarder) probe(ctx context.Context) {
	for _, u := range *f.upstreams.Load() {
		if u.healthy() || u.own.Load() {
			continue
		}
		go func() {
			ctx, cancel := context.WithTimeout(ctx, 2*probePause)
			defer cancel()
			if _, err := u.exchange(ctx, Query{Name: ".", Type: wire.TypeNS, Class: wire.ClassINET}.message()); err != nil {
				f.metrics.probeFailures.WithLabelValues(proxyName, u.address.String()).Inc()
				return
			}
			f.healed(u)
		}()
	}
}

// fileState tells whether a file was written since.
type fileState struct {
	modified time.Time
	size     int64
	problem  string
}

// reread reads resolv.conf if it changed and reports whether it did. A file
// that cannot be read, or names no server, leaves the upstreams as they are.
func (f *Forwarder) reread() bool {
	if f.config.ResolvConf == "" {
		return false
	}
	var now fileState
	var text []byte
	info, err := os.Stat(f.config.ResolvConf)
	if err == nil {
		now.modified, now.size = info.ModTime(), info.Size()
		text, err = os.ReadFile(f.config.ResolvConf)
	}
	if err != nil {
		now.problem = err.Error()
	}
	f.mu.Lock()
	same := f.resolv == now
	f.resolv = now
	f.mu.Unlock()
	if same {
		return false
	}
	servers, problems := ParseResolvConf(string(text))
	for i := range problems {
		problems[i] = f.config.ResolvConf + ": " + problems[i]
	}
	switch {
	case err != nil:
		problems = []string{"the upstreams of " + f.config.ResolvConf + " cannot be read: " + err.Error()}
	case len(servers) == 0:
		problems = append(problems, f.config.ResolvConf+" names no server")
	default:
		f.use(servers)
	}
	f.mu.Lock()
	f.problems = problems
	f.mu.Unlock()
	for _, problem := range problems {
		f.config.Log.Warn("upstreams are not as they should be", "problem", problem)
	}
	return true
}

// use makes servers the upstreams; those that stay keep their health.
func (f *Forwarder) use(servers []netip.AddrPort) {
	old := *f.upstreams.Load()
	var next []*upstream
	for _, server := range servers {
		i := slices.IndexFunc(old, func(u *upstream) bool { return u.address == server })
		if i >= 0 {
			next = append(next, old[i])
			continue
		}
		u := &upstream{address: server}
		u.own.Store(f.config.Own(server))
		next = append(next, u)
	}
	f.upstreams.Store(&next)
}

// CheckOwn asks Config.Own again about every upstream; call it when its answer
// may have changed.
func (f *Forwarder) CheckOwn() {
	for _, u := range *f.upstreams.Load() {
		if f.config.Own(u.address) && !u.own.Swap(true) {
			f.config.Log.Error("upstream leads back to this server and is not asked: name another server in its place", "upstream", u.address)
		}
	}
}

// Describe says in words which servers are asked, and what is wrong with them.
func (f *Forwarder) Describe() []string {
	var lines []string
	for _, u := range *f.upstreams.Load() {
		state := "answers"
		switch {
		case u.own.Load():
			state = "leads back to this server, so it is not asked; name another server in its place"
		case !u.healthy():
			state = fmt.Sprintf("has failed %d times in a row, so it is asked only if no other is left", u.strikes.Load())
		}
		if n := u.foreign.Load(); n > 0 {
			state += fmt.Sprintf("; %d packets from it answered no query", n)
		}
		lines = append(lines, "upstream "+u.address.String()+" "+state)
	}
	if len(lines) == 0 {
		lines = append(lines, "no upstream: names outside of the cluster are refused")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return append(lines, f.problems...)
}
