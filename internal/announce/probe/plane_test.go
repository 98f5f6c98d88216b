package probe

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/announce"
	"github.com/fairlead-net/fairlead/internal/desired"
)

// waits is how long anything may take.
const waits = 20 * time.Second

// newNamespace moves the test to a network namespace of its own, in which loopback
// has the addresses of some nodes.
func newNamespace(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // and never unlock it: the thread ends with the test
	network, err := netns.New()
	if err != nil {
		t.Fatalf("network namespaces need root: %v", err)
	}
	t.Cleanup(func() { network.Close() })
	lo, err := netlink.LinkByName("lo")
	must(t, err)
	must(t, netlink.LinkSetUp(lo))
	for _, prefix := range []string{"fd00::1/128", "fd00::2/128", "fd00::3/128"} {
		a, err := netlink.ParseAddr(prefix)
		must(t, err)
		a.Flags = unix.IFA_F_NODAD
		must(t, netlink.AddrAdd(lo, a))
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// nodesOf makes nodes of NAME=ADDRESS.
func nodesOf(texts ...string) []announce.Node {
	var all []announce.Node
	for _, text := range texts {
		name, address, _ := strings.Cut(text, "=")
		all = append(all, announce.Node{Name: name, Addresses: []netip.Addr{netip.MustParseAddr(address)}})
	}
	return all
}

func table(node string, nodes []announce.Node, offers ...string) announce.Table {
	t := announce.Table{Synced: true, Node: node, Nodes: nodes}
	for _, o := range offers {
		t.Offers = append(t.Offers, desired.Name{Namespace: "m", Name: o})
	}
	return t
}

func config(node string) Config {
	return Config{
		Log: slog.New(slog.DiscardHandler), Node: node, Port: 7947, Key: func() []byte { return []byte("key") },
		Interval: 20 * time.Millisecond, Misses: 50, // a busy machine must not make the test fail
	}
}

func start(t *testing.T, c Config, want announce.Table) *Plane {
	t.Helper()
	p, err := New(c)
	must(t, err)
	t.Cleanup(func() { must(t, p.Close()) })
	must(t, p.Apply(t.Context(), want))
	return p
}

// until waits for Live to be as wanted, and only looks when it has changed.
func until(t *testing.T, p *Plane, what string, is func(map[string]*announce.Condition) bool) {
	t.Helper()
	deadline := time.After(waits)
	for !is(p.Live().Nodes) {
		select {
		case <-p.Changed():
		case <-deadline:
			t.Fatalf("%s: not so for %s; alive: %v, %q", p.config.Node, what, slices.Collect(maps.Keys(p.Live().Nodes)), p.Describe())
		}
	}
}

func alive(names string) func(map[string]*announce.Condition) bool {
	return func(nodes map[string]*announce.Condition) bool {
		return strings.Join(slices.Sorted(maps.Keys(nodes)), "") == names
	}
}

// TestPlanes lets three processes meet, tell each other what they offer, leave and
// end, over IPv4 and IPv6.
func TestPlanes(t *testing.T) {
	for family, nodes := range map[string][]announce.Node{
		"IPv4": nodesOf("a=127.0.0.1", "b=127.0.0.2", "c=127.0.0.3"), "IPv6": nodesOf("a=fd00::1", "b=fd00::2", "c=fd00::3"),
	} {
		t.Run(family, func(t *testing.T) {
			newNamespace(t)
			a := start(t, config("a"), table("a", nodes, "l"))
			b := start(t, config("b"), table("b", nodes, "l", "m"))
			c := start(t, config("c"), table("c", nodes))
			for _, p := range []*Plane{a, b, c} {
				until(t, p, "all are alive", alive("abc"))
			}
			hashes := table("b", nodes, "l", "m").OfferHashes()
			offered := func(nodes map[string]*announce.Condition) bool { return slices.Equal(nodes["b"].Offers, hashes) }
			until(t, a, "b offers", offered)
			until(t, b, "b offers", offered)
			must(t, b.Apply(t.Context(), table("b", nodes)))
			until(t, a, "b offers nothing", func(nodes map[string]*announce.Condition) bool { return len(nodes["b"].Offers) == 0 })
			b.Leave()
			leaving := func(nodes map[string]*announce.Condition) bool { return nodes["b"].Leaving && !nodes["a"].Leaving }
			until(t, a, "b is leaving", leaving)
			until(t, b, "b is leaving", leaving)
			must(t, b.Close())
			until(t, c, "b is gone", alive("ac"))
			until(t, b, "of a closed Plane nobody is alive", alive(""))
			if err := b.Apply(t.Context(), table("b", nodes)); !errors.Is(err, os.ErrClosed) {
				t.Errorf("Apply after Close = %v", err)
			}
			if got := a.Counters(); got.Sent == 0 || got.Received == 0 || got.Malformed+got.Unknown+got.WrongKey > 0 {
				t.Errorf("%+v", got)
			}
			if lines := strings.Join(c.Describe(), "\n"); !strings.Contains(lines, "probes 2 nodes every 20ms, of which 1 are alive; one that does not answer for 1s counts as dead") ||
				!strings.Contains(lines, "node b has answered no probe for") {
				t.Error(lines)
			}
		})
	}
}

// TestFarewell expects the end of a process to be known at once.
func TestFarewell(t *testing.T) {
	newNamespace(t)
	nodes := nodesOf("a=127.0.0.1", "b=127.0.0.2")
	patient := func(node string) Config {
		c := config(node)
		c.Misses = 5000
		return c
	}
	a, b := start(t, patient("a"), table("a", nodes)), start(t, patient("b"), table("b", nodes, "l"))
	until(t, a, "b offers", func(nodes map[string]*announce.Condition) bool {
		return nodes["b"] != nil && len(nodes["b"].Offers) == 1
	})
	must(t, b.Close())
	until(t, a, "b offers nothing and leaves", func(nodes map[string]*announce.Condition) bool {
		return len(nodes["b"].Offers) == 0 && nodes["b"].Leaving
	})
}

// TestStrangers sends what must not be listened to.
func TestStrangers(t *testing.T) {
	newNamespace(t)
	nodes := nodesOf("a=127.0.0.1", "b=127.0.0.2")
	a := start(t, config("a"), table("a", nodes))
	other := config("b")
	var key atomic.Value
	key.Store("other")
	other.Key = func() []byte { return []byte(key.Load().(string)) }
	b := start(t, other, table("b", nodes))
	until(t, b, "b is alone", alive("b"))
	eventually(t, "packets with another key", func() bool { return a.Counters().WrongKey > 0 && b.Counters().WrongKey > 0 })
	until(t, a, "a is alone", alive("a"))
	conn, err := net.Dial("udp4", "127.0.0.1:7947")
	must(t, err)
	defer conn.Close()
	say := func(content []byte) {
		_, err := conn.Write(content)
		must(t, err)
	}
	k := some()
	say([]byte("hello"))
	say(make([]byte, 4000))
	say(newSigner([]byte("key")).sign(k.append(nil), []byte("a")))
	eventually(t, "malformed and unknown", func() bool { return a.Counters().Malformed == 2 && a.Counters().Unknown == 1 })
	// The key is read again.
	key.Store("key")
	until(t, a, "they have met", alive("ab"))
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(waits); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, waits)
		}
	}
}

// TestNotReady goes through what keeps a node from taking part.
func TestNotReady(t *testing.T) {
	newNamespace(t)
	nodes := nodesOf("a=127.0.0.1")
	c := config("a")
	var key atomic.Pointer[[]byte]
	key.Store(&[]byte{})
	c.Key = func() []byte { return *key.Load() }
	p := start(t, c, announce.Table{Nodes: nodes})
	says := func(what string) {
		t.Helper()
		eventually(t, what, func() bool { return strings.Contains(strings.Join(p.Describe(), "\n"), what) })
		if len(p.Live().Nodes) > 0 {
			t.Errorf("%s: %v", what, p.Live())
		}
	}
	says("no key to sign probes with")
	key.Store(&[]byte{1, 2, 3})
	says("has no endpoint on it")
	away := table("a", nodesOf("a=192.0.2.1"))
	if err := p.Apply(t.Context(), away); err == nil || !strings.Contains(err.Error(), "192.0.2.1") {
		t.Errorf("listens at the address of another machine: %v", err)
	}
	says("it cannot listen")
	must(t, p.Apply(t.Context(), table("a", append(nodes, nodesOf("b=fd00::2")...))))
	until(t, p, "a takes part", alive("a"))
	if lines := strings.Join(p.Describe(), "\n"); !strings.Contains(lines, "node b cannot be probed: it has no address of a family that this node has") {
		t.Error(lines)
	}
	must(t, p.Apply(t.Context(), announce.Table{}))
	if !alive("a")(p.Live().Nodes) {
		t.Error("a Table that is not synced has changed something")
	}
	must(t, p.Apply(t.Context(), table("a", nodesOf("b=127.0.0.2"))))
	says("has no endpoint on it")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Apply(ctx, table("a", nodes)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for _, bad := range []func(*Config){
		func(c *Config) { c.Node = "" }, func(c *Config) { c.Node = strings.Repeat("n", 254) }, func(c *Config) { c.Port = 0 },
		func(c *Config) { c.Key = nil }, func(c *Config) { c.Interval = 0 }, func(c *Config) { c.Interval = time.Hour }, func(c *Config) { c.Misses = 1 },
	} {
		c := config("a")
		bad(&c)
		if p, err := New(c); err == nil {
			_ = p.Close()
			t.Errorf("%+v is taken", c)
		}
	}
}

// TestDrain lets packets wait in the socket of a Plane whose loop is the first to
// run again: they are taken in before anybody is taken for dead.
func TestDrain(t *testing.T) {
	newNamespace(t)
	nodes := nodesOf("a=127.0.0.1", "b=127.0.0.2")
	a, b := start(t, config("a"), table("a", nodes)), start(t, config("b"), table("b", nodes))
	until(t, a, "both are alive", alive("ab"))
	until(t, b, "both are alive", alive("ab"))
	a.mu.Lock()
	defer a.mu.Unlock()
	heard := a.machine.order[0].heard
	before := a.counters.received.Load()
	// The goroutine that reads takes one packet and then waits for the lock.
	eventually(t, "packets wait", func() bool {
		a.drain()
		return a.counters.received.Load() > before+3
	})
	if !a.machine.order[0].heard.After(heard) {
		t.Error("packets were not taken in")
	}
}

// TestFullSocket must not wait where the kernel has no room.
func TestFullSocket(t *testing.T) {
	newNamespace(t)
	s, err := listen(netip.MustParseAddrPort("127.0.0.1:7947"))
	must(t, err)
	defer s.close()
	b := make([]byte, maxPacket)
	for range 20_000 {
		must(t, s.send(b, netip.MustParseAddrPort("127.0.0.1:7947")))
	}
	if n, ok := s.poll(b); !ok || n != maxPacket {
		t.Errorf("%d bytes", n)
	}
	if err := s.send(b, netip.MustParseAddrPort("192.0.2.1:7947")); err == nil || !strings.Contains(err.Error(), "to 192.0.2.1:7947") {
		t.Errorf("sent where there is no route: %v", err)
	}
}

// BenchmarkSockets is what 1,000 packets cost, sent and received, with the kernel's
// part of both.
func BenchmarkSockets(b *testing.B) {
	s, err := listen(netip.MustParseAddrPort("127.0.0.1:0"))
	must(b, err)
	defer s.close()
	to := s.conn.LocalAddr().(*net.UDPAddr).AddrPort()
	content := make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		for range 1000 {
			must(b, s.send(content, to))
			if _, err := s.receive(content); err != nil {
				b.Fatal(err)
			}
		}
	}
}
