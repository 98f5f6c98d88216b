package forward

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"
)

// Policy is the order in which healthy upstreams are asked.
type Policy string

// The policies, named as in CoreDNS.
const (
	Random     Policy = "random"
	Sequential Policy = "sequential"
)

// Config says whom to ask and within which bounds. The zero Config has no
// upstreams; every other field has a default.
type Config struct {
	// Upstreams are the servers to ask. If empty, ResolvConf is the file that
	// names them; if that is empty too, nothing is forwarded.
	Upstreams  []netip.AddrPort
	ResolvConf string
	// Policy is Random by default.
	Policy Policy
	// Patience is how long one upstream is waited for before the next one is
	// asked as well: 450 ms. Timeout ends a query: 5 s.
	Patience time.Duration
	Timeout  time.Duration
	// MaxConcurrent bounds the queries under way: 1000.
	MaxConcurrent int
	// CacheEntries and CacheBytes bound the cache: 10000, and 32 MiB of packed
	// messages. A negative CacheEntries turns it off.
	CacheEntries int
	CacheBytes   int
	// MaxTTL bounds how long an answer is kept, whatever its TTL: 30 s.
	MaxTTL time.Duration
	// Own tells whether an address leads to this server itself; such upstreams
	// are not asked. May be nil.
	Own func(netip.AddrPort) bool
	Log *slog.Logger
}

func (c Config) complete() (Config, error) {
	for _, upstream := range c.Upstreams {
		if !upstream.IsValid() || upstream.Port() == 0 || upstream.Addr().IsUnspecified() || upstream.Addr().IsMulticast() {
			return c, fmt.Errorf("upstream %s is not an address and port that can be asked: write ADDRESS:PORT", upstream)
		}
	}
	if c.Policy == "" {
		c.Policy = Random
	}
	if c.Policy != Random && c.Policy != Sequential {
		return c, fmt.Errorf("upstream policy %q is unknown: use %q or %q", c.Policy, Random, Sequential)
	}
	if c.Patience < 0 || c.Timeout < 0 || c.MaxTTL < 0 || c.MaxConcurrent < 0 || c.CacheBytes < 0 {
		return c, errors.New("limits of forwarding must not be negative")
	}
	c.Patience = orDefault(c.Patience, 450*time.Millisecond)
	c.Timeout = orDefault(c.Timeout, 5*time.Second)
	c.MaxTTL = orDefault(c.MaxTTL, 30*time.Second)
	c.MaxConcurrent = orDefault(c.MaxConcurrent, 1000)
	c.CacheEntries = orDefault(c.CacheEntries, 10_000)
	c.CacheBytes = orDefault(c.CacheBytes, 32<<20)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Own == nil {
		c.Own = func(netip.AddrPort) bool { return false }
	}
	return c, nil
}

func orDefault[T comparable](value, standard T) T {
	var zero T
	if value == zero {
		return standard
	}
	return value
}
