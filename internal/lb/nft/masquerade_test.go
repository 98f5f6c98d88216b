package nft

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// TestMasqueradePorts expects every masqueraded connection, of each protocol and
// whether the client has asked itself or another node, to leave by a port of the
// range, and errors about one to find back.
func TestMasqueradePorts(t *testing.T) {
	ports := [2]uint16{40000, 40009}
	inRange := func(a netip.AddrPort) bool { return a.Port() >= ports[0] && a.Port() <= ports[1] }
	for _, a := range families() {
		w := newWorld(t, 1)
		p := w.planeWith(func(c *Config) { c.MasqueradePorts = ports })
		self, far, nobody := at(a.pod(1), "7777"), at(a.far, "7777"), at(a.pod(1), "9")
		w.answerSCTP(1, netip.MustParseAddrPort(self))
		entries := map[lb.Frontend]*lb.Entry{
			frontendOf(at(a.clusterIP, "80"), desired.SCTP): {Choice: choiceOf(self)},
			frontendOf(at(a.clusterIP, "9"), desired.UDP):   {Choice: choiceOf(nobody)},
		}
		for _, protocol := range []desired.Protocol{desired.TCP, desired.UDP} {
			w.serve(w.pods[1], protocol, self)
			w.serve(w.outside, protocol, far)
			entries[frontendOf(at(a.clusterIP, "80"), protocol)] = &lb.Entry{Choice: choiceOf(self)}
			entries[frontendOf(at(a.any, "80"), protocol)] = &lb.Entry{Choice: choiceOf(far)}
		}
		w.apply(p, table(entries))
		for _, protocol := range []desired.Protocol{desired.TCP, desired.UDP} {
			for range 3 {
				if got := w.ask(w.pods[1], protocol, at(a.clusterIP, "80"), long); got.err != nil || !nodeHas(got.seen.Addr()) || !inRange(got.seen) {
					t.Errorf("%s to itself: %+v", protocol, got)
				}
				if got := w.ask(w.outside, protocol, at(a.node, "80"), long); got.err != nil || !nodeHas(got.seen.Addr()) || !inRange(got.seen) {
					t.Errorf("%s to another node: %+v", protocol, got)
				}
			}
		}
		sctp := frontendOf(at(a.clusterIP, "80"), desired.SCTP)
		if err := within(w.pods[1], func() error {
			return associate(20000, netip.AddrPortFrom(sctp.Address, sctp.Port), long)
		}); err != nil {
			t.Error("SCTP:", err)
		}
		if f, found := w.watcher().flow(t, sctp, 20000); !found || !nodeHas(f.answered.Addr()) || !inRange(f.answered) {
			t.Errorf("SCTP: %v, %+v", found, f)
		}
		if got := w.ask(w.pods[1], desired.UDP, at(a.clusterIP, "9"), long); !got.refused() {
			t.Errorf("an error by ICMP: %+v", got)
		}
		if listing := w.nft("list", "table", "inet", DefaultTable); !strings.Contains(listing, "masquerade to :40000-40009 fully-random") {
			t.Errorf("nft does not read the range:\n%s", listing)
		}
	}
}

// TestMasqueradePortsAreARange refuses what is none.
func TestMasqueradePortsAreARange(t *testing.T) {
	inNamespace(t)
	for _, ports := range [][2]uint16{{0, 5}, {6, 5}, {1, 0}} {
		if p, err := New(Config{MasqueradePorts: ports}); err == nil {
			p.Close()
			t.Errorf("%v", ports)
		}
	}
}

// TestLooked hears of each look at connections, and what came of it.
func TestLooked(t *testing.T) {
	type look struct {
		six       bool
		forgotten int
	}
	var mu sync.Mutex
	var looks []look
	w := newWorld(t, 3)
	p := w.planeWith(func(c *Config) {
		c.Looked = func(six bool, protocol desired.Protocol, took time.Duration, forgotten int) {
			mu.Lock()
			defer mu.Unlock()
			if took <= 0 {
				t.Error("it took no time")
			}
			if protocol == desired.UDP { // TCP is looked at beside
				looks = append(looks, look{six, forgotten})
			}
		}
	})
	first, second := "10.244.0.2:5353", "10.244.0.3:5353"
	w.serve(w.pods[2], desired.UDP, first)
	w.serve(w.pods[3], desired.UDP, second)
	f := frontendOf("10.96.0.1:53", desired.UDP)
	w.apply(p, table(map[lb.Frontend]*lb.Entry{f: {Choice: choiceOf(first)}}))
	if got := w.ask(w.pods[1], desired.UDP, "10.96.0.1:53", long); got.backend != first {
		t.Fatalf("%+v", got)
	}
	w.apply(p, table(map[lb.Frontend]*lb.Entry{f: {Choice: choiceOf(second)}}))
	mu.Lock()
	defer mu.Unlock()
	if want := []look{{false, 0}, {true, 0}, {false, 1}}; !slices.Equal(looks, want) {
		t.Errorf("%v, want %v", looks, want)
	}
}
