package forward

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	wire "github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// at returns a server with one address.
func at(address netip.AddrPort) []Server { return []Server{{Address: address}} }

// TestNext changes who is asked for a zone: what others have said stays in the cache,
// what the zone's servers have said does not, and the Forwarder before is as it was.
func TestNext(t *testing.T) {
	root, before, after := serve(t, "127.0.0.51:0", says("192.0.2.1")), serve(t, "127.0.0.51:0", says("192.0.2.2")), serve(t, "127.0.0.51:0", says("192.0.2.3"))
	config := Config{Zones: []Zone{{Name: ".", Servers: at(root)}, {Name: "corp.example", Servers: at(before)}, {Name: "same.example", Servers: at(root), MaxConcurrent: 7}}}
	f := forwarder(t, config)
	names := []string{"www.example.com.", "a.corp.example.", "b.same.example.", "c.out.example."}
	for _, name := range names {
		if _, err := f.Exchange(t.Context(), a(name)); err != nil {
			t.Fatal(err)
		}
	}
	cached := func(f *Forwarder) string {
		var found []string
		for _, name := range names {
			if reply, ok := f.Cached(a(name)); ok {
				found = append(found, name+address(reply, nil))
			}
		}
		return strings.Join(found, " ")
	}
	if same, err := f.Next(config); err != nil || same != f {
		t.Errorf("nothing changes: %p, not %p, %v", same, f, err)
	}
	config.Zones = []Zone{{Name: ".", Servers: at(root)}, {Name: "corp.example", Servers: at(after)}, {Name: "same.example", Servers: at(root)}, {Name: "out.example", Servers: at(after)}}
	next, err := f.Next(config)
	if err != nil {
		t.Fatal(err)
	}
	if got := cached(next); got != "www.example.com.192.0.2.1 b.same.example.192.0.2.1" {
		t.Errorf("still cached: %s", got)
	}
	if next.route("www.example.com.") != f.route("www.example.com.") || next.route("b.same.example.") == f.route("b.same.example.") {
		t.Error("a zone is kept if it stays as it is, and only then")
	}
	if got := address(next.Exchange(t.Context(), a("a.corp.example."))); got != "192.0.2.3" {
		t.Errorf("the next one asks the server of before: %s", got)
	}
	if got := address(f.Exchange(t.Context(), a("d.corp.example."))); got != "192.0.2.2" {
		t.Errorf("the one before asks the server of the next: %s", got)
	}
	if got := cached(f); !strings.Contains(got, "a.corp.example.192.0.2.2") || strings.Count(got, "192") != 4 {
		t.Errorf("cached before: %s", got)
	}
	config.Zones[0].Except = []string{"example.com"}
	if narrower, err := next.Next(config); err != nil || strings.Contains(cached(narrower), "www.example.com.") {
		t.Errorf("a name that nobody is asked for any more is cached: %s, %v", cached(narrower), err)
	}
	config.Zones[0].Except = nil
	config.Cache.Success.Entries = 5
	if other, err := next.Next(config); err != nil || cached(other) != "" {
		t.Errorf("another cache holds %s, %v", cached(other), err)
	}
	config.Cache.Disabled = true
	if other, err := next.Next(config); err != nil || cached(other) != "" {
		t.Errorf("no cache holds %s, %v", cached(other), err)
	}
	config.Zones[0].Policy = "best"
	if _, err := next.Next(config); err == nil {
		t.Error("a bad Config is taken")
	}
}

// TestNextConnections: connections of servers that stay are used on, those of others
// are closed when no query can wait for them.
func TestNextConnections(t *testing.T) {
	stays, goes := serve(t, "127.0.0.52:0", says("192.0.2.1")), serve(t, "127.0.0.52:0", says("192.0.2.2"))
	config := Config{Timeout: 200 * time.Millisecond, Zones: []Zone{{Name: ".", Servers: at(stays), TCP: true}, {Name: "gone.example", Servers: at(goes), TCP: true}}}
	f := forwarder(t, config)
	dialled := 0
	dial := f.dial
	f.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		dialled++
		return dial(ctx, network, address)
	}
	run := func(f *Forwarder) (end func()) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { f.Run(ctx); close(ended) }()
		return func() { cancel(); <-ended }
	}
	for _, name := range []string{"a.example.", "a.gone.example."} {
		if _, err := f.Exchange(t.Context(), a(name)); err != nil {
			t.Fatal(err)
		}
	}
	kept, gone := (*f.route("a.example.").upstreams.Load())[0].streams, (*f.route("a.gone.example.").upstreams.Load())[0].streams
	config.Zones = config.Zones[:1]
	next, err := f.Next(config)
	if err != nil {
		t.Fatal(err)
	}
	endFirst := run(f)
	next.TakeOver()
	endNext := run(next)
	endFirst()
	if kept.open() != 1 || gone.open() != 0 {
		t.Errorf("%d connections to the server that stays, %d to the other", kept.open(), gone.open())
	}
	if _, err := next.Exchange(t.Context(), a("b.example.")); err != nil || dialled != 2 {
		t.Errorf("%d connections, %v", dialled, err)
	}
	endNext()
	if kept.open() != 0 || next.ctx.Err() == nil {
		t.Error("the last end leaves connections")
	}
}

// TestNextMetrics: what is counted goes on when the cache is another.
func TestNextMetrics(t *testing.T) {
	up := serve(t, "127.0.0.53:0", says("192.0.2.1"))
	config := Config{Zones: []Zone{{Name: ".", Servers: at(up)}}}
	config.Cache.Success.Entries = 1
	f := forwarder(t, config)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(f.Metrics())
	count := func(f *Forwarder) {
		for _, name := range []string{"a.example.", "b.example.", "c.example."} {
			f.Cached(a(name))
			if _, err := f.Exchange(t.Context(), a(name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	count(f)
	config.Cache.Success.Entries = 2
	next, err := f.Next(config)
	if err != nil {
		t.Fatal(err)
	}
	next.TakeOver()
	count(next)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			got[family.GetName()] += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	if got["coredns_cache_misses_total"] != 6 || got["coredns_cache_evictions_total"] != 3 || got["coredns_cache_entries"] != 2 {
		t.Errorf("%v", got)
	}
}

// TestNextMeanwhile: a query that waits when the next one takes over is answered by
// the server that it was sent to, also by TCP.
func TestNextMeanwhile(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	slow := serve(t, "127.0.0.54:0", func(w wire.ResponseWriter, m *wire.Msg) {
		if m.Question[0].Qtype == wire.TypeA {
			asked <- struct{}{}
			<-release
		}
		w.WriteMsg(reply(m, 60, "192.0.2.2"))
	})
	config := Config{Zones: []Zone{{Name: ".", Servers: at(slow), TCP: true}}, MinPatience: time.Second, Patience: time.Second}
	f := forwarder(t, config)
	ctx, cancel := context.WithCancel(t.Context())
	go f.Run(ctx)
	got := make(chan string, 1)
	go func() { got <- address(f.Exchange(t.Context(), a("www.example.com."))) }()
	<-asked
	config.Zones = []Zone{{Name: ".", Servers: at(serve(t, "127.0.0.54:0", says("192.0.2.3")))}}
	next, err := f.Next(config)
	if err != nil {
		t.Fatal(err)
	}
	next.TakeOver()
	cancel()
	if other := address(next.Exchange(t.Context(), a("www.example.com."))); other != "192.0.2.3" {
		t.Errorf("the next one says %s", other)
	}
	close(release)
	if old := <-got; old != "192.0.2.2" {
		t.Errorf("the one before says %s", old)
	}
}
