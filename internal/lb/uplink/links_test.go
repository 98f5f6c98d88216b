package uplink

import (
	"errors"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// reaches tells whether a client is served by an endpoint.
func (w *world) reaches(f way, wait time.Duration) bool {
	w.t.Helper()
	c, err := w.dial(w.client, desired.TCP, 0, join(f.vip, 80), wait)
	if err != nil {
		return false
	}
	_, err = talk(c, 0, wait)
	return err == nil
}

func (w *world) mustReach(f way, want bool, when string) {
	w.t.Helper()
	wait := patient
	if !want {
		wait = briefly
	}
	if got := w.reaches(f, wait); got != want {
		w.t.Fatalf("%s: a client is served: %v, want %v", when, got, want)
	}
}

// TestUplinks takes an uplink out of the Table and in again, replaces the
// interface by another of the same name, and removes everything.
func TestUplinks(t *testing.T) {
	for _, legacy := range []bool{false, true} {
		t.Run(map[bool]string{false: "tcx", true: "clsact"}[legacy], func(t *testing.T) {
			f := bothFamilies()[0]
			w := newWorld(t)
			config := w.config(1)
			config.WithoutTCX = legacy
			p := w.planeOf(1, config)
			w.serve(w.pods[1], desired.TCP, join(podIP(1, 0, false), 8080))
			with := table(1, f.services(1))
			without := with
			without.Uplinks = nil
			w.mustReach(f, false, "before anything is applied")
			w.apply(1, p, with)
			w.mustReach(f, true, "with an uplink")
			w.apply(1, p, without)
			w.mustReach(f, false, "without one")
			w.apply(1, p, with)
			w.mustReach(f, true, "with it again")
			w.in(w.nodes[1], func() error {
				l, err := netlink.LinkByName("uplink")
				return errors.Join(err, netlink.LinkDel(l))
			})
			w.apply(1, p, with)
			w.connect(1)
			w.vipsVia(1)
			w.mustReach(f, false, "with another interface of that name")
			w.in(w.nodes[1], func() error { return p.recheck(t.Context()) })
			w.mustReach(f, true, "once that was noticed")
			p.Close()
			w.mustReach(f, true, "after the process has ended")
			for range 2 {
				w.in(w.nodes[1], func() error { return Remove(config.Directory) })
			}
			w.mustReach(f, false, "after everything was removed")
			p = w.planeOf(1, config)
			w.apply(1, p, with)
			w.mustReach(f, true, "after everything was installed again")
		})
	}
}

// TestFailover sends the packets of open connections by another node, and makes
// the first one forget them: they go on, with the endpoint that they have.
func TestFailover(t *testing.T) {
	for _, f := range ways() {
		if f.kind != packetsFlowKindTO_DIRECT {
			continue
		}
		t.Run(f.String(), func(t *testing.T) {
			w := newWorld(t)
			backends := func(n int) map[lb.Frontend]*lb.Entry {
				var all []string
				for i := range 3 {
					all = append(all, join(podIP(2, i, f.six), 8080))
				}
				return map[lb.Frontend]*lb.Entry{frontend(f.vip, 80, desired.TCP): service(n, lb.LoadBalancerIP, all...)}
			}
			p := w.cluster(f, backends)[1]
			for i := range 3 {
				w.serve(w.pods[2], desired.TCP, join(podIP(2, i, f.six), 8080))
			}
			c := w.open(desired.TCP, join(f.vip, 80))
			with := w.must(c).backend
			stays := func(when string) {
				t.Helper()
				if now := w.must(c).backend; now != with {
					t.Fatalf("%s: %s answers instead of %s", when, now, with)
				}
			}
			var flows []packetsTuple
			if err := forEach(p.maps[packetsMapFlows], func(key packetsTuple, _ packetsFlow) { flows = append(flows, key) }); err != nil || len(flows) != 1 {
				t.Fatal(flows, err)
			}
			if err := p.maps[packetsMapFlows].Delete(flows[0]); err != nil {
				t.Fatal(err)
			}
			stays("after the flow was forgotten")
			w.vipsVia(2)
			stays("by the other node")
			w.vipsVia(1)
			stays("by the first node again")
		})
	}
}

// age moves every flow's last packet into the past.
func age(t testing.TB, p *Plane, seconds int) {
	t.Helper()
	for _, name := range []string{packetsMapFlows, packetsMapReplies} {
		all := map[packetsTuple]packetsFlow{}
		if err := forEach(p.maps[name], func(key packetsTuple, value packetsFlow) { all[key] = value }); err != nil {
			t.Fatal(err)
		}
		for key, value := range all {
			value.Used -= uint64(seconds) * uint64(time.Second)
			if err := p.maps[name].Put(key, value); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestSweep forgets flows that have ended, and no others; those that are closed
// earlier where the table is half full.
func TestSweep(t *testing.T) {
	t.Run("room", func(t *testing.T) {
		testSweep(t, 0, []sweepStep{{0, 3}, {6, 3}, {5, 2}, {20, 1}, {60, 1}, {10, 0}})
	})
	t.Run("crowded", func(t *testing.T) {
		testSweep(t, 5, []sweepStep{{0, 3}, {6, 2}, {5, 2}, {20, 1}, {60, 1}, {10, 0}})
	})
}

// sweepStep says how many flows are left when it is swept so many seconds later.
type sweepStep struct{ seconds, left int }

func testSweep(t *testing.T, size uint32, steps []sweepStep) {
	t.Helper()
	f := ways()[0]
	f.kind, f.pod, f.six, f.vip = packetsFlowKindTO_REMOTE, 2, false, vip4
	w := newWorld(t)
	config := w.config(1)
	config.FlowsSize = size
	config.timeouts = timeouts{closed: 5, waiting: 10, unanswered: 15, finishing: 50, leaving: 20, connected: 100, datagram: 15, datagrams: 30}
	p := w.planeOf(1, config)
	w.apply(1, p, table(1, f.services(1)))
	w.serve(w.pods[2], desired.TCP, join(podIP(2, 0, false), 8080))
	w.serve(w.pods[2], desired.UDP, join(podIP(2, 0, false), 8080))
	open, closed, udp := w.open(desired.TCP, join(f.vip, 80)), w.open(desired.TCP, join(f.vip, 80)), w.open(desired.UDP, join(f.vip, 80))
	w.must(open)
	w.must(closed)
	w.must(udp)
	closed.Close()
	count := func() (flows, replies int) {
		err := errors.Join(
			forEach(p.maps[packetsMapFlows], func(packetsTuple, packetsFlow) { flows++ }),
			forEach(p.maps[packetsMapReplies], func(packetsTuple, packetsFlow) { replies++ }),
		)
		if err != nil {
			t.Fatal(err)
		}
		return flows, replies
	}
	for deadline := time.Now().Add(patient); ; {
		// The FINs of both sides are on their way.
		finished := 0
		for _, name := range []string{packetsMapFlows, packetsMapReplies} {
			forEach(p.maps[name], func(_ packetsTuple, f packetsFlow) {
				if packetsFlowState(f.State)&packetsFlowStateFINISHED != 0 {
					finished++
				}
			})
		}
		if finished == 2 || time.Now().After(deadline) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	for _, step := range steps {
		age(t, p, step.seconds)
		if err := p.sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if flows, replies := count(); flows != step.left || replies != step.left {
			t.Fatalf("%d seconds later %d flows and %d replies are left, want %d", step.seconds, flows, replies, step.left)
		}
	}
}
