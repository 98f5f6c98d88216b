package nft

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// long is how long a client waits for an answer that must come.
const long = 20 * time.Second

// TestServe connects to Services of each family and protocol from each place:
// connections must spread over the backends, and unknown ports and empty
// Services must fail at once, unallocated addresses by silence.
func TestServe(t *testing.T) {
	for _, six := range []bool{false, true} {
		for _, protocol := range []desired.Protocol{desired.TCP, desired.UDP} {
			t.Run(fmt.Sprintf("ipv6=%t/%s", six, protocol), func(t *testing.T) {
				w := newWorld(t, 3)
				cluster, remote := "10.96.0.%d", "10.244.1.7"
				if six {
					cluster, remote = "fd00:96::%d", "fd00:244:1::7"
				}
				at := func(i, port int) string { return net.JoinHostPort(fmt.Sprintf(cluster, i), fmt.Sprint(port)) }
				backends := []string{net.JoinHostPort(podIP(2, six), "8080"), net.JoinHostPort(podIP(3, six), "8080"), net.JoinHostPort(remote, "8080")}
				w.serve(w.pods[2], protocol, backends[0])
				w.serve(w.pods[3], protocol, backends[1])
				w.serve(w.outside, protocol, backends[2])
				p := w.plane()
				w.apply(p, table(map[lb.Frontend]*lb.Entry{
					frontendOf(at(1, 80), protocol): {Choice: choiceOf(backends...)},
					frontendOf(at(2, 80), protocol): {},
					frontendOf(at(3, 80), protocol): {Choice: lb.Choice{Drop: true}},
				}))
				for _, place := range []lb.Place{lb.Pod, lb.Host, lb.Outside} {
					ns := w.place(place)
					seen := map[string]int{}
					for range 30 {
						a := w.ask(ns, protocol, at(1, 80), long)
						if a.err != nil {
							t.Fatalf("%s: %v\n%s", place, a.err, w.nft("list", "ruleset"))
						}
						seen[a.backend]++
					}
					if len(seen) != 3 {
						t.Errorf("%s: answers came from %v", place, seen)
					}
					if a := w.ask(ns, protocol, at(2, 80), long); !a.refused() {
						t.Errorf("%s: without endpoints: %v", place, a.err)
					}
					if a := w.ask(ns, protocol, at(1, 81), long); !a.refused() {
						t.Errorf("%s: another port: %v", place, a.err)
					}
					if a := w.ask(ns, protocol, at(3, 80), patience); !a.silent() {
						t.Errorf("%s: with Drop: %v", place, a.err)
					}
					if a := w.ask(ns, protocol, at(4, 80), patience); !a.silent() {
						t.Errorf("%s: unallocated address: %v", place, a.err)
					}
				}
			})
		}
	}
}
