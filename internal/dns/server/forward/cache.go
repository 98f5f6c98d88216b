package forward

import (
	"sync"
	"time"

	wire "github.com/miekg/dns"
)

// maxCached is the largest message that is kept, in bytes: a few huge answers
// must not push out thousands of usual ones.
const maxCached = 8 << 10

// failureTTL is how long a failure is remembered, so that a name that cannot
// be resolved does not load its servers with retries (RFC 9520, section 3.2).
const failureTTL = time.Second

// cache keeps replies for their TTL. It is safe for concurrent use.
type cache struct {
	maxEntries, maxBytes int
	maxTTL               time.Duration
	now                  func() time.Time

	mu      sync.Mutex
	entries map[string]*cached
	bytes   int
}

// cached is a reply that nobody writes any more.
type cached struct {
	reply   *wire.Msg
	stored  time.Time
	expires time.Time
	size    int
}

func newCache(c Config) *cache {
	return &cache{maxEntries: c.CacheEntries, maxBytes: c.CacheBytes, maxTTL: c.MaxTTL, now: time.Now, entries: map[string]*cached{}}
}

// get returns a copy of the reply kept under key with TTLs as they are now.
func (c *cache) get(key string) (*wire.Msg, bool) {
	now := c.now()
	c.mu.Lock()
	e := c.entries[key]
	if e != nil && !now.Before(e.expires) {
		c.drop(key, e)
		e = nil
	}
	c.mu.Unlock()
	if e == nil {
		return nil, false
	}
	reply := e.reply.Copy()
	age := uint32(now.Sub(e.stored) / time.Second)
	for _, section := range [][]wire.RR{reply.Answer, reply.Ns, reply.Extra} {
		for _, rr := range section {
			if h := rr.Header(); h.Rrtype != wire.TypeOPT {
				h.Ttl -= min(h.Ttl, age)
			}
		}
	}
	return reply, true
}

// put keeps a reply if it may be kept. The caller must not write it afterwards.
func (c *cache) put(key string, reply *wire.Msg) {
	ttl := min(lifetime(reply), c.maxTTL)
	size := reply.Len() + len(key)
	if ttl <= 0 || size > maxCached || c.maxEntries <= 0 || reply.Truncated {
		return
	}
	now := c.now()
	e := &cached{reply: reply, stored: now, expires: now.Add(ttl), size: size}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.entries[key]; old != nil {
		c.drop(key, old)
	}
	for k, victim := range c.entries {
		if len(c.entries) < c.maxEntries && c.bytes+size <= c.maxBytes {
			break
		}
		// The order of a map is random enough: what is asked often comes back at
		// once, and no list has to be kept in order on every hit.
		c.drop(k, victim)
	}
	c.entries[key], c.bytes = e, c.bytes+size
}

func (c *cache) drop(key string, e *cached) {
	delete(c.entries, key)
	c.bytes -= e.size
}

func (c *cache) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.entries)
}

// lifetime returns how long a reply may be kept: the smallest TTL of its
// records; for negative answers that of their SOA record, bounded by its
// minimum, and without one not at all (RFC 2308, section 5).
func lifetime(reply *wire.Msg) time.Duration {
	switch {
	case reply.Rcode == wire.RcodeServerFailure:
		return failureTTL
	case reply.Rcode != wire.RcodeSuccess && reply.Rcode != wire.RcodeNameError:
		return 0
	}
	ttl, found := ^uint32(0), false
	for _, rr := range append(reply.Answer[:len(reply.Answer):len(reply.Answer)], reply.Ns...) {
		ttl = min(ttl, rr.Header().Ttl)
		if soa, ok := rr.(*wire.SOA); ok {
			ttl, found = min(ttl, soa.Minttl), true
		}
	}
	if !found && (reply.Rcode == wire.RcodeNameError || !answered(reply)) {
		return 0
	}
	return time.Duration(ttl) * time.Second
}

// answered reports whether the answer section holds more than aliases.
func answered(reply *wire.Msg) bool {
	for _, rr := range reply.Answer {
		if rr.Header().Rrtype != wire.TypeCNAME || reply.Question[0].Qtype == wire.TypeCNAME {
			return true
		}
	}
	return false
}
