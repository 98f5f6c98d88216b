package uplink

import (
	"net"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// TestRemovedBackend keeps TCP connections with a backend that left, and moves
// UDP at once.
func TestRemovedBackend(t *testing.T) {
	for _, f := range bothFamilies() {
		t.Run(f.String(), func(t *testing.T) {
			w := newWorld(t)
			p := w.plane(1)
			var all []string
			for where := 1; where <= 2; where++ {
				for i := range 2 {
					at := join(podIP(where, i, f.six), 8080)
					all = append(all, at)
					w.serve(w.pods[where], desired.TCP, at)
					w.serve(w.pods[where], desired.UDP, at)
				}
			}
			serve := func(backends ...string) {
				w.apply(1, p, table(1, map[lb.Frontend]*lb.Entry{
					frontend(f.vip, 80, desired.TCP): service(1, lb.LoadBalancerIP, backends...),
					frontend(f.vip, 80, desired.UDP): service(1, lb.LoadBalancerIP, backends...),
				}))
			}
			serve(all...)
			tcp, udp := w.open(desired.TCP, join(f.vip, 80)), w.open(desired.UDP, join(f.vip, 80))
			withTCP, withUDP := w.must(tcp).backend, w.must(udp).backend
			for range 3 {
				if again := w.must(udp).backend; again != withUDP {
					t.Fatalf("UDP moved from %s to %s, and nothing had changed", withUDP, again)
				}
			}
			var rest []string
			for _, each := range all {
				if each != withTCP && each != withUDP {
					rest = append(rest, each)
				}
			}
			serve(rest...)
			if still := w.must(tcp).backend; still != withTCP {
				t.Errorf("TCP moved from %s to %s", withTCP, still)
			}
			if now := w.must(udp).backend; now == withUDP {
				t.Error("UDP stayed with a backend that is gone")
			}
			serve(all...)
			if still := w.must(tcp).backend; still != withTCP {
				t.Errorf("TCP moved from %s to %s", withTCP, still)
			}
		})
	}
}

// TestRestart replaces the process again and again, in ways that keep the maps
// and in ways that replace them. Connections live, and none that is made
// meanwhile fails.
func TestRestart(t *testing.T) {
	w := newWorld(t)
	entries := map[lb.Frontend]*lb.Entry{}
	for _, f := range bothFamilies() {
		for _, protocol := range []desired.Protocol{desired.TCP, desired.UDP} {
			var backends []string
			for where := 1; where <= 2; where++ {
				at := join(podIP(where, 0, f.six), 8080)
				backends = append(backends, at)
				w.serve(w.pods[where], protocol, at)
			}
			entries[frontend(f.vip, 80, protocol)] = service(1, lb.LoadBalancerIP, backends...)
		}
	}
	p := w.plane(1)
	w.apply(1, p, table(1, entries))
	connections := map[net.Conn]string{}
	for _, f := range bothFamilies() {
		for _, protocol := range []desired.Protocol{desired.TCP, desired.UDP, desired.TCP, desired.UDP} {
			c := w.open(protocol, join(f.vip, 80))
			connections[c] = w.must(c).backend
		}
	}
	stop := w.storm(join(vip4, 80))
	for i := range 8 {
		p.Close()
		config := w.config(1)
		config.Frontends = uint32(1000 + i/2) // every other time new maps
		p = w.planeOf(1, config)
		unsynced := table(1, nil)
		unsynced.Synced = false
		w.apply(1, p, unsynced) // a process that has not read everything yet
		w.apply(1, p, table(1, entries))
		for c, with := range connections {
			if still := w.must(c).backend; still != with {
				t.Errorf("after restart %d %s answered instead of %s", i, still, with)
			}
		}
	}
	if err := stop(); err != nil {
		t.Error("a connection was lost:", err)
	}
}

// storm makes one connection after another until it is told to stop, and then
// says what went wrong.
func (w *world) storm(to string) (stop func() error) {
	done, failed := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(failed)
		for {
			select {
			case <-done:
				return
			default:
			}
			c, err := w.dial(w.client, desired.TCP, 0, to, patient)
			if err == nil {
				_, err = talk(c, 0, patient)
				c.Close()
			}
			if err != nil {
				failed <- err
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	return func() error {
		close(done)
		return <-failed
	}
}
