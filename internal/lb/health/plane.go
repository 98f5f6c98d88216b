package health

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// Config is what a Plane is made with.
type Config struct {
	// Addresses are the ranges of the node's addresses to listen on, as in
	// lb.Options.NodePortAddresses; none means all addresses, loopback included.
	Addresses []netip.Prefix
	// Healthy tells whether the proxy does its work on this node.
	Healthy func() bool
	Log     *slog.Logger
}

// Plane serves the health check ports of Services. Make one with New.
type Plane struct {
	config Config
	log    *slog.Logger

	mu sync.Mutex
	// open holds every listener by where it listens; the unspecified IPv6
	// address stands for all addresses of both families.
	open map[netip.AddrPort]*port
	// failed and shared say what Describe has to tell.
	failed, shared []string
	closed         bool
	// waiting are the answers of places that another program has.
	waiting map[netip.AddrPort]answer
	retrier *time.Timer
	// after is time.AfterFunc; tests have no clock.
	after func(time.Duration, func()) *time.Timer
}

// port is one listener.
type port struct {
	*server
	check *check
}

// New returns a Plane that listens nowhere yet.
func New(config Config) *Plane {
	return &Plane{config: config, log: config.Log.With("component", "health"), open: map[netip.AddrPort]*port{}, after: time.AfterFunc}
}

// Apply serves the health checks of want and, if want is synced, no others. It
// opens before it closes. The error names each Service and port that cannot be
// served and why; all others are served nevertheless.
func (p *Plane) Apply(ctx context.Context, want lb.Table) error {
	answers, shared := byPort(want)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errors.New("health checks are served no more")
	}
	p.shared, p.failed, p.waiting = shared, nil, map[netip.AddrPort]answer{}
	var problems []error
	wanted := map[netip.AddrPort]bool{}
	for _, number := range slices.Sorted(maps.Keys(answers)) {
		for _, at := range p.places(want, number) {
			wanted[at] = true
			if err := p.serve(ctx, at, answers[number]); err != nil {
				problems = append(problems, err)
				p.failed = append(p.failed, err.Error())
				p.waiting[at] = answers[number]
			}
		}
	}
	p.retryLater()
	for at, open := range p.open {
		if want.Synced && !wanted[at] {
			p.log.Info("health check port is closed", "address", at)
			open.close()
			delete(p.open, at)
		}
	}
	return errors.Join(problems...)
}

// retryLater tries the places that could not be opened again, and soon: a load
// balancer that asks at a port which kube-proxy has just left counts seconds.
func (p *Plane) retryLater() {
	if len(p.waiting) == 0 || p.retrier != nil {
		return
	}
	p.retrier = p.after(bindPause, p.retry)
}

func (p *Plane) retry() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.retrier = nil
	if p.closed {
		return
	}
	p.failed = nil
	for at, a := range p.waiting {
		if err := p.serve(context.Background(), at, a); err != nil {
			p.failed = append(p.failed, err.Error())
			continue
		}
		delete(p.waiting, at)
	}
	slices.Sort(p.failed)
	p.retryLater()
}

// byPort returns what each port has to answer, and in words which Services want
// one that another has: the first by name gets it.
func byPort(t lb.Table) (map[uint16]answer, []string) {
	answers := map[uint16]answer{}
	for name, c := range t.HealthChecks.All() {
		if has, taken := answers[c.Port]; !taken || name.Compare(has.service) < 0 {
			answers[c.Port] = answer{service: name, endpoints: c.Endpoints}
		}
	}
	var shared []string
	if len(answers) < t.HealthChecks.Len() {
		for name, c := range t.HealthChecks.All() {
			if has := answers[c.Port].service; has != name {
				shared = append(shared, fmt.Sprintf("Service %s is not served at health check port %d, which Service %s has: give it another", name, c.Port, has))
			}
		}
	}
	slices.Sort(shared)
	return answers, shared
}

// places returns where a port is to be served.
func (p *Plane) places(t lb.Table, number uint16) []netip.AddrPort {
	if len(p.config.Addresses) == 0 {
		return []netip.AddrPort{netip.AddrPortFrom(netip.IPv6Unspecified(), number)}
	}
	var places []netip.AddrPort
	for _, a := range t.NodeAddresses {
		if slices.ContainsFunc(p.config.Addresses, func(r netip.Prefix) bool { return r.Contains(a) }) {
			places = append(places, netip.AddrPortFrom(a, number))
		}
	}
	return places
}

// serve makes a place give an answer; only if nothing listens there it opens a
// socket.
func (p *Plane) serve(ctx context.Context, at netip.AddrPort, a answer) error {
	if open := p.open[at]; open != nil && open.alive() {
		open.check.answer.Store(&a)
		return nil
	}
	c := &check{healthy: p.config.Healthy}
	c.answer.Store(&a)
	listener, err := listen(ctx, at)
	if err != nil {
		return fmt.Errorf("health check of Service %s: %w", a.service, err)
	}
	p.open[at] = &port{server: newServer(listener, c, p.log), check: c}
	p.log.Info("health check port is open", "address", at, "service", a.service.String())
	return nil
}

// Close closes every port.
func (p *Plane) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.retrier != nil {
		p.retrier.Stop()
	}
	for at, open := range p.open {
		open.close()
		delete(p.open, at)
	}
	return nil
}

// Describe says in words what is served, and what is not and why.
func (p *Plane) Describe() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	services := map[desired.Name]bool{}
	for _, open := range p.open {
		services[open.check.answer.Load().service] = true
	}
	lines := []string{fmt.Sprintf("answers health checks of %d Services at %d listeners", len(services), len(p.open))}
	return append(append(lines, p.shared...), p.failed...)
}
