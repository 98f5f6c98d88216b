package nft

import (
	"testing"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// TestAdopts expects a process that is replaced to leave all elements as they are:
// packets that are on their way find what they look for.
func TestAdopts(t *testing.T) {
	inNamespace(t)
	table := tableOf(map[lb.Frontend]*lb.Entry{
		frontendOf("10.96.0.1:80", desired.TCP):  {Choice: choiceOf("10.0.0.1:80", "10.0.0.2:80")},
		frontendOf("0.0.0.0:30080", desired.TCP): {Choice: choiceOf("10.0.0.1:80"), Outside: &lb.Choice{Drop: true}},
		frontendOf("10.96.0.2:80", desired.SCTP): {},
		frontendOf("[fd96::1]:53", desired.UDP):  {Choice: choiceOf("[fd00::1]:53"), Affinity: 10 * 1e9},
	})
	first := open(t)
	if err := first.Apply(t.Context(), table); err != nil {
		t.Fatal(err)
	}
	first.Close()
	second := open(t)
	second.mu.Lock()
	defer second.mu.Unlock()
	u, err := second.update(table, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(u.edits.names) > 0 || len(u.fresh) > 0 {
		t.Errorf("elements of %v would be written, and chains %v", u.edits.names, u.fresh)
	}
}

// TestChainsComeFirst expects a chain to be there one generation before anything
// leads to it.
func TestChainsComeFirst(t *testing.T) {
	inNamespace(t)
	f := frontendOf("10.96.0.1:80", desired.TCP)
	p := open(t)
	var last uint32
	for n, want := range []uint32{0, 2, 1, 2} { // 2: also a chain for that number of backends
		list := [][]string{{"10.0.0.1:80"}, {"10.0.0.1:80", "10.0.0.2:80"}, {"10.0.0.1:80"}, {"10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"}}[n]
		if err := p.Apply(t.Context(), tableOf(map[lb.Frontend]*lb.Entry{f: {Choice: choiceOf(list...)}})); err != nil {
			t.Fatal(err)
		}
		p.mu.Lock()
		now, err := p.socket.generation()
		p.mu.Unlock()
		if err != nil || n > 0 && now-last != want {
			t.Errorf("step %d made %d generations, want %d (%v)", n, now-last, want, err)
		}
		last = now
	}
}
