package forward

import (
	"reflect"
	"slices"
	"time"

	wire "github.com/miekg/dns"
)

// limits are the bounds that hold for all servers.
type limits struct{ patience, minPatience, readTimeout, timeout time.Duration }

func (c *Config) limits() limits {
	return limits{c.Patience, c.MinPatience, c.ReadTimeout, c.Timeout}
}

// Next returns a Forwarder for another Config; its Own, Tap and Log do not count. Both
// Forwarders may be used at the same time, and neither knows what the other one is
// told. What stays as it is goes on: zones with their connections and what is known
// of their servers, and cached replies that the same servers would give, if the
// cache is to be the same. If all of it is, Next returns the Forwarder itself. The
// next one is told of in Metrics once it takes over.
func (f *Forwarder) Next(config Config) (*Forwarder, error) {
	config.Own, config.Tap, config.Log = f.own, f.tap, f.log
	config, err := config.complete()
	if err != nil {
		return nil, err
	}
	if same(f.config, config) {
		return f, nil
	}
	next := &Forwarder{shared: f.shared, config: config}
	for _, z := range config.Zones {
		next.zones = append(next.zones, f.zone(z, config.limits()))
	}
	switch {
	case !reflect.DeepEqual(f.config.Cache, config.Cache):
		next.cache = newCache(config.Cache, f.cache.counts)
	case f.sameRoutes(next):
		next.cache = f.cache
	default:
		next.cache = f.cache.of(func(name string) bool { return f.route(name).asksAs(next.route(name)) })
	}
	return next, nil
}

// same reports whether two complete Configs of Forwarders with the same Own, Tap and Log
// say the same.
func same(a, b Config) bool {
	a.Own, b.Own = nil, nil
	a.Tap, b.Tap = nil, nil
	a.Log, b.Log = nil, nil
	// They stand for a Zone, which is there.
	a.Upstreams, a.ResolvConf, a.Policy, a.MaxConcurrent = b.Upstreams, b.ResolvConf, b.Policy, b.MaxConcurrent
	return reflect.DeepEqual(a, b)
}

// zone returns the zone at work for a Zone, the one that there is if nothing about it
// changes.
func (f *Forwarder) zone(config Zone, l limits) *zone {
	for _, z := range f.zones {
		if z.limits == l && reflect.DeepEqual(z.Zone, config) {
			return z
		}
	}
	return newZone(f.shared, config, l)
}

// sameRoutes reports whether all names have the same servers in another Forwarder.
func (f *Forwarder) sameRoutes(other *Forwarder) bool {
	return slices.EqualFunc(f.zones, other.zones, func(a, b *zone) bool {
		return a.Name == b.Name && slices.Equal(a.Except, b.Except) && a.asksAs(b)
	})
}

// asksAs reports whether the replies of a zone's servers, if any, are as good as those
// of another one's.
func (z *zone) asksAs(other *zone) bool {
	if z == other || z == nil || other == nil {
		return z == other
	}
	return slices.Equal(z.Servers, other.Servers) && z.ResolvConf == other.ResolvConf && z.TLS == other.TLS && slices.Equal(z.Failover, other.Failover)
}

// TakeOver makes this the Forwarder that Metrics tells of, and whose Run is the last
// to end.
func (f *Forwarder) TakeOver() {
	before := f.current.Swap(f)
	if before.cache == f.cache {
		return
	}
	for k := range before.cache.tables {
		f.cache.counts.evicted[k].Add(before.cache.tables[k].evicted.Load())
	}
}

// end is the end of Run: that of everything, or, if another Forwarder has taken over,
// that of connections which that one does not have, as soon as no query can wait for
// them.
func (f *Forwarder) end() {
	if f.current.Load() == f {
		f.stop()
	} else {
		patience := time.NewTimer(f.config.Timeout)
		defer patience.Stop()
		select {
		case <-patience.C:
		case <-f.ctx.Done():
		}
	}
	kept := map[*zone]bool{}
	if current := f.current.Load(); current != f {
		for _, z := range current.zones {
			kept[z] = true
		}
	}
	for _, z := range f.zones {
		for _, u := range *z.upstreams.Load() {
			if !kept[z] {
				u.streams.close()
			}
		}
	}
}

// of returns a cache of the same kind with those replies whose names are wanted. From
// then on the two are apart.
func (c *cache) of(wanted func(name string) bool) *cache {
	other := &cache{Cache: c.Cache, seed: c.seed, began: c.began, counts: c.counts}
	now := c.at(time.Now())
	for k, from := range c.tables {
		to := newTable(int(from.capacity))
		for i := range from.sets {
			for j := range from.sets[i].entries {
				e := from.sets[i].entries[j].Load()
				if e == nil || now >= e.dead {
					continue
				}
				if name, _, err := wire.UnpackDomainName(e.key(), 0); err == nil && wanted(name) {
					to.put(e, now)
				}
			}
		}
		other.tables[k] = to
	}
	return other
}
