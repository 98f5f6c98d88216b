package forward

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Cache says which replies are kept, and for how long. The zero value keeps
// them for their TTL, up to 30 s.
type Cache struct {
	// Disabled keeps nothing.
	Disabled bool
	// Zones whose names' replies are kept: by default all.
	Zones []string
	// Success is for replies with records of the type asked for, Denial for those
	// that say there are none, and failures.
	Success, Denial Share
	// Bytes bounds what all replies take together: 32 MiB.
	Bytes int
	// FailureTTL is how long SERVFAIL is kept, so that a name that cannot be
	// resolved does not load its servers with retries (RFC 9520, section 3.2): 1 s.
	// If negative, it is not.
	FailureTTL time.Duration
	Prefetch   Prefetch
	Stale      Stale
	// NoSuccess and NoDenial are zones whose replies of that kind are not kept.
	NoSuccess, NoDenial []string
	// KeepTTL gives replies with the TTL that they came with, instead of what is
	// left of it.
	KeepTTL bool
}

// Share is the part of the cache for one kind of reply.
type Share struct {
	// Entries is the number of replies that are kept: 10000.
	Entries int
	// MaxTTL is 30 s. TTLs are given to clients within these bounds, too. MinTTL
	// above zero keeps replies for longer than they allow.
	MaxTTL, MinTTL time.Duration
}

// Prefetch asks for a popular reply again before it expires. The zero value
// does not.
type Prefetch struct {
	// Amount is the number of queries, with no gap above Duration (1 min), that
	// make a reply popular.
	Amount   int
	Duration time.Duration
	// Percentage of its lifetime that is left when it is asked for again: 10.
	Percentage int
}

// Stale uses replies that have expired if no fresh ones can be had (RFC 8767).
// The zero value does not.
type Stale struct {
	// For is how long after its end a reply may be used.
	For time.Duration
	// Verify asks upstream first, and uses the expired reply only if that fails or
	// takes longer than VerifyTimeout (1.8 s). Otherwise the expired reply is given
	// at once, and a fresh one asked for.
	Verify        bool
	VerifyTimeout time.Duration
	// TTL is what expired records are given with; RFC 8767 recommends 30 s.
	TTL time.Duration
	// Recheck is the time after a failure during which the expired reply is given
	// without asking again: at most 5 min.
	Recheck time.Duration
}

const (
	// maxFailureTTL is the most that RFC 2308, section 7, allows.
	maxFailureTTL = 5 * time.Minute
	// maxEntries and maxTTL keep sums within their types.
	maxEntries = 1 << 24
	maxTTL     = 7 * 24 * time.Hour
)

func (c Cache) complete() (Cache, error) {
	var err error
	for _, share := range []struct {
		name string
		*Share
	}{{"success", &c.Success}, {"denial", &c.Denial}} {
		if share.Entries < 0 || share.Entries > maxEntries {
			return c, fmt.Errorf("cache %s: %d replies: use 1 to %d", share.name, share.Entries, maxEntries)
		}
		share.Entries = orDefault(share.Entries, 10_000)
		if share.MaxTTL < 0 || share.MaxTTL > maxTTL || share.MinTTL < 0 {
			return c, fmt.Errorf("cache %s: TTLs must lie between 0s and %s", share.name, maxTTL)
		}
		share.MaxTTL = orDefault(share.MaxTTL, 30*time.Second)
		if share.MinTTL > share.MaxTTL {
			return c, fmt.Errorf("cache %s: the least TTL, %s, is above the largest, %s", share.name, share.MinTTL, share.MaxTTL)
		}
	}
	if c.Bytes < 0 {
		return c, errors.New("cache: its size in bytes must not be negative")
	}
	c.Bytes = orDefault(c.Bytes, 32<<20)
	if c.FailureTTL > maxFailureTTL {
		return c, fmt.Errorf("cache: failures kept for %s: use at most %s (RFC 2308)", c.FailureTTL, maxFailureTTL)
	}
	c.FailureTTL = orDefault(c.FailureTTL, time.Second)
	p := &c.Prefetch
	p.Duration, p.Percentage = orDefault(p.Duration, time.Minute), orDefault(p.Percentage, 10)
	if p.Amount < 0 || p.Duration < 0 || p.Percentage < 1 || p.Percentage > 90 {
		return c, fmt.Errorf("cache prefetch: use an amount of at least 0 and 1 to 90 percent, not %d and %d", p.Amount, p.Percentage)
	}
	s := &c.Stale
	s.VerifyTimeout = orDefault(s.VerifyTimeout, 1800*time.Millisecond)
	if s.For < 0 || s.For > maxTTL || s.VerifyTimeout < 0 || s.TTL < 0 || s.TTL > maxTTL || s.Recheck < 0 || s.Recheck > 5*time.Minute {
		return c, fmt.Errorf("cache stale: replies may be used for at most %s beyond their TTL, and failures rechecked after at most 5m", maxTTL)
	}
	for _, zones := range []*[]string{&c.Zones, &c.NoSuccess, &c.NoDenial} {
		*zones = slices.Clone(*zones)
		for i := range *zones {
			if (*zones)[i], err = zoneName((*zones)[i]); err != nil {
				return c, fmt.Errorf("cache: %w", err)
			}
		}
	}
	return c, nil
}

// kind is which Share a reply belongs to.
type kind uint8

const (
	success kind = iota
	denial
	kinds
)

func (k kind) String() string { return [kinds]string{"success", "denial"}[k] }

// share returns the part of the cache for a kind of reply.
func (c *Cache) share(k kind) *Share {
	if k == success {
		return &c.Success
	}
	return &c.Denial
}

// keeps reports whether replies of a kind for a name are kept.
func (c *Cache) keeps(k kind, name string) bool {
	if c.Disabled || len(c.Zones) > 0 && !within(name, c.Zones) {
		return false
	}
	if k == success {
		return !within(name, c.NoSuccess)
	}
	return !within(name, c.NoDenial)
}
