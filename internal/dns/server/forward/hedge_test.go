package forward

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	wire "github.com/miekg/dns"
)

// actor plays an upstream: it answers with its address after a delay; a
// negative delay means that it never does.
type actor struct {
	delay atomic.Int64
	asked atomic.Int32
	reply func(*wire.Msg) (*wire.Msg, error)
}

func (a *actor) set(delay time.Duration) { a.delay.Store(int64(delay)) }

// act makes a Forwarder whose upstreams are actors, 192.0.2.1 and so on, in the
// bubble of the test.
func act(t *testing.T, config Config, delays ...time.Duration) (*Forwarder, []*actor) {
	t.Helper()
	root := Zone{Name: "."}
	if len(config.Zones) > 0 {
		root = config.Zones[0]
	}
	var actors []*actor
	for i := range delays {
		root.Servers = append(root.Servers, Server{Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}), 53)})
	}
	config.Zones = []Zone{root}
	f := forwarder(t, config)
	t.Cleanup(f.stop)
	for i, u := range *f.zones[0].upstreams.Load() {
		one := &actor{}
		one.set(delays[i])
		actors = append(actors, one)
		u.ask = func(ctx context.Context, m *wire.Msg) (*wire.Msg, error) {
			one.asked.Add(1)
			wait := time.Duration(one.delay.Load())
			if wait < 0 {
				<-ctx.Done()
				return nil, because(ctx, ctx.Err())
			}
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return nil, because(ctx, ctx.Err())
			}
			if one.reply != nil {
				return one.reply(m)
			}
			return reply(m, 60, u.Address.Addr().String()), nil
		}
	}
	return f, actors
}

// ask returns who answered, and how long it took.
func ask(t *testing.T, f *Forwarder, name string) (string, time.Duration) {
	t.Helper()
	started := time.Now()
	got := address(f.Exchange(t.Context(), a(name)))
	return got, time.Since(started)
}

// bubble runs a test by a clock that only goes on when all wait.
func bubble(t *testing.T, test func(*testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

const silent = time.Duration(-1)

// TestHedge: an upstream that dies costs one query a time derived from what it
// took before, and the following nothing, while its death is being confirmed.
func TestHedge(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f, actors := act(t, Config{Zones: []Zone{{Name: ".", Policy: Sequential}}}, 4*time.Millisecond, 10*time.Millisecond)
		for i := range 20 {
			if got, took := ask(t, f, fmt.Sprintf("a%d.", i)); got != "192.0.2.1" || took != 4*time.Millisecond {
				t.Fatalf("%s after %s", got, took)
			}
		}
		actors[0].set(silent)
		if got, took := ask(t, f, "b."); got != "192.0.2.2" || took != 40*time.Millisecond {
			t.Errorf("the first query: %s after %s, want 30 ms and 10 ms", got, took)
		}
		for i := range 5 {
			if got, took := ask(t, f, fmt.Sprintf("c%d.", i)); got != "192.0.2.2" || took != 10*time.Millisecond {
				t.Errorf("query %d: %s after %s", i, got, took)
			}
		}
		if before := actors[0].asked.Load(); before != 22 {
			t.Errorf("the dead one was asked %d times, want 20, 1 and a probe", before)
		}
	})
}

// TestHedgeUnknown: without experience the bound counts.
func TestHedgeUnknown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f, _ := act(t, Config{Patience: 300 * time.Millisecond, Zones: []Zone{{Name: ".", Policy: Sequential}}}, silent, 10*time.Millisecond)
		if got, took := ask(t, f, "a."); got != "192.0.2.2" || took != 310*time.Millisecond {
			t.Errorf("%s after %s", got, took)
		}
	})
}

// TestSlowName: a name that takes long is asked of one more upstream, not of
// all, and the one that was asked first is used again at once.
func TestSlowName(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f, actors := act(t, Config{Zones: []Zone{{Name: ".", Policy: Sequential}}}, 2*time.Millisecond, 2*time.Millisecond, 2*time.Millisecond)
		for i := range 10 {
			ask(t, f, fmt.Sprintf("a%d.", i))
		}
		for _, u := range f.all() {
			u.latency.observe(2 * time.Millisecond) // of all, it is known how fast they are
		}
		slow := func(m *wire.Msg) (*wire.Msg, error) {
			if strings.HasPrefix(m.Question[0].Name, "slow") {
				time.Sleep(200 * time.Millisecond)
			}
			return reply(m, 60, "192.0.2.9"), nil
		}
		for _, one := range actors {
			one.reply = slow
			one.asked.Store(0)
		}
		if got, took := ask(t, f, "slow."); got != "192.0.2.9" || took != 202*time.Millisecond {
			t.Errorf("%s after %s", got, took)
		}
		if actors[1].asked.Load() != 1 || actors[2].asked.Load() != 0 {
			t.Errorf("asked %d and %d others", actors[1].asked.Load(), actors[2].asked.Load())
		}
		if u := (*f.zones[0].upstreams.Load())[0]; u.suspect.Load() || !u.healthy() {
			t.Error("it is still held against the upstream: " + u.state())
		}
		time.Sleep(time.Second) // the actor does not notice that nobody waits
	})
}

// TestMaxFails: upstreams that fail are left out, probed, and taken back.
func TestMaxFails(t *testing.T) {
	for _, c := range []struct {
		fails   int
		want    string
		healthy bool
	}{{0, "has failed 2 times in a row", false}, {4, "has failed 4 times in a row", false}, {-1, "owes an answer", true}} {
		bubble(t, func(t *testing.T) {
			f, actors := act(t, Config{Zones: []Zone{{Name: ".", Policy: Sequential, MaxFails: c.fails}}}, silent, time.Millisecond)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() { f.Run(ctx); close(ended) }()
			ask(t, f, "a.")
			for range 100 {
				time.Sleep(100 * time.Millisecond)
				if text := f.Describe()[0]; strings.Contains(text, c.want) {
					break
				}
			}
			if text := f.Describe()[0]; !strings.Contains(text, c.want) || (*f.zones[0].upstreams.Load())[0].healthy() != c.healthy {
				t.Errorf("max fails %d: %s", c.fails, text)
			}
			actors[0].set(time.Millisecond)
			time.Sleep(2 * time.Second)
			if got, took := ask(t, f, "b."); got != "192.0.2.1" || took != time.Millisecond {
				t.Errorf("max fails %d: after it came back: %s after %s; %v", c.fails, got, took, f.Describe())
			}
			cancel()
			<-ended
		})
	}
}

// TestAllDead: the timeout holds; with failfast the answer comes at once.
func TestAllDead(t *testing.T) {
	for _, failfast := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			f, _ := act(t, Config{Timeout: 3 * time.Second, Zones: []Zone{{Name: ".", FailFast: failfast}}}, silent, silent)
			if got, took := ask(t, f, "a."); !strings.Contains(got, "no upstream answered within 3s") || took != 3*time.Second {
				t.Errorf("%s after %s", got, took)
			}
			ask(t, f, "b.")
			ask(t, f, "c.")
			want := 3 * time.Second
			if failfast {
				want = 0
			}
			if got, took := ask(t, f, "d."); took != want || !strings.Contains(got, "192.0.2.1") {
				t.Errorf("failfast %t: %s after %s", failfast, got, took)
			}
			if n := gathered(t, f)["coredns_forward_healthcheck_broken_total{}"]; n < 1 || n > 3 {
				t.Errorf("failfast %t: %v queries are counted that had no healthy upstream", failfast, n)
			}
		})
	}
}

// TestPolicies asks 300 names of three upstreams.
func TestPolicies(t *testing.T) {
	for policy, check := range map[Policy]func([]int32) bool{
		Random:     func(n []int32) bool { return slices.Min(n) > 50 },
		RoundRobin: func(n []int32) bool { return slices.Min(n) == 100 },
		Sequential: func(n []int32) bool { return n[0] == 300 },
	} {
		bubble(t, func(t *testing.T) {
			f, actors := act(t, Config{Zones: []Zone{{Name: ".", Policy: policy}}}, time.Millisecond, time.Millisecond, time.Millisecond)
			for i := range 300 {
				ask(t, f, fmt.Sprintf("a%d.", i))
			}
			asked := []int32{actors[0].asked.Load(), actors[1].asked.Load(), actors[2].asked.Load()}
			if !check(asked) {
				t.Errorf("%s: %v", policy, asked)
			}
		})
	}
}

// TestFailover: chosen response codes make the next upstream be asked.
func TestFailover(t *testing.T) {
	for want, codes := range map[string][]int{"NXDOMAIN": nil, "192.0.2.2": {wire.RcodeNameError}} {
		bubble(t, func(t *testing.T) {
			f, actors := act(t, Config{Zones: []Zone{{Name: ".", Policy: Sequential, Failover: codes}}}, time.Millisecond, time.Millisecond)
			actors[0].reply = func(m *wire.Msg) (*wire.Msg, error) { return new(wire.Msg).SetRcode(m, wire.RcodeNameError), nil }
			if got, _ := ask(t, f, "a."); got != want {
				t.Errorf("%v: %s, want %s", codes, got, want)
			}
		})
	}
}

// TestMaxConcurrent: one query more than allowed is refused, and counted.
func TestMaxConcurrent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f, _ := act(t, Config{Zones: []Zone{{Name: ".", MaxConcurrent: 2}}}, time.Second)
		done := make(chan string)
		for _, name := range []string{"a.", "b."} {
			go func() { done <- address(f.Exchange(t.Context(), a(name))) }()
		}
		synctest.Wait()
		for range 3 {
			if _, err := f.Exchange(t.Context(), a("c.")); !errors.Is(err, ErrOverload) {
				t.Error(err)
			}
		}
		<-done
		<-done
		if got, _ := ask(t, f, "d."); got != "192.0.2.1" {
			t.Error(got)
		}
		if n := gathered(t, f)["coredns_forward_max_concurrent_rejects_total{}"]; n != 3 {
			t.Errorf("%v queries counted as refused", n)
		}
	})
}

// TestCoalesced: 1,000 equal questions in flight are one to the upstream.
func TestCoalesced(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f, actors := act(t, Config{}, 100*time.Millisecond)
		done := make(chan string)
		for i := range 1000 {
			go func() { done <- address(f.Exchange(t.Context(), a([]string{"www.example.", "WWW.example."}[i%2]))) }()
		}
		for range 1000 {
			if got := <-done; got != "192.0.2.1" {
				t.Fatal(got)
			}
		}
		if n := actors[0].asked.Load(); n != 1 {
			t.Errorf("asked %d times", n)
		}
	})
}
