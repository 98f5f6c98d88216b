package proxy

import (
	"context"
	"crypto/tls"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/fairlead-net/fairlead/internal/l7"
)

const (
	// maxChecks bounds the health checks that are under way, maxOfNamespace those of one
	// namespace: endpoints that do not answer must not hold up the checks of others. What finds
	// no place comes later.
	maxChecks, maxOfNamespace = 256, 32
	// maxCheckHead bounds the header of an answer; its body is not read.
	maxCheckHead = 64 << 10
)

// checkup is what is known of an endpoint's checks.
type checkup struct {
	// due is when the next one is; the clock's goroutine uses it. busy is set while one is
	// under way.
	due  int64
	busy atomic.Bool
	// good and bad are results in a row; the lock of the backend's shared guards them.
	good, bad int
}

// checks counts the health checks that are under way, by namespace.
type checks struct {
	mu  sync.Mutex
	all int
	of  map[string]int
}

// begin reports whether there may be one more.
func (c *checks) begin(namespace string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all >= maxChecks || c.of[namespace] >= maxOfNamespace {
		return false
	}
	if c.of == nil {
		c.of = map[string]int{}
	}
	c.all++
	c.of[namespace]++
	return true
}

func (c *checks) end(namespace string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if c.of[namespace]--; c.of[namespace] == 0 {
		delete(c.of, namespace)
	}
}

// check begins the health checks that are due, of a backend that has any. It is called now and
// then.
func (p *Proxy) check(b *backend, now int64) {
	by := &b.balance.Check
	if by.Protocol == 0 {
		b.unchecked()
		return
	}
	namespace := b.id.Service.Namespace
	for _, e := range b.endpoints {
		// The interval may have become shorter since.
		if left := e.check.due - now; left > 0 && left <= int64(by.Interval)*11/10 || e.check.busy.Load() {
			continue
		}
		if !p.checks.begin(namespace) {
			return
		}
		// Gateways that start at the same time do not ask at the same time for ever.
		e.check.due = now + int64(float64(by.Interval)*(0.9+0.2*rand.Float64()))
		e.check.busy.Store(true)
		p.background.Go(func() {
			defer p.checks.end(namespace)
			defer e.check.busy.Store(false)
			ctx, cancel := context.WithTimeout(p.ctx, by.Timeout)
			defer cancel()
			p.shield(func() {
				well := p.isWell(ctx, e, by)
				if p.ctx.Err() == nil && b.judge(e, well, p.clock.now()) {
					p.config.Log.Warn("health checks find an endpoint other than before", "backend", b.id, "endpoint", e.place, "well", well)
				}
			})
		})
	}
}

// unchecked forgets what checks have found, once there are none.
func (b *backend) unchecked() {
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
