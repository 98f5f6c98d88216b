package uplink

import (
	"slices"
	"testing"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// TestLookup reads back what was written.
func TestLookup(t *testing.T) {
	for _, f := range ways() {
		t.Run(f.String(), func(t *testing.T) {
			w := newWorld(t)
			p := w.cluster(f, f.services)[1]
			if p.applied.Entries.Len() == 0 {
				t.Fatal("nothing was applied")
			}
			for front, entry := range p.applied.Entries.All() {
				held, err := p.Lookup(front)
				if want := entry.For(lb.Outside).Backends; err != nil || held.Left != "" || !slices.Equal(held.Backends, want) {
					t.Errorf("%s: the kernel holds %+v (%v), want %v", front, held, err, want)
				}
			}
			held, err := p.Lookup(frontend(f.vip, 99, desired.TCP))
			if err != nil || held.Left != "" || held.Backends != nil {
				t.Errorf("nobody's frontend: %+v, %v", held, err)
			}
		})
	}
}

// TestLookupOfWhatIsLeft says why nftables serves it.
func TestLookupOfWhatIsLeft(t *testing.T) {
	f := ways()[0]
	w := newWorld(t)
	front := frontend(f.vip, 80, desired.SCTP)
	p := w.cluster(f, func(n int) map[lb.Frontend]*lb.Entry {
		return map[lb.Frontend]*lb.Entry{front: service(n, lb.LoadBalancerIP, join(podIP(f.pod, 0, f.six), 8080))}
	})[1]
	held, err := p.Lookup(front)
	if err != nil || held.Left == "" || held.Backends != nil {
		t.Errorf("%+v, %v; want a reason", held, err)
	}
}
