package forward

import (
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	wire "github.com/miekg/dns"
)

// cachedOr returns who answers a question, and how long that takes: the cache,
// marked by its TTL, or an upstream.
func cachedOr(t *testing.T, f *Forwarder, name string) (string, uint32, time.Duration) {
	t.Helper()
	started := time.Now()
	m, ok := f.Cached(a(name))
	if !ok {
		var err error
		if m, err = f.Exchange(t.Context(), a(name)); err != nil {
			return err.Error(), 0, time.Since(started)
		}
	}
	if len(m.Answer) == 0 {
		return wire.RcodeToString[m.Rcode], 0, time.Since(started)
	}
	return address(m, nil), m.Answer[0].Header().Ttl, time.Since(started)
}

func servfail(m *wire.Msg) (*wire.Msg, error) {
	return new(wire.Msg).SetRcode(m, wire.RcodeServerFailure), nil
}

// TestStaleImmediate: an expired reply is given at once and a fresh one asked
// for, once for many clients; a failure leaves the expired reply as it is.
func TestStaleImmediate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f, actors := act(t, Config{Cache: Cache{Stale: Stale{For: time.Hour, TTL: 30 * time.Second, Recheck: 10 * time.Second}}}, 10*time.Millisecond)
		up := actors[0]
		cachedOr(t, f, "a.example.")
		time.Sleep(40 * time.Second)
		up.reply = servfail
		up.asked.Store(0)
		for range 5 {
			if got, ttl, took := cachedOr(t, f, "a.example."); got != "192.0.2.1" || ttl != 30 || took != 0 {
				t.Errorf("%s %d after %s", got, ttl, took)
			}
		}
		time.Sleep(9 * time.Second)
		cachedOr(t, f, "a.example.")
		if n := up.asked.Load(); n != 1 {
			t.Errorf("asked %d times within the time of recheck", n)
		}
		time.Sleep(2 * time.Second)
		up.reply = nil
		if got, _, took := cachedOr(t, f, "a.example."); got != "192.0.2.1" || took != 0 {
			t.Errorf("%s after %s", got, took)
		}
		time.Sleep(time.Second)
		if got, ttl, _ := cachedOr(t, f, "a.example."); got != "192.0.2.1" || ttl != 30 || up.asked.Load() != 2 {
			t.Errorf("%s %d, asked %d times", got, ttl, up.asked.Load())
		}
		if p, ok := f.lookup(must(a("a.example.").key()), math.MaxInt, time.Now()); !ok || p.Stale() {
			t.Error("it is not fresh again")
		}
		up.set(silent)
		time.Sleep(time.Hour + time.Minute)
		if got, _, _ := cachedOr(t, f, "a.example."); !strings.Contains(got, "no answer in time") {
			t.Errorf("after the time for stale replies: %s", got)
		}
	})
}

// TestStaleVerify: upstream is asked first; the expired reply is for failures
// and for those who have waited long enough.
func TestStaleVerify(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f, actors := act(t, Config{Cache: Cache{Stale: Stale{For: time.Hour, Verify: true, Recheck: 10 * time.Second}}}, 10*time.Millisecond)
		up := actors[0]
		expect := func(what, want string, ttl uint32, after time.Duration) {
			t.Helper()
			if got, is, took := cachedOr(t, f, "a.example."); got != want || is != ttl || took != after {
				t.Errorf("%s: %s %d after %s, want %s %d after %s", what, got, is, took, want, ttl, after)
			}
		}
		cachedOr(t, f, "a.example.")
		time.Sleep(40 * time.Second)
		expect("upstream answers", "192.0.2.1", 30, 10*time.Millisecond)
		time.Sleep(40 * time.Second)
		up.reply = servfail
		expect("upstream fails", "192.0.2.1", 0, 10*time.Millisecond)
		expect("it failed just now", "192.0.2.1", 0, 0)
		time.Sleep(11 * time.Second)
		up.reply = func(*wire.Msg) (*wire.Msg, error) { return nil, errors.New("connection refused") }
		expect("upstream cannot be asked", "192.0.2.1", 0, 30*time.Millisecond)
		time.Sleep(11 * time.Second)
		up.reply = nil
		up.set(silent)
		expect("upstream is silent", "192.0.2.1", 0, 1800*time.Millisecond)
		expect("it was silent just now", "192.0.2.1", 0, 0)
		up.set(0)
		time.Sleep(13 * time.Second) // the query that was given up failed later
		expect("upstream answers again", "192.0.2.1", 30, 0)
		synctest.Wait()
		if n := gathered(t, f)["coredns_cache_served_stale_total{server=dns://:53,view=,zones=.,}"]; n < 5 {
			t.Errorf("%v replies are counted as stale", n)
		}
	})
}

// TestPrefetch: a popular reply is asked for again before it expires, once; one
// that is asked for seldom is not.
func TestPrefetch(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f, actors := act(t, Config{Cache: Cache{Prefetch: Prefetch{Amount: 3, Duration: 20 * time.Second, Percentage: 20}}}, 10*time.Millisecond)
		up := actors[0]
		use := func(name string) { t.Helper(); cachedOr(t, f, name) }
		use("popular.") // lives for 30 s
		use("seldom.")
		up.asked.Store(0)
		for range 2 {
			time.Sleep(10 * time.Second)
			use("popular.")
		}
		time.Sleep(4500 * time.Millisecond)
		use("seldom.")
		if up.asked.Load() != 0 {
			t.Error("asked before it is time")
		}
		for range 3 {
			use("popular.")
		}
		time.Sleep(time.Second)
		if up.asked.Load() != 1 {
			t.Errorf("asked %d times", up.asked.Load())
		}
		time.Sleep(10 * time.Second)
		if got, ttl, took := cachedOr(t, f, "popular."); got != "192.0.2.1" || took != 0 || ttl != 20 {
			t.Errorf("%s %d after %s", got, ttl, took)
		}
		if _, _, took := cachedOr(t, f, "seldom."); took == 0 {
			t.Error("the seldom one is still there")
		}
	})
}

// TestPrefetchBounds: how many questions it takes, in which time and how long before the
// end; none for what lives for a second, has failed, or could not be had just now.
func TestPrefetchBounds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f, actors := act(t, Config{Cache: Cache{FailureTTL: 10 * time.Second, Prefetch: Prefetch{Amount: 3, Duration: 20 * time.Second, Percentage: 20}, Stale: Stale{Recheck: 2 * time.Second}}}, 0)
		up := actors[0]
		expect := func(what, name string, questions int, asked int32) {
			t.Helper()
			up.asked.Store(0)
			for range questions {
				cachedOr(t, f, name)
			}
			if synctest.Wait(); up.asked.Load() != asked {
				t.Errorf("%s: asked %d times, want %d", what, up.asked.Load(), asked)
			}
		}
		expect("at first", "a.", 1, 1)
		time.Sleep(25 * time.Second)
		expect("fewer questions than it takes", "a.", 2, 0)
		expect("one more", "a.", 1, 1)
		time.Sleep(15 * time.Second)
		expect("long before the end", "a.", 1, 0)
		time.Sleep(12 * time.Second)
		expect("soon, as popular as before", "a.", 1, 1)
		time.Sleep(25 * time.Second)
		expect("after a long time", "a.", 2, 0)
		up.reply = servfail
		expect("when it fails", "a.", 10, 1)
		time.Sleep(time.Second)
		expect("just after", "a.", 10, 0)
		time.Sleep(time.Second)
		expect("some time after", "a.", 1, 1)
		expect("a failure", "b.", 20, 1)
		time.Sleep(9 * time.Second)
		expect("a failure that ends soon", "b.", 5, 0)
		up.reply = func(m *wire.Msg) (*wire.Msg, error) { return reply(m, 1, "192.0.2.1"), nil }
		expect("of a second", "c.", 20, 1)
		up.reply = func(m *wire.Msg) (*wire.Msg, error) { return reply(m, 2, "192.0.2.1"), nil }
		expect("of two seconds", "d.", 20, 1)
		time.Sleep(1200 * time.Millisecond)
		expect("in its last second", "d.", 3, 1)
		if n := gathered(t, f)["coredns_cache_prefetch_total{server=dns://:53,view=,zones=.,}"]; n != 5 {
			t.Errorf("%v are counted", n)
		}
	})
}
