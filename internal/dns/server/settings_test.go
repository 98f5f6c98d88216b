package server

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	wire "github.com/miekg/dns"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/dns"
	"github.com/fairlead-net/fairlead/internal/dns/server/forward"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// recompiled returns the Table of a small cluster by another Config.
func recompiled(t testing.TB, last dns.Table, config dns.Config) dns.Table {
	t.Helper()
	state := &desired.State{Revision: 7, Synced: true, Namespaces: pmap.Map[string, *desired.Namespace]{}.Set("shop", &desired.Namespace{})}
	for _, s := range []*desired.Service{
		{Name: desired.Name{Namespace: "shop", Name: "web"}, Type: desired.ClusterIP, Addresses: []netip.Addr{netip.MustParseAddr("10.96.0.1")}},
		{Name: desired.Name{Namespace: "shop", Name: "out"}, Type: desired.ExternalName, ExternalName: "www.example.com"},
	} {
		state.Services = state.Services.Set(s.Name, s)
	}
	table, _ := dns.Compile(state, last, config)
	return table
}

// generations are settings that differ in all that can be told from replies. In each
// one of an odd number alias.example.org leads by a rule, a Service and an upstream to
// an address; in others only an upstream is asked. Each of four has its own upstream.
type generations struct {
	plane     *Plane
	upstreams [4]netip.AddrPort
}

func (g *generations) config(t *testing.T, n int) (Config, dns.Config) {
	c := Config{MaxUDP: 512 + n, Forward: forward.Config{Upstreams: []netip.AddrPort{g.upstreams[n%4]}}}
	if n%2 == 1 {
		c.Blocks = readBlocks(t, fmt.Sprintf(". {\n kubernetes cluster.local\n template IN A alias.example.org {\n answer \"alias.example.org. %d IN CNAME out.shop.svc.cluster.local.\"\n }\n}", n))
	}
	return c, dns.Config{TTL: uint32(n)}
}

func (g *generations) apply(t *testing.T, n int) {
	config, zone := g.config(t, n)
	settings, err := g.plane.Settings(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.plane.Change(t.Context(), recompiled(t, g.plane.live.Load().table, zone), settings); err != nil {
		t.Fatal(err)
	}
}

// told returns the generation that a reply is of, or -1 if it is of several.
func told(reply *wire.Msg) int {
	addresses := 0
	var ttls []uint32
	for _, rr := range reply.Answer {
		switch rr := rr.(type) {
		case *wire.CNAME:
			ttls = append(ttls, rr.Hdr.Ttl)
		case *wire.A:
			addresses = int(rr.A.To4()[3])
			if rr.A.To4()[0] == 10 { // of the cluster
				addresses, ttls = int(rr.Hdr.Ttl), append(ttls, rr.Hdr.Ttl)
			}
		}
	}
	size := int(reply.IsEdns0().UDPSize()) - 512
	for _, ttl := range ttls {
		if int(ttl) != size {
			return -1
		}
	}
	if size%4 != addresses%4 || len(ttls) == 0 && size%2 == 1 || len(ttls) > 1 && size%2 == 0 {
		return -1
	}
	return size
}

// TestChangeUnderLoad changes rules, forwarding, the TTL of the cluster and the size of
// replies hundreds of times while clients ask, and expects every query to be answered,
// by one generation of all of these, and none to come after a later one.
func TestChangeUnderLoad(t *testing.T) {
	g := &generations{}
	for i := range g.upstreams {
		g.upstreams[i] = upstream(t, elsewhere(t, map[string][]string{
			"www.example.com.":   {fmt.Sprintf("www.example.com. 60 A 192.0.2.%d", i)},
			"alias.example.org.": {fmt.Sprintf("alias.example.org. 60 A 192.0.2.%d", i)},
		}))
	}
	config, zone := g.config(t, 1)
	config.Sockets = 2
	p, at := start(t, config, recompiled(t, dns.Table{}, zone))
	g.plane = p
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	var applied, asked atomic.Int64
	applied.Store(1)
	for i := range 4 {
		all.Go(func() {
			client, last := wire.Client{Net: []string{"udp", "tcp"}[i%2]}, 0
			conn, err := client.Dial(at.String())
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			for n := 0; ctx.Err() == nil; n++ {
				least := int(applied.Load())
				m := query([]string{"alias.example.org.", "web.shop.svc.cluster.local."}[n/2%2], wire.TypeA).SetEdns0(4096, false)
				reply, _, err := client.ExchangeWithConn(m, conn)
				if err != nil || len(reply.Answer) == 0 {
					t.Errorf("query %d: %v, %v", n, reply, err)
					cancel()
					return
				}
				if now := told(reply); now < least || now < last {
					t.Errorf("generation %d after %d, applied %d:\n%v", now, last, least, reply)
					cancel()
					return
				}
				last = told(reply)
				asked.Add(1)
			}
		})
	}
	const changes = 400
	for n := 2; n <= changes && ctx.Err() == nil; n++ {
		g.apply(t, n)
		applied.Store(int64(n))
		for before := asked.Load(); asked.Load() < before+3 && ctx.Err() == nil; {
			time.Sleep(50 * time.Microsecond)
		}
	}
	cancel()
	all.Wait()
	t.Logf("%d queries during %d changes", asked.Load(), changes)
}

// TestChangeKeepsCache asks for names of two zones, changes the rules, then who is asked
// for one zone, and expects only that to be asked for again.
func TestChangeKeepsCache(t *testing.T) {
	var asked atomic.Int64
	counting := func() netip.AddrPort {
		return upstream(t, func(w wire.ResponseWriter, m *wire.Msg) {
			if m.Question[0].Qtype == wire.TypeA {
				asked.Add(1)
			}
			addresses(w, m)
		})
	}
	up, corp, other := counting(), counting(), counting()
	zones := func(corp netip.AddrPort) forward.Config {
		return forward.Config{Zones: []forward.Zone{{Name: ".", Servers: []forward.Server{{Address: up}}}, {Name: "corp.example.", Servers: []forward.Server{{Address: corp}}}}}
	}
	p, at := start(t, Config{Forward: zones(corp)}, cluster(t, 0))
	change := func(c Config) {
		t.Helper()
		settings, err := p.Settings(c)
		if err != nil {
			t.Fatal(err)
		}
		p.Change(t.Context(), p.live.Load().table, settings)
	}
	expectAsked := func(when string, want int64) {
		t.Helper()
		for _, name := range []string{"www.example.com.", "a.corp.example."} {
			expect(t, ask(t, "udp", at, query(name, wire.TypeA)), 0, "192.0.2.1")
		}
		if got := asked.Load(); got != want {
			t.Errorf("%s: upstreams have been asked %d times, want %d", when, got, want)
		}
	}
	expectAsked("first", 2)
	rules := ". {\n kubernetes cluster.local\n hosts /none hosts.example.org {\n 192.0.2.77 hosts.example.org\n }\n}"
	change(Config{Forward: zones(corp), Blocks: readBlocks(t, rules)})
	expect(t, ask(t, "udp", at, query("hosts.example.org.", wire.TypeA)), 0, "192.0.2.77")
	expectAsked("other rules", 2)
	change(Config{Forward: zones(other), Blocks: readBlocks(t, rules)})
	expectAsked("another server for a zone", 3)
	change(Config{Forward: zones(other)})
	expectAsked("no rules", 3)
	if _, err := p.Settings(Config{MaxUDP: 1}); err == nil {
		t.Error("a bad Config is taken")
	}
	expectAsked("after a bad Config", 3)
}

// TestChangeSize: replies may be larger than the sockets had room for at first.
func TestChangeSize(t *testing.T) {
	p, at := start(t, Config{MaxUDP: 512}, cluster(t, 50))
	large := func() *wire.Msg {
		return ask(t, "udp", at, query("big.shop.svc.cluster.local.", wire.TypeA).SetEdns0(4096, false))
	}
	if reply := large(); !reply.Truncated {
		t.Errorf("%d bytes", reply.Len())
	}
	settings, err := p.Settings(Config{MaxUDP: 4096})
	if err != nil {
		t.Fatal(err)
	}
	p.Change(t.Context(), p.live.Load().table, settings)
	if reply := large(); reply.Truncated || len(reply.Answer) != 50 || reply.IsEdns0().UDPSize() != 4096 {
		t.Errorf("%d answers, %v", len(reply.Answer), reply.IsEdns0())
	}
}

// TestChangeMeanwhile: a query that waits for an upstream while the rules and the
// forwarding change is answered by those that it came under.
func TestChangeMeanwhile(t *testing.T) {
	came, release := make(chan struct{}), make(chan struct{})
	up := upstream(t, func(w wire.ResponseWriter, m *wire.Msg) {
		if m.Question[0].Name == "www.example.com." {
			came <- struct{}{}
			<-release
		}
		addresses(w, m)
	})
	rewrite := ". {\n kubernetes cluster.local\n rewrite name old.example.org www.example.com\n}"
	p, at := start(t, Config{Blocks: readBlocks(t, rewrite), Forward: forward.Config{Upstreams: []netip.AddrPort{up}, MinPatience: time.Second, Patience: time.Second}}, cluster(t, 0))
	got := make(chan *wire.Msg, 1)
	go func() { got <- ask(t, "udp", at, query("old.example.org.", wire.TypeA)) }()
	<-came
	settings, err := p.Settings(Config{Blocks: readBlocks(t, strings.Replace(rewrite, "www.example.com", "web.shop.svc.cluster.local", 1))})
	if err != nil {
		t.Fatal(err)
	}
	p.Change(t.Context(), p.live.Load().table, settings)
	expect(t, ask(t, "udp", at, query("old.example.org.", wire.TypeA)), 0, "10.96.0.1")
	close(release)
	reply := <-got
	expect(t, reply, 0, "192.0.2.1")
	if reply.Answer[0].Header().Name != "old.example.org." {
		t.Errorf("the answer is for %s", reply.Answer[0].Header().Name)
	}
}
