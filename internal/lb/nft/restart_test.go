package nft

import (
	"log/slog"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netns"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// inNamespace runs the rest of a test in a network namespace of its own.
func inNamespace(t testing.TB) {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	namespace, err := netns.New()
	if err != nil {
		t.Fatal("making a network namespace (run as root):", err)
	}
	t.Cleanup(func() { namespace.Close() })
}

func open(t testing.TB) *Plane {
	t.Helper()
	p, err := New(Config{Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func tableOf(entries map[lb.Frontend]*lb.Entry) lb.Table {
	e := pmap.Map[lb.Frontend, *lb.Entry]{}.Edit()
	for f, entry := range entries {
		e.Set(f, entry)
	}
	return lb.Table{
		Revision: 1, Synced: true, Entries: e.Map(), Uplinks: []string{"eth0"},
		NodeAddresses: []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")},
	}
}

func frontendOf(text string, protocol desired.Protocol) lb.Frontend {
	a := netip.MustParseAddrPort(text)
	return lb.Frontend{Address: a.Addr(), Port: a.Port(), Protocol: protocol}
}

func choiceOf(texts ...string) lb.Choice {
	var c lb.Choice
	for _, text := range texts {
		c.Backends = append(c.Backends, netip.MustParseAddrPort(text))
	}
	return c
}

// contents is what the kernel has in every set of the table.
func contents(t testing.TB, p *Plane) map[string][]string {
	t.Helper()
	p.mu.Lock() // the Plane watches by the same socket
	defer p.mu.Unlock()
	all := map[string][]string{}
	for _, s := range p.layout.sets() {
		var elements []string
		err := p.socket.readElements(p.config.Table, s.name, func() { elements = nil }, func(e kernelElement) {
			elements = append(elements, string(e.key)+"|"+string(e.end)+"|"+string(e.data))
		})
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(elements)
		if len(elements) > 0 {
			all[s.name] = elements
		}
	}
	return all
}

// anew is what the kernel has of a table in a namespace where nothing was before.
func anew(t testing.TB, table lb.Table) map[string][]string {
	t.Helper()
	result := make(chan map[string][]string)
	go func() {
		defer close(result)
		inNamespace(t)
		p := open(t)
		if err := p.Apply(t.Context(), table); err != nil {
			t.Error(err)
			return
		}
		result <- contents(t, p)
	}()
	return <-result
}

// TestRestart gives the table to one process after another: each takes over what
// is there, changes what is wanted, and leaves nothing of before.
func TestRestart(t *testing.T) {
	inNamespace(t)
	tables := []lb.Table{
		tableOf(map[lb.Frontend]*lb.Entry{
			frontendOf("10.96.0.1:80", desired.TCP):  {Choice: choiceOf("10.0.0.1:80", "10.0.0.2:80")},
			frontendOf("0.0.0.0:30080", desired.TCP): {Choice: choiceOf("10.0.0.1:80"), Outside: &lb.Choice{Drop: true}},
			frontendOf("[fd96::1]:53", desired.UDP):  {Choice: choiceOf("[fd00::1]:53"), Affinity: 10 * 1e9},
		}),
		tableOf(map[lb.Frontend]*lb.Entry{
			frontendOf("10.96.0.1:80", desired.TCP):  {Choice: choiceOf("10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80")},
			frontendOf("10.96.0.2:80", desired.SCTP): {},
			frontendOf("192.0.2.1:80", desired.TCP):  {Choice: choiceOf("10.0.0.1:80"), Sources: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}},
		}),
		tableOf(nil),
	}
	for round, table := range append(tables, tables...) {
		p := open(t)
		if err := p.Apply(t.Context(), table); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		got := contents(t, p)
		p.Close()
		want := anew(t, table)
		for name := range want {
			if strings.HasPrefix(name, "actions") {
				// Chains that nobody uses stay for a while, for packets on their way there.
				got[name] = slices.DeleteFunc(got[name], func(x string) bool { return !slices.Contains(want[name], x) })
			}
			if !slices.Equal(got[name], want[name]) {
				t.Errorf("round %d: set %s has %q, made anew %q", round, name, got[name], want[name])
			}
		}
		if len(got) != len(want) {
			t.Errorf("round %d: %d sets with elements, made anew %d", round, len(got), len(want))
		}
	}
	if err := Remove(); err != nil {
		t.Error(err)
	}
	if err := Remove(); err != nil {
		t.Errorf("removing what is not there: %v", err)
	}
}
