package bfd

import (
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// still is a Plane that does nothing by itself, with one session that is up.
func still(t testing.TB, peer Peer) (*Plane, *entry) {
	t.Helper()
	p := &Plane{
		log: slog.New(slog.DiscardHandler), wake: make(chan struct{}, 1), changed: make(chan struct{}, 1),
		entries: map[string]*entry{}, numbers: map[uint32]*entry{}, ears: map[kind]*listener{}, problems: map[kind]error{},
	}
	e := &entry{name: "a", session: newSession(time.Now(), peer, 77, rand.Float64)}
	p.entries[e.name], p.numbers[e.local] = e, e
	l := packet{state: Init, multiplier: 3, mine: 5, yours: 77, transmit: slow, receive: slow}
	p.take(e.kind(), arrival{from: peer.Address, hops: hopLimit}, l.append(nil))
	if e.state != Up {
		t.Fatalf("%+v", e.session)
	}
	return p, e
}

// TestSources: which packets count, of a session that is up.
func TestSources(t *testing.T) {
	router, stranger := netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3")
	down := packet{state: Down, multiplier: 3, mine: 6, transmit: slow, receive: slow}
	known := down
	known.yours = 77
	wrong := down
	wrong.yours = 78
	single, multi := kind{}, kind{multiHop: true}
	for name, c := range map[string]struct {
		multiHop bool
		at       kind
		from     netip.Addr
		hops     int
		packet   packet
		counts   bool
	}{
		"the number is right":                {false, single, router, 255, known, true},
		"a router on the link begins anew":   {false, single, router, 255, down, true},
		"from another link":                  {false, single, router, 254, known, false},
		"no hop limit is known":              {false, single, router, 0, known, false},
		"a stranger, the number is right":    {false, single, stranger, 255, known, false},
		"a stranger":                         {false, single, stranger, 255, down, false},
		"the number is wrong":                {false, single, router, 255, wrong, false},
		"the port is of the other kind":      {false, multi, router, 255, known, false},
		"several hops":                       {true, multi, router, 200, known, true},
		"several hops, the port is of one":   {true, single, router, 255, known, false},
		"several hops, the number is wrong":  {true, multi, router, 255, wrong, false},
		"several hops, without the number":   {true, multi, router, 255, down, false},
		"several hops, another sends it all": {true, multi, stranger, 255, known, false},
	} {
		peer := times(300, 300, 3)
		peer.Address, peer.MultiHop = router, c.multiHop
		p, e := still(t, peer)
		p.take(c.at, arrival{from: c.from, hops: c.hops}, c.packet.append(nil))
		if got := e.state != Up; got != c.counts || (p.dropped == 0) != c.counts {
			t.Errorf("%s: the session is %s, %d dropped", name, e.state, p.dropped)
		}
		if e.conn != nil {
			_ = e.conn.Close()
		}
	}
}

// FuzzTake: whatever comes in from wherever, a session stays in one of its states, and
// has a time to wake at that is not over.
func FuzzTake(f *testing.F) {
	good := packet{state: Up, multiplier: 3, mine: 5, yours: 77, transmit: slow, receive: slow, poll: true}
	f.Add(good.append(nil), 255, uint32(10))
	good.yours, good.state = 0, Down
	f.Add(good.append(nil), 254, uint32(1))
	f.Fuzz(func(t *testing.T, b []byte, hops int, wait uint32) {
		peer := times(300, 300, 3)
		peer.Address, peer.Passive = netip.MustParseAddr("127.0.0.2"), len(b)%2 == 0
		p, e := still(t, peer)
		e.peer.Address = netip.MustParseAddr("127.0.0.2")
		now := time.Now()
		for range 3 {
			p.take(e.kind(), arrival{from: peer.Address, hops: hops, length: len(b)}, b)
		}
		later := now.Add(time.Duration(wait) * time.Microsecond)
		e.judge(later)
		e.due(later)
		if at := e.wakes(); !at.IsZero() && at.Before(later) || e.state == AdminDown || e.state > Up || e.detection() < 0 {
			t.Errorf("wakes at %s, now is %s: %+v", at, later, e.session)
		}
		if hops != hopLimit && e.state != Up && wait < 100 {
			t.Errorf("% x counts, from %d hops away", b, hopLimit-hops)
		}
		if e.conn != nil {
			_ = e.conn.Close()
		}
	})
}
