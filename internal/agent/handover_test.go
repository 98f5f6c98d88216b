package agent

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead-net/fairlead/internal/announce"
	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// kernel is a plane that keeps what it is told.
type kernel struct {
	told  [][]lb.Passing
	takes time.Duration
	fails error
}

func (k *kernel) Pass(want []lb.Passing) error {
	time.Sleep(k.takes)
	k.told = append(k.told, want)
	return k.fails
}

// pair is a node, and another that may be excluded.
type pair struct {
	*handing
	kernel *kernel
	log    *bytes.Buffer
	table  announce.Table
	live   announce.Live
}

func newPair() *pair {
	offer := desired.Name{Namespace: "m", Name: "l"}
	p := &pair{kernel: &kernel{}, log: &bytes.Buffer{}}
	p.handing = newHanding(func() []passer { return []passer{p.kernel} }, slog.New(slog.NewTextHandler(p.log, nil)))
	p.table = announce.Table{
		Node: "a", Synced: true, Offers: []desired.Name{offer},
		Nodes: []announce.Node{{Name: "a", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}, {Name: "b", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.2")}}},
	}
	for i := range 20 {
		p.table.L2 = append(p.table.L2, announce.L2Address{
			Address: netip.AddrFrom4([4]byte{192, 0, 2, byte(100 + i)}), By: []announce.L2Via{{Advertisement: offer}},
		})
	}
	offers := []uint32{announce.OfferHash(offer)}
	p.live = announce.Live{Nodes: map[string]*announce.Condition{"a": {Offers: offers, Since: time.Now()}, "b": {Offers: offers, Since: time.Now()}}}
	return p
}

func (p *pair) elect() { p.follow(p.table, p.live, announce.Elect(p.table, p.live)) }

// exclude makes the other node offer nothing.
func (p *pair) exclude() {
	p.live = announce.Live{Nodes: map[string]*announce.Condition{"a": p.live.Nodes["a"], "b": {Since: p.live.Nodes["b"].Since}}}
	p.elect()
}

// wait does what the timer wants for so long.
func (p *pair) wait(d time.Duration) {
	for end := time.After(d); ; {
		select {
		case <-end:
			return
		case <-p.timer.C:
			p.again()
		}
	}
}

// TestHanding expects the planes to know before an Election is announced, to be
// reminded in time, and to be told once when it is over.
func TestHanding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair()
		p.elect()
		joined := len(p.kernel.told)
		p.exclude()
		if len(p.kernel.told) != joined+1 || len(p.kernel.told[joined]) != len(p.table.L2) {
			t.Fatalf("told %v", p.kernel.told)
		}
		for _, one := range p.kernel.told[joined] {
			if one.To.String() != "192.0.2.2" || one.For < time.Second {
				t.Errorf("%+v", one)
			}
		}
		if said := strings.Join(p.describe(), " "); !strings.Contains(said, "20 addresses") {
			t.Error(said)
		}
		before := len(p.kernel.told)
		p.wait(10 * time.Minute)
		if n := len(p.kernel.told) - before; n < 15 || n > 25 {
			t.Errorf("told %d times in ten minutes", n)
		}
		delete(p.live.Nodes, "b")
		p.elect()
		if last := p.kernel.told[len(p.kernel.told)-1]; len(last) != 0 {
			t.Errorf("passed to the dead: %v", last)
		}
		before = len(p.kernel.told)
		p.wait(time.Hour)
		if len(p.kernel.told) != before {
			t.Errorf("told %d times of nothing", len(p.kernel.told)-before)
		}
	})
}

// TestHandingTrouble expects a plane that fails to be told again, one that hangs not
// to hold up an Election, and both to be said once.
func TestHandingTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair()
		p.kernel.fails = errors.New("no such expression")
		p.elect()
		p.exclude()
		p.wait(10 * time.Second)
		if n := strings.Count(p.log.String(), "no such expression"); n != 1 || !strings.Contains(strings.Join(p.describe(), " "), "no such expression") {
			t.Errorf("said %d times: %s; %v", n, p.log, p.describe())
		}
		before := len(p.kernel.told)
		p.kernel.fails = nil
		p.wait(5 * time.Second)
		if n := len(p.kernel.told) - before; n != 1 {
			t.Errorf("told %d times", n)
		}
		p.kernel.takes = 700 * time.Millisecond
		start := time.Now()
		delete(p.live.Nodes, "b")
		p.elect()
		if took := time.Since(start); took > handoverPatience {
			t.Errorf("the Election waited for %s", took)
		}
		p.wait(time.Minute)
		if last := p.kernel.told[len(p.kernel.told)-1]; len(last) != 0 || len(p.describe()) > 0 {
			t.Errorf("told %v; %v", last, p.describe())
		}
	})
}
