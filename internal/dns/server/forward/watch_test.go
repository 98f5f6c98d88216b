package forward

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	wire "github.com/miekg/dns"
)

// running has a Forwarder run until what is returned is called, which waits for the end.
func running(t *testing.T, f *Forwarder) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { f.Run(ctx); close(ended) }()
	return func() { cancel(); <-ended }
}

// TestWatch: only upstreams that failed are probed, one probe after the other, and what
// ends with the server is no failure.
func TestWatch(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f, actors := act(t, Config{Zones: []Zone{{Name: ".", Policy: Sequential, Probe: Probe{Interval: 100 * time.Millisecond}}}}, time.Millisecond, silent)
		end := running(t, f)
		time.Sleep(5 * time.Second)
		if well, mute := actors[0].asked.Load(), actors[1].asked.Load(); well != 1 || mute != 1 {
			t.Errorf("asked %d and %d times, want once each, for loops", well, mute)
		}
		u := f.all()[1]
		u.failed(errSlow)
		u.failed(errSlow)
		time.Sleep(10*time.Second + 150*time.Millisecond)
		if n := actors[1].asked.Load() - 1; n < 9 || n > 11 {
			t.Errorf("%d probes in ten seconds, of a second each", n)
		}
		if n := gathered(t, f)["coredns_proxy_healthcheck_failures_total{proxy_name=forward,to=192.0.2.2:53,}"]; n < 8 || n > 11 {
			t.Errorf("%v failed probes are counted", n)
		}
		strikes := u.strikes.Load()
		if !u.probing.Load() {
			t.Fatal("no probe is under way")
		}
		end()
		synctest.Wait()
		if u.strikes.Load() != strikes {
			t.Error("a probe that ended with the server is held against the upstream")
		}
	})
}

// TestHealthLog: that an upstream fails, and that it answers again, is said once.
func TestHealthLog(t *testing.T) {
	var said strings.Builder
	f := forwarder(t, Config{Log: slog.New(slog.NewTextHandler(&said, nil)), Zones: []Zone{{Name: ".", MaxFails: 3, Servers: []Server{{Address: netip.MustParseAddrPort("192.0.2.1:53")}}}}})
	u := f.all()[0]
	for range 2 {
		u.failed(errSlow)
	}
	u.healed()
	if said.Len() > 0 {
		t.Errorf("said before it failed three times: %s", said.String())
	}
	for range 10 {
		u.failed(errSlow)
	}
	for range 2 {
		u.healed()
	}
	if text := said.String(); strings.Count(text, "does not answer") != 1 || strings.Count(text, "answers again") != 1 {
		t.Errorf("said: %s", text)
	}
}

// TestLateButAlive: an upstream that answers others is not suspected for a name that takes
// long.
func TestLateButAlive(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f, actors := act(t, Config{Zones: []Zone{{Name: ".", Policy: Sequential}}}, 2*time.Millisecond, 2*time.Millisecond)
		var probes atomic.Int32
		for _, one := range actors {
			one.reply = func(m *wire.Msg) (*wire.Msg, error) {
				if m.Question[0].Qtype == wire.TypeNS {
					probes.Add(1)
				}
				if strings.HasPrefix(m.Question[0].Name, "slow") {
					time.Sleep(200 * time.Millisecond)
				}
				return reply(m, 60, "192.0.2.9"), nil
			}
		}
		for i := range 10 {
			ask(t, f, strings.Repeat("a", i+1)+".")
		}
		go f.Exchange(t.Context(), a("slow."))
		time.Sleep(10 * time.Millisecond)
		ask(t, f, "fast.")
		time.Sleep(20*time.Millisecond + time.Microsecond)
		if asked := actors[1].asked.Load(); asked != 1 || probes.Load() != 0 {
			t.Errorf("the other was asked %d times, %d probes", asked, probes.Load())
		}
		if n := gathered(t, f)["fairlead_dns_forward_hedged_total{}"]; n != 1 {
			t.Errorf("%v queries are counted as sent to one more", n)
		}
		time.Sleep(time.Second)
	})
}

// TestLoops: an upstream that brings a probe back is not asked, and tried again every half
// minute. No question of anybody else looks like a probe.
func TestLoops(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const zone = "example.local."
		f, actors := act(t, Config{Zones: []Zone{{Name: zone, Policy: Sequential}}}, time.Millisecond, time.Millisecond)
		var back atomic.Bool
		back.Store(true)
		actors[0].reply = func(m *wire.Msg) (*wire.Msg, error) {
			name, qtype := m.Question[0].Name, m.Question[0].Qtype
			if strings.Contains(name, loopLabel) {
				if f.Returned(name, wire.TypeA) || f.Returned("x"+name, qtype) || f.Returned(strings.Repeat("0", 32)+loopLabel+zone, qtype) {
					t.Error("any question can look like a probe")
				}
				if !wire.IsSubDomain(zone, name) {
					t.Errorf("a probe for %s does not come back by way of the zone", name)
				}
				if back.Load() && !f.Returned(strings.ToUpper(name), qtype) {
					t.Errorf("the probe %s is not known", name)
				}
			}
			return reply(m, 60, "192.0.2.1"), nil
		}
		end := running(t, f)
		defer end()
		expect := func(what, name, want string) {
			t.Helper()
			synctest.Wait()
			if got, _ := ask(t, f, name+zone); got != want {
				t.Errorf("%s: %s, want %s; %v", what, got, want, f.Describe())
			}
		}
		time.Sleep(time.Second)
		expect("at first", "a.", "192.0.2.2")
		back.Store(false)
		time.Sleep(28 * time.Second)
		expect("before half a minute is over", "b.", "192.0.2.2")
		time.Sleep(2 * time.Second)
		expect("after that", "c.", "192.0.2.1")
		if len(f.loops.sent) > 0 {
			t.Errorf("probes are remembered: %v", f.loops.sent)
		}
	})
}

// TestOwn: what is known to lead back here is not asked, be it ill or not, for as long as
// that is known.
func TestOwn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var own atomic.Bool
		own.Store(true)
		f, actors := act(t, Config{
			Own:   func(at netip.AddrPort) bool { return own.Load() && at.Addr().String() == "192.0.2.1" },
			Zones: []Zone{{Name: ".", Policy: Sequential}},
		}, time.Millisecond, time.Millisecond)
		var probes atomic.Int32
		actors[0].reply = func(m *wire.Msg) (*wire.Msg, error) {
			if m.Question[0].Qtype == wire.TypeNS {
				probes.Add(1)
			}
			return reply(m, 60, "192.0.2.1"), nil
		}
		expect := func(what, name, want string) {
			t.Helper()
			if got, _ := ask(t, f, name); got != want {
				t.Errorf("%s: %s, want %s; %v", what, got, want, f.Describe())
			}
		}
		expect("before it runs", "a.", "192.0.2.2")
		defer running(t, f)()
		f.all()[0].failed(errSlow)
		f.all()[0].failed(errSlow)
		time.Sleep(20 * time.Second)
		expect("while it runs", "b.", "192.0.2.2")
		if probes.Load() != 0 {
			t.Errorf("%d probes", probes.Load())
		}
		own.Store(false)
		time.Sleep(20 * time.Second)
		expect("when it is another's", "c.", "192.0.2.1")
		own.Store(true)
		f.CheckOwn()
		expect("when it is its own again", "d.", "192.0.2.2")
		f.all()[1].own.Store(true)
		if got, took := ask(t, f, "e."); !strings.HasPrefix(got, "there is no server to ask: upstream 192.0.2.1:53 leads back") || took != 0 {
			t.Errorf("when there is no other: %s after %s", got, took)
		}
	})
}

// TestResolvConfFollowed: a server that comes into the file is asked from then on, after
// it has been found out whether it leads back here.
func TestResolvConfFollowed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("nameserver 192.0.2.1\n")
	bubble(t, func(t *testing.T) {
		f := forwarder(t, Config{ResolvConf: path})
		var mu sync.Mutex
		var dialled []string
		f.dial = func(_ context.Context, _, address string) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			dialled = append(dialled, address)
			return nil, errors.New("connection refused")
		}
		end := running(t, f)
		time.Sleep(time.Second)
		write("nameserver 192.0.2.22\n")
		time.Sleep(2 * time.Second)
		end()
		if !slices.Equal(dialled, []string{"192.0.2.1:53", "192.0.2.22:53"}) || f.all()[0].Address.String() != "192.0.2.22:53" {
			t.Errorf("asked %v; %v", dialled, f.Describe())
		}
	})
}

// TestStreamsEnd: connections to an upstream end with the server, or with its place in the
// list, even one that is only being opened.
func TestStreamsEnd(t *testing.T) {
	server := func(c net.Conn) {
		for m := read(c); m != nil; m = read(c) {
			c.Write(framed(reply(m, 60, "192.0.2.1")))
		}
	}
	one, other := Server{Address: netip.MustParseAddrPort("192.0.2.1:53"), Protocol: TCP}, Server{Address: netip.MustParseAddrPort("192.0.2.2:53"), Protocol: TCP}
	for name, end := range map[string]func(f *Forwarder, run func()){
		"the server ends":         func(_ *Forwarder, run func()) { run() },
		"another takes its place": func(f *Forwarder, _ func()) { f.zones[0].use([]Server{other}) },
	} {
		bubble(t, func(t *testing.T) {
			f := forwarder(t, Config{Zones: []Zone{{Name: ".", Servers: []Server{one}}}})
			pipe(f, server)
			run := running(t, f)
			ask(t, f, "a.")
			u := f.all()[0]
			if u.streams.open() != 1 {
				t.Fatalf("%d connections", u.streams.open())
			}
			end(f, run)
			if u.streams.open() != 0 {
				t.Errorf("%s: %d connections are open", name, u.streams.open())
			}
			run()
		})
	}
	bubble(t, func(t *testing.T) {
		f := forwarder(t, Config{Zones: []Zone{{Name: ".", Servers: []Server{one}}}})
		defer f.stop()
		client, far := net.Pipe()
		f.dial = func(context.Context, string, string) (net.Conn, error) { time.Sleep(time.Second); return client, nil }
		u := f.all()[0]
		go u.exchange(t.Context(), a("a."))
		time.Sleep(100 * time.Millisecond)
		u.streams.close()
		time.Sleep(time.Second)
		synctest.Wait()
		far.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := far.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
			t.Errorf("a connection that was opened too late stays: %v", err)
		}
	})
}

// TestRefreshBounded: what is asked for in the background takes a place like any other
// query; without one it waits for the next client.
func TestRefreshBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f, actors := act(t, Config{Zones: []Zone{{Name: ".", MaxConcurrent: 1}}, Cache: Cache{Stale: Stale{For: time.Hour}}}, time.Millisecond)
		cachedOr(t, f, "a.")
		time.Sleep(40 * time.Second)
		actors[0].set(silent)
		actors[0].asked.Store(0)
		done := make(chan string)
		go func() { done <- address(f.Exchange(t.Context(), a("b."))) }()
		synctest.Wait()
		cachedOr(t, f, "a.")
		synctest.Wait()
		if n := actors[0].asked.Load(); n != 1 {
			t.Errorf("asked %d times, want once, for b", n)
		}
		<-done
		actors[0].set(time.Millisecond)
		cachedOr(t, f, "a.")
		time.Sleep(2 * time.Second)
		if m, ok := f.Cached(a("a.")); !ok || m.Answer[0].Header().Ttl != 29 {
			t.Errorf("%v", m)
		}
		if n := gathered(t, f)["coredns_cache_served_stale_total{server=dns://:53,view=,zones=.,}"]; n != 2 {
			t.Errorf("%v replies are counted as stale", n)
		}
	})
}
