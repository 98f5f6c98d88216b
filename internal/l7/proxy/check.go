package proxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"iter"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/fairlead-net/fairlead/internal/l7"
)

const (
	// maxChecks bounds the health checks that are under way, but for one of each namespace.
	// Namespaces have portions of them: endpoints that do not answer must not hold up the
	// checks of others. What finds no place comes later.
	maxChecks = 256
	// maxCheckHead bounds the header of an answer; its body is not read.
	maxCheckHead = 64 << 10
)

// checkup is what is known of an endpoint's checks.
type checkup struct {
	// due is when the next one is; the lock of the checks guards it. busy is set while one is
	// under way.
	due  int64
	busy atomic.Bool
	// good and bad are results in a row; the lock of the backend's shared guards them.
	good, bad int
}

// checks are the health checks that are to be made. Each namespace has some goroutines that
// make one after the other: one in any case, which is enough for endpoints that answer, and
// more while there are places.
type checks struct {
	*portions[string]

	mu sync.Mutex
	// due are those that were due at the time of the last plan, by namespace, the longest so
	// last.
	due map[string][]checking
	now int64
}

// checking is an endpoint that is to be asked.
type checking struct {
	*backend
	*endpoint
}

func newChecks() *checks {
	c := &checks{portions: newPortions[string](maxChecks)}
	c.always = true
	return c
}

// plan notes what is due, and returns how much that is of each namespace.
func (c *checks) plan(backends iter.Seq2[l7.BackendID, *backend], now int64) (many map[string]int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now, c.due, many = now, map[string][]checking{}, map[string]int{}
	for id, b := range backends {
		by, namespace := &b.balance.Check, id.Service.Namespace
		if by.Protocol == 0 {
			continue
		}
		for _, e := range b.endpoints {
			// The interval may have become shorter since.
			if left := e.check.due - now; left > 0 && left <= int64(by.Interval)*11/10 || e.check.busy.Load() {
				continue
			}
			c.due[namespace] = append(c.due[namespace], checking{b, e})
			many[namespace]++
		}
	}
	for _, all := range c.due { // where there is too much to do, everybody's turn comes
		slices.SortStableFunc(all, func(a, b checking) int { return cmp.Compare(b.check.due, a.check.due) })
	}
	return many
}

// next takes one that is due, the longest so first, and reports whether there was one.
func (c *checks) next(namespace string) (one checking, is bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.due[namespace]
	last := len(all) - 1
	if last < 0 {
		return one, false
	}
	one, c.due[namespace] = all[last], all[:last]
	// Gateways that start at the same time do not ask at the same time for ever.
	one.check.due = c.now + int64(float64(one.balance.Check.Interval)*(0.9+0.2*rand.Float64()))
	one.check.busy.Store(true)
	return one, true
}

// check begins the health checks that are due, of backends that have any. It is called now
// and then.
func (p *Proxy) check(backends iter.Seq2[l7.BackendID, *backend], now int64) {
	for namespace, many := range p.checks.plan(backends, now) {
		for ; many > 0 && p.checks.take(namespace); many-- {
			p.background.Go(func() { p.goOn(namespace) })
		}
	}
}

// goOn makes the checks of a namespace, one after the other, while some are due and there is
// a place for each, as there is for the first one.
func (p *Proxy) goOn(namespace string) {
	for has := true; has; has = p.checks.take(namespace) {
		one, is := p.checks.next(namespace)
		if is {
			p.shield(func() { p.examine(one) })
		}
		if p.checks.give(namespace); !is {
			return
		}
	}
}

// examine asks an endpoint, and takes note of what comes of that.
func (p *Proxy) examine(one checking) {
	b, e, by := one.backend, one.endpoint, &one.balance.Check
	defer e.check.busy.Store(false)
	ctx, cancel := context.WithTimeout(p.ctx, by.Timeout)
	defer cancel()
	well := p.isWell(ctx, e, by)
	if p.ctx.Err() == nil && b.judge(e, well, p.clock.now()) {
		p.config.Log.Warn("health checks find an endpoint other than before", "backend", b.id, "endpoint", e.place, "well", well)
	}
}

// unchecked forgets what checks have found, once there are none.
func (b *backend) unchecked() {
	if b.balance.Check.Protocol != 0 {
		return
	}
	for _, e := range b.endpoints {
		if e.sick.Load() {
			e.sick.Store(false)
			b.shared.changed.Store(true)
		}
	}
}

// judge takes note of the result of a check, and reports whether it changes what the
// endpoint is taken for.
func (b *backend) judge(e *endpoint, well bool, now int64) bool {
	b.meter.checks[bit(well)].Add(1)
	b.shared.mu.Lock()
	defer b.shared.mu.Unlock()
	c, sick := &e.check, e.sick.Load()
	if well {
		c.good, c.bad = c.good+1, 0
	} else {
		c.good, c.bad = 0, c.bad+1
	}
	switch {
	case sick && c.good >= b.balance.Check.Healthy:
		e.born.Store(now)
	case sick || c.bad < b.balance.Check.Unhealthy:
		return false
	}
	e.sick.Store(!sick)
	b.refresh(now)
	b.shared.changed.Store(true)
	return true
}

// isWell asks an endpoint.
func (p *Proxy) isWell(ctx context.Context, e *endpoint, by *l7.HealthCheck) bool {
	if by.Protocol == l7.CheckTCP {
		conn, err := p.connect(ctx, e)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}
	scheme, at := "http", e.address.String()
	if by.Protocol == l7.CheckHTTPS {
		scheme = "https"
	}
	if e.host != "" {
		at = e.host
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+at+by.Path, nil)
	if err != nil {
		return false
	}
	request.Host = by.Host
	request.Header.Set("User-Agent", "fairlead-health-check")
	name := by.Host
	if host, _, err := net.SplitHostPort(name); err == nil {
		name = host
	}
	transport := &http.Transport{
		DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxCheckHead,
		// As with probes of Kubernetes and with requests, unless an Ingress asks for more.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: name},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := p.connect(ctx, e)
			if err != nil {
				return nil, err
			}
			return conn, nil
		},
	}
	defer transport.CloseIdleConnections()
	answer, err := transport.RoundTrip(request) // which follows no redirect
	if err != nil {
		return false
	}
	_ = answer.Body.Close()
	return answer.StatusCode >= 200 && answer.StatusCode < 400
}
