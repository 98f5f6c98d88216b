package corefile

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Cache is the directive cache: answers of other directives are kept.
type Cache struct {
	// TTL in seconds bounds how long an answer is kept.
	TTL int
	// Zones whose answers are kept: those named, else those of the server block.
	Zones           []string
	Success, Denial Share
	Prefetch        Prefetch
	// ServeStale is how long an answer is used beyond its TTL, if no other comes.
	ServeStale time.Duration
	// StaleVerify asks for a fresh one first, and StaleTimeout bounds how long; 0
	// means as long as queries take. StaleTTL is given to clients, StaleRecheck the
	// pause after a failure.
	StaleVerify                          bool
	StaleTimeout, StaleTTL, StaleRecheck time.Duration
	// ServFail is how long failures are kept.
	ServFail time.Duration
	// NoSuccess and NoDenial are zones whose answers of that kind are not kept.
	NoSuccess, NoDenial []string
	KeepTTL             bool
}

// Share is the part of a cache for one kind of answer; TTLs in seconds.
type Share struct{ Capacity, TTL, MinTTL int }

// Prefetch asks for popular answers again before they expire.
type Prefetch struct {
	// Amount of queries, with no gap longer than Duration, that make a name popular.
	Amount   int
	Duration time.Duration
	// Percentage of the TTL that is left when it is asked for again.
	Percentage int
}

// Effect implements Setting.
func (c Cache) Effect() string {
	return fmt.Sprintf("answers from other servers are kept for their TTL, at most %d s; the cluster's own names are never cached", c.TTL)
}

// readCache follows CoreDNS's plugin/cache, README and setup.
func readCache(l *line) Setting {
	c := Cache{TTL: 3600, ServFail: 5 * time.Second}
	from := 0
	if _, err := strconv.Atoi(l.text(0)); err == nil {
		c.TTL, from = l.number(0, 1, 1<<31-1), 1
	}
	c.Zones = l.zones(from)
	if l.server.stub {
		*l.notes = append(*l.notes, "there is one cache for all zones, with the settings of the block for all names")
	}
	share := func(s *Share) func(*line) {
		return func(o *line) {
			if o.takes(1, 3, "CAPACITY [TTL] [MINTTL]") {
				*s = Share{o.number(0, 0, 1<<31-1), o.number(1, 1, 1<<31-1), o.number(2, 0, 1<<31-1)}
			}
		}
	}
	l.options(options{
		"success":            share(&c.Success),
		"denial":             share(&c.Denial),
		"prefetch":           func(o *line) { c.Prefetch = readPrefetch(o) },
		"serve_stale":        func(o *line) { c.stale(o) },
		"serve_stale_policy": func(o *line) { o.takes(1, 1, "prefer_positive"); o.choice(0, "prefer_positive") },
		"servfail": func(o *line) {
			o.takes(1, 1, "DURATION")
			if c.ServFail = o.duration(0, 0); c.ServFail > 5*time.Minute {
				o.mistake("cache servfail: %s is more than 5m, the most that RFC 2308 allows", c.ServFail)
			}
		},
		"disable": func(o *line) { c.disable(o) },
		"keepttl": func(o *line) { c.KeepTTL = o.takes(0, 0, "") },
	})
	return c
}

// stale reads [DURATION] [immediate [TTL [RECHECK]] | verify [TIMEOUT [TTL [RECHECK]]]].
func (c *Cache) stale(o *line) {
	c.ServeStale = time.Hour
	if !o.takes(0, 5, "[DURATION] [immediate [TTL [RECHECK]] | verify [TIMEOUT [TTL [RECHECK]]]]") || len(o.args()) == 0 {
		return
	}
	c.ServeStale = o.duration(0, 0)
	next := 2
	if c.StaleVerify = o.choice(1, "immediate", "verify") == "verify"; c.StaleVerify {
		c.StaleTimeout, next = o.duration(2, 0), 3
	}
	c.StaleTTL, c.StaleRecheck = o.duration(next, 0), o.duration(next+1, 0)
	if c.ServeStale > 7*24*time.Hour || c.StaleTTL > 7*24*time.Hour {
		o.lacks("cache serve_stale longer")
		c.ServeStale, c.StaleTTL = min(c.ServeStale, 7*24*time.Hour), min(c.StaleTTL, 7*24*time.Hour)
	}
	if c.StaleRecheck > 5*time.Minute {
		o.mistake("cache serve_stale: %s is more than 5m, the most that RFC 8767 allows between attempts", c.StaleRecheck)
		c.StaleRecheck = 5 * time.Minute
	}
}

func readPrefetch(o *line) Prefetch {
	if !o.takes(1, 3, "AMOUNT [DURATION] [PERCENTAGE%]") {
		return Prefetch{}
	}
	p := Prefetch{o.number(0, 0, 1<<31-1), time.Minute, 10}
	if len(o.args()) > 1 {
		p.Duration = o.duration(1, 0)
	}
	if len(o.args()) > 2 {
		digits, ok := strings.CutSuffix(o.text(2), "%")
		n, err := strconv.Atoi(digits)
		if p.Percentage = n; !ok || err != nil || n < 10 || n > 90 {
			o.mistake("cache prefetch: %q is not a percentage from 10%% to 90%%", o.text(2))
		}
	}
	return p
}

// disable reads "success|denial [ZONE...]".
func (c *Cache) disable(o *line) {
	if !o.takes(1, -1, "success|denial [ZONE...]") {
		return
	}
	zones := o.zones(1)
	if len(zones) == 0 {
		zones = []string{"."}
	}
	if o.choice(0, "success", "denial") == "success" {
		c.NoSuccess = append(c.NoSuccess, zones...)
	} else {
		c.NoDenial = append(c.NoDenial, zones...)
	}
}
