package forward

import (
	"encoding/binary"
	"hash/maphash"
	"sync/atomic"
	"time"

	wire "github.com/miekg/dns"
)

// maxCached is the largest reply that is kept, in bytes: a few huge answers
// must not push out thousands of usual ones.
const maxCached = 8 << 10

// cache keeps packed replies. It is safe for concurrent use.
type cache struct {
	Cache
	seed   maphash.Seed // unpredictable, so that nobody can fill one set
	began  time.Time
	tables [kinds]*table
	counts *cacheCounts
}

// cacheCounts are what the cache's metrics are made of.
type cacheCounts struct {
	hits                      [kinds]tally
	misses, stale, prefetches tally
	// evicted is that of tables which have been replaced.
	evicted [kinds]atomic.Uint64
}

func newCache(c Cache, counts *cacheCounts) *cache {
	kept := &cache{Cache: c, seed: maphash.MakeSeed(), began: time.Now(), counts: counts}
	for k := range kinds {
		size := c.share(k).Entries
		if c.Disabled {
			size = 0
		}
		kept.tables[k] = newTable(size)
	}
	return kept
}

// at returns a time as entries have it.
func (c *cache) at(now time.Time) int64 { return int64(now.Sub(c.began)) }

// find returns the entry of a key that can be used best: a fresh one before a
// stale one, an answer before a denial. It is nil if there is none.
func (c *cache) find(key []byte, now int64) *entry {
	hash := maphash.Bytes(c.seed, key)
	var best *entry
	for _, t := range c.tables {
		e := t.get(hash, key)
		switch {
		case e == nil || now >= e.dead:
		case now < e.expires:
			return e
		case best == nil:
			best = e
		}
	}
	return best
}

// hit notes that an entry is used. It reports whether the entry should be asked
// for again in the background, which is to be done exactly once then.
func (c *cache) hit(e *entry, now int64) (refresh bool) {
	if e.used.Load() == 0 {
		e.used.Store(1)
	}
	c.counts.hits[e.kind].add()
	if now >= e.expires {
		c.counts.stale.add()
		return !c.resting(e, now) && e.refreshing.CompareAndSwap(false, true)
	}
	if c.Prefetch.Amount == 0 || e.rcode == wire.RcodeServerFailure {
		return false
	}
	last, hits := e.asked.Swap(now), uint32(1)
	if now-last <= int64(c.Prefetch.Duration) {
		hits = e.hits.Add(1)
	} else {
		e.hits.Store(1)
	}
	left := (e.expires - e.stored) * int64(c.Prefetch.Percentage) / 100
	if int(hits) < c.Prefetch.Amount || e.expires-now > max(left, int64(time.Second)) || e.expires-e.stored <= int64(time.Second) {
		return false
	}
	if c.resting(e, now) || !e.refreshing.CompareAndSwap(false, true) {
		return false
	}
	c.counts.prefetches.add()
	return true
}

// resting reports whether an entry failed to be refreshed so recently that it is
// not tried again.
func (c *cache) resting(e *entry, now int64) bool {
	failed := e.failed.Load()
	return failed != 0 && now < failed-1+int64(c.Stale.Recheck)
}

// usable reports whether an entry can be given without asking upstream first.
func (c *cache) usable(e *entry, now int64) bool {
	return now < e.expires || !c.Stale.Verify || c.resting(e, now)
}

// packed returns what an entry has to say at a time.
func (c *cache) packed(e *entry, now int64) Packed {
	p := Packed{entry: e}
	switch {
	case now >= e.expires:
		p.stale, p.ttl = true, uint32(c.Stale.TTL/time.Second)
	case !c.KeepTTL:
		p.age = uint32((now - e.stored) / int64(time.Second))
	}
	return p
}

// stale returns the expired reply of a key for which none else could be had,
// and notes that.
func (c *cache) stale(key []byte, now int64) (Packed, bool) {
	if c.Stale.For == 0 {
		return Packed{}, false
	}
	e := c.find(key, now)
	if e == nil || now < e.expires || e.rcode == wire.RcodeServerFailure {
		return Packed{}, false
	}
	e.failed.Store(now + 1)
	e.refreshing.Store(false)
	c.counts.stale.add()
	return c.packed(e, now), true
}

// put keeps a reply to the query of a key if it may be kept, and gives its
// records TTLs within the cache's bounds.
func (c *cache) put(key []byte, name string, reply *wire.Msg, now int64) {
	k, ttl := lifetime(reply)
	share := c.share(k)
	switch {
	case ttl < 0 || reply.Truncated || !c.keeps(k, name):
		return
	case reply.Rcode == wire.RcodeServerFailure:
		ttl = max(c.FailureTTL, 0)
	default:
		ttl = min(max(ttl, share.MinTTL), share.MaxTTL)
		bound(reply, uint32(share.MinTTL/time.Second), uint32(share.MaxTTL/time.Second))
	}
	if ttl == 0 {
		return
	}
	e, err := pack(key, reply)
	if err != nil || e.size() > maxCached || e.size() > c.Bytes {
		return
	}
	e.hash, e.kind = maphash.Bytes(c.seed, key), k
	e.stored, e.expires = now, now+int64(ttl)
	if e.dead = e.expires; e.rcode != wire.RcodeServerFailure {
		e.dead += int64(c.Stale.For)
	}
	if e.rcode != wire.RcodeServerFailure {
		c.tables[kinds-1-k].remove(e.hash, key)
	}
	c.tables[k].put(e, now)
	for c.tables[success].bytes.Load()+c.tables[denial].bytes.Load() > int64(c.Bytes) {
		fuller := c.tables[success]
		if c.tables[denial].bytes.Load() > fuller.bytes.Load() {
			fuller = c.tables[denial]
		}
		if !fuller.evict(now) {
			break
		}
	}
}

// bound brings the TTLs of a reply's records into bounds.
func bound(reply *wire.Msg, least, most uint32) {
	for _, section := range [][]wire.RR{reply.Answer, reply.Ns, reply.Extra} {
		for _, rr := range section {
			if h := rr.Header(); h.Rrtype != wire.TypeOPT {
				h.Ttl = min(max(h.Ttl, least), most)
			}
		}
	}
}

// lifetime returns what kind of reply this is and how long it may be kept: the
// smallest TTL of its records; for negative answers that of their SOA record,
// bounded by its minimum, which the record gets as its TTL (RFC 2308, sections 3
// and 5). It is below zero if the reply must not be kept.
func lifetime(reply *wire.Msg) (kind, time.Duration) {
	switch {
	case reply.Rcode == wire.RcodeServerFailure:
		return denial, 0
	case reply.Rcode != wire.RcodeSuccess && reply.Rcode != wire.RcodeNameError:
		return denial, -1
	}
	ttl, found := ^uint32(0), false
	for _, section := range [][]wire.RR{reply.Answer, reply.Ns, reply.Extra} {
		for _, rr := range section {
			h := rr.Header()
			if soa, ok := rr.(*wire.SOA); ok {
				h.Ttl, found = min(h.Ttl, soa.Minttl), true
			}
			if h.Rrtype != wire.TypeOPT {
				// A TTL with the highest bit set is zero (RFC 2181, section 8).
				if h.Ttl > 1<<31-1 {
					h.Ttl = 0
				}
				ttl = min(ttl, h.Ttl)
			}
		}
	}
	positive := reply.Rcode == wire.RcodeSuccess && answered(reply)
	if positive {
		return success, time.Duration(ttl) * time.Second
	}
	if !found {
		return denial, -1
	}
	return denial, time.Duration(ttl) * time.Second
}

// answered reports whether the answer section holds more than aliases.
func answered(reply *wire.Msg) bool {
	for _, rr := range reply.Answer {
		t := rr.Header().Rrtype
		if t == reply.Question[0].Qtype || reply.Question[0].Qtype == wire.TypeANY || t != wire.TypeCNAME && t != wire.TypeDNAME && t != wire.TypeRRSIG {
			return true
		}
	}
	return false
}

// appendKey appends what entries are found by to a name in wire form and lower
// case. Queries that have the same answer have the same key.
func appendKey(name []byte, qtype, class uint16, do, cd bool) []byte {
	name = binary.BigEndian.AppendUint16(name, qtype)
	name = binary.BigEndian.AppendUint16(name, class)
	flags := byte(0)
	if do {
		flags |= 1
	}
	if cd {
		flags |= 2
	}
	return append(name, flags)
}
