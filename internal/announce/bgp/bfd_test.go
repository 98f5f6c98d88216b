package bgp

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/announce"
	"github.com/fairlead-net/fairlead/internal/announce/bgp/bfd"
	"github.com/fairlead-net/fairlead/internal/desired"
)

// byBFD asks for BFD, and for a hold time that is longer than any test.
func byBFD(interval time.Duration, multiplier uint8) func(*announce.Peer) {
	return func(p *announce.Peer) {
		p.Hold = 180 * time.Second
		p.BFD = &desired.BFDProfile{Receive: interval, Transmit: interval, Multiplier: multiplier}
	}
}

// frrBFD asks the same of FRR.
func (r *router) frrBFD(interval time.Duration, multiplier int) []string {
	var lines []string
	for _, a := range []any{r.node4, r.node6} {
		lines = append(lines, fmt.Sprintf("neighbor %s bfd %d %d %d", a, multiplier, interval.Milliseconds(), interval.Milliseconds()),
			fmt.Sprintf("neighbor %s timers 60 180", a))
	}
	return append(lines, fmt.Sprintf("neighbor %s ebgp-multihop", r.node6))
}

// withBFD waits for a session and BFD to be up.
func withBFD(t testing.TB, p *Plane, names ...string) {
	t.Helper()
	for _, name := range names {
		await(t, name+" is up, and BFD", func() bool {
			s := status(t, p, name)
			return s.Established() && s.BFD.State == bfd.Up
		}, func() string { return strings.Join(p.Describe(), "\n") })
	}
}

// TestBFD loses a router whose hold time is much longer than the test, and finds it
// again.
func TestBFD(t *testing.T) {
	r, other := newRouter(t, 1), newRouter(t, 2)
	const interval, multiplier = 100 * time.Millisecond, 30
	r.frr(frrConfig(r, 64513, 64512, r.frrBFD(interval, multiplier)...))
	other.frr(frrConfig(other, 64514, 64512))
	multiHop := func(p *announce.Peer) { p.MultiHop = true }
	peers := []announce.Peer{
		peer("four", r.own4, 64513, byBFD(interval, multiplier)),
		peer("six", r.own6, 64513, byBFD(interval, multiplier), multiHop),
		// A router that knows nothing of BFD is not disconnected for that.
		peer("none", other.own4, 64514, byBFD(interval, 3)),
	}
	routes := []announce.Route{route("192.0.2.1/32", ""), route("2001:db8::1/128", "")}
	p := plane(t)
	apply(t, p, table(peers, routes...))
	withBFD(t, p, "four", "six")
	r.has("192.0.2.1/32", "2001:db8::1/128")
	// Other times do not interrupt the session.
	peers[0] = peer("four", r.own4, 64513, byBFD(interval+10*time.Millisecond, multiplier))
	apply(t, p, table(peers, routes...))
	heard := status(t, p, "four").BFD.Counters.Received
	await(t, "some packets more have come", func() bool { return status(t, p, "four").BFD.Counters.Received > heard+20 })
	for _, name := range []string{"four", "six"} {
		if s := status(t, p, name); s.Losses != 0 || s.BFD.Counters.Downs != 0 || s.BFD.Counters.Ups != 1 {
			t.Errorf("%s does not hold: %+v, BFD %+v", name, s, s.BFD)
		}
	}
	if s := status(t, p, "none"); !s.Established() || s.BFD.State != bfd.Down || s.BFD.Why != "the router has sent no BFD packet yet" {
		t.Errorf("got %+v, BFD %+v", s, s.BFD)
	}
	r.cut()
	for _, name := range []string{"four", "six"} {
		await(t, "this end has noticed", func() bool { return !status(t, p, name).Established() })
		says(t, p, name, "closed the session: BFD lost the router: no BFD packet of the router for ")
	}
	await(t, "the router has noticed", func() bool { return len(r.routes()) == 0 })
	r.mend()
	withBFD(t, p, "four", "six")
	r.has("192.0.2.1/32", "2001:db8::1/128")
	for _, name := range []string{"four", "six"} {
		if s := status(t, p, name); s.Losses != 1 || s.BFD.Counters.Downs != 1 || s.BFD.Counters.Ups != 2 {
			t.Errorf("%s flaps: %+v, BFD %+v", name, s, s.BFD)
		}
	}
	if s := status(t, p, "none"); s.Losses != 0 {
		t.Errorf("a router that has nothing to do with it was lost: %+v", s)
	}
}

// BenchmarkBFD measures how long it takes until a router that is cut off is lost, here
// and there, with packets each 50 ms of which three may be missing.
func BenchmarkBFD(b *testing.B) {
	r := newRouter(b, 1)
	const interval, multiplier = 50 * time.Millisecond, 3
	r.frr(frrConfig(r, 64513, 64512, r.frrBFD(interval, multiplier)...))
	p := plane(b)
	apply(b, p, table([]announce.Peer{peer("four", r.own4, 64513, byBFD(interval, multiplier))}, route("192.0.2.1/32", "")))
	var here, there time.Duration
	for b.Loop() {
		withBFD(b, p, "four")
		await(b, "the router forwards", func() bool { return r.forwards("192.0.2.1/32") })
		began := time.Now()
		r.cut()
		for status(b, p, "four").Established() {
			<-p.Changed()
		}
		here += time.Since(began)
		for r.forwards("192.0.2.1/32") {
			time.Sleep(time.Millisecond)
		}
		there += time.Since(began)
		r.mend()
	}
	b.ReportMetric(float64(here.Milliseconds())/float64(b.N), "ms-here")
	b.ReportMetric(float64(there.Milliseconds())/float64(b.N), "ms-there")
}
