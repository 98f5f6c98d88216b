package coredns

import (
	"flag"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"

	"github.com/miekg/dns"
)

var (
	clusters  = flag.Int("clusters", 40, "clusters to compare, each made at random")
	questions = flag.Int("questions", 400, "questions to ask about each cluster")
	seed      = flag.Uint64("seed", 1, "of the clusters and questions")
)

// enough is the number of questions after which every listed difference must
// have been seen.
const enough = 16000

// TestDifferential asks CoreDNS and Fairlead the same questions about the same
// clusters. They must reply the same, or differ in a way that differences lists;
// and every way that it lists must still occur.
func TestDifferential(t *testing.T) {
	local := localAddresses(t)
	upstream := startUpstream(t)
	allowed, seen, unlisted := differences(), map[string]int{}, 0
	for i := range *clusters {
		g := generator{rand.New(rand.NewPCG(*seed, uint64(i)))}
		for _, c := range compare(t, g, local, upstream) {
			kind := ""
			for _, d := range allowed {
				if d.is(c) {
					kind = d.name
					break
				}
			}
			if seen[kind]++; kind == "" {
				if unlisted++; unlisted <= 50 {
					t.Errorf("cluster %d: %s", i, c)
				}
			}
		}
	}
	total := *clusters * *questions
	t.Logf("%d questions about %d clusters, seed %d: %d differences that are not listed", total, *clusters, *seed, unlisted)
	for _, d := range allowed {
		t.Logf("%6d %s: %s", seen[d.name], d.name, d.reason)
		if seen[d.name] == 0 && total >= enough {
			t.Errorf("the difference %q did not occur: remove it from the list", d.name)
		}
	}
}

// compare makes a cluster, asks both servers about it, and returns where their
// replies differ.
func compare(t *testing.T, g generator, local []netip.Addr, upstream netip.AddrPort) []*comparison {
	t.Helper()
	c := g.cluster(local)
	core, fairlead := startCoreDNS(t, c, upstream), startFairlead(t, c, upstream, local)
	outside := &peer{name: "upstream", address: upstream, stop: func() error { return nil }}
	var differ []*comparison
	a := g.asker(c)
	for range *questions {
		q := a.question()
		var replies []*dns.Msg
		for _, p := range []*peer{core, fairlead, outside} {
			reply, err := p.ask(q)
			if err != nil {
				t.Fatalf("%s from %s: %v", describe(q), p.name, err)
			}
			replies = append(replies, reply)
		}
		if compared := a.comparison(q, replies[0], replies[1], replies[2]); !compared.core.equal(compared.fairlead) {
			differ = append(differ, compared)
		}
	}
	for _, p := range []*peer{core, fairlead, outside} {
		if err := p.close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	}
	return differ
}

// localAddresses returns those at which CoreDNS, bound to all, believes to be
// reached: its way to find the Service that leads to it.
func localAddresses(t *testing.T) []netip.Addr {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	var local []netip.Addr
	for _, address := range all {
		if prefix, err := netip.ParsePrefix(address.String()); err == nil && !prefix.Addr().IsLoopback() {
			local = append(local, prefix.Addr())
		}
	}
	return local
}
