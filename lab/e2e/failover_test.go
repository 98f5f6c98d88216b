//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// cutOff is how many of 2,000 or more connections may be lost that are under way
// through a node that is cut off.
const cutOff = 20

// gentleness is what planned moves may do to connections.
type gentleness struct {
	// moved is how many of 2,000 may be lost, held how many are held open meanwhile,
	// all of which must survive.
	moved, held int
}

// way is how clients outside come to a Service.
type way struct {
	name, target string
	load         func(args ...string) func() loadReport
}

// during has clients open 200 connections a second by each way, and changes something
// two seconds later. It returns the sum of what failed by all ways, and the longest times.
func during(t *testing.T, what string, held int, change func(), ways ...way) loadReport {
	t.Helper()
	var reports []func() loadReport
	for _, w := range ways {
		reports = append(reports, w.load("--connect", w.target, "--path", "/healthz", "--rate", "200", "--hold", fmt.Sprint(held), "--duration", "12s"))
	}
	time.Sleep(2 * time.Second)
	change()
	var worst loadReport
	for i, wait := range reports {
		r := wait()
		t.Logf("%s, %s: %+v", what, ways[i].name, r)
		if r.Attempts < 1500 {
			t.Errorf("%s, %s: only %d connections: the machine is too slow for this test", what, ways[i].name, r.Attempts)
		}
		worst.Attempts += r.Attempts
		worst.Failures += r.Failures
		worst.Broken += r.Broken
		worst.GapMillis = max(worst.GapMillis, r.GapMillis)
		worst.LossMillis = max(worst.LossMillis, r.LossMillis)
		worst.Errors = append(worst.Errors, r.Errors...)
	}
	return worst
}

// outage is how long clients were without an answer, or some of them were.
func (r loadReport) outage() int64 { return max(r.GapMillis, r.LossMillis) }

// crossing is a node that clients come by.
type crossing struct {
	// kind is that of announcement, after which what is measured is named.
	kind, node string
	ways       []way
	// rest is how long nothing happens between two cuts.
	rest time.Duration
	// settled tells whether clients come by the node.
	settled func() error
}

func (c crossing) settle(t *testing.T) {
	t.Helper()
	eventually(t, time.Minute, c.settled)
	eventually(t, time.Minute, func() error { return ready(t) })
}

// cuts cuts the node off, and has it come back.
func (c crossing) cuts(t *testing.T, planning gentleness) {
	t.Helper()
	var outages []string
	var worst int64
	for i := range *rounds {
		if i > 0 {
			time.Sleep(c.rest)
		}
		c.settle(t)
		r := during(t, c.node+" is cut off", 0, func() { power(t, "cut", c.node) }, c.ways...)
		if r.Failures > cutOff {
			t.Errorf("%d connections failed when %s was cut off, want at most %d: %v", r.Failures, c.node, cutOff, r.Errors)
		}
		worst = max(worst, r.outage())
		outages = append(outages, seconds(r.outage()))
		planning.expect(t, "it comes back", during(t, c.node+" comes back", planning.held, func() { power(t, "heal", c.node) }, c.ways...))
	}
	figure(t, "lb-failover-"+c.kind+"-worst", seconds(worst), "s", fmt.Sprintf("of %d times that a node was cut off: %s", *rounds, strings.Join(outages, ", ")))
	if worst >= patience(time.Second) {
		t.Errorf("connections were lost for %s s, want less than 1 s", seconds(worst))
	}
}

// moves excludes the node and takes it back, and replaces its process.
func (c crossing) moves(t *testing.T, planning gentleness) {
	t.Helper()
	var attempts, failures int
	planned := func(what string, change func()) {
		t.Helper()
		c.settle(t)
		r := during(t, what, planning.held, change, c.ways...)
		planning.expect(t, what, r)
		attempts, failures = attempts+r.Attempts, failures+r.Failures+r.Broken
	}
	for range *rounds {
		planned(c.node+" is excluded, and taken back", func() {
			kubectl(t, "label", "node", c.node, "node.kubernetes.io/exclude-from-external-load-balancers=")
			time.Sleep(4 * time.Second)
			kubectl(t, "label", "node", c.node, "node.kubernetes.io/exclude-from-external-load-balancers-")
		})
		planned("the process on "+c.node+" is replaced", func() {
			kubectl(t, "delete", "pod", "-n", "fairlead-system", "-l", "app.kubernetes.io/component=node", "--field-selector", "spec.nodeName="+c.node, "--wait=false")
		})
	}
	figure(t, "lb-drain-failures-"+c.kind, fmt.Sprint(failures), "count", fmt.Sprintf("of %d connections, and %d held open by each way each time, while a node was excluded, taken back, and its process replaced, %d times each", attempts, planning.held, *rounds))
	c.settle(t)
}

// expect expects that a planned move loses no more than it may.
func (g gentleness) expect(t *testing.T, what string, r loadReport) {
	t.Helper()
	if most := g.moved * r.Attempts / 2000; r.Failures > most || r.Broken > 0 {
		t.Errorf("%s: %d connections failed, want at most %d, and %d that were held: %v", what, r.Failures, most, r.Broken, r.Errors)
	}
	if r.GapMillis >= patience(time.Second) {
		t.Errorf("%s: nothing answered for %d ms", what, r.GapMillis)
	}
}

// patience returns a limit in milliseconds: as it is where figures are made, on a
// machine that does nothing else, and thrice that elsewhere.
func patience(limit time.Duration) int64 {
	if *figures == "" {
		limit *= 3
	}
	return limit.Milliseconds()
}

// power does to a node what happens to machines.
func power(t *testing.T, verb, node string) {
	t.Helper()
	out, err := run(t, nil, lab(t).Bin("lab"), "node", verb, node)
	must(t, out, err)
}

// TestLoadBalancerFailover has nodes announce addresses by ARP and NDP; clients open
// connections to an endpoint that is not on the node whose address they use.
func TestLoadBalancerFailover(t *testing.T) {
	manifest := pool
	for i := range 6 {
		manifest += fmt.Sprintf(balanced, i+1, "cart", 9000)
	}
	apply(t, manifest)
	endpoint := kubectl(t, "get", "pods", "-n", "demo", "-l", "app=cart", "-o", "jsonpath={.items[0].spec.nodeName}")
	var address, owner string
	for a, node := range owners(t, 12) {
		if node != endpoint && node != "control-plane" && !strings.Contains(a, ":") {
			address, owner = a, node
		}
	}
	if address == "" {
		t.Fatalf("no address is announced by a worker other than %s", endpoint)
	}
	program := buildLoad(t)
	c := crossing{kind: "l2", node: owner, ways: []way{{"by ARP", address + ":80", func(args ...string) func() loadReport { return loadFromClient(t, program, args...) }}}, settled: func() error {
		if now := owners(t, 12)[address]; now != owner {
			return errorf("%s is announced by %s", address, now)
		}
		return nil
	}}
	// Before the cuts: what is left of connections that were cut off ends those that a
	// client makes later from the same ports, when they move: docs/loadbalancer.md.
	c.moves(t, gentleness{moved: 0, held: 50})
	// A node that comes back announces for a moment before it knows who lives, and resets
	// what is said meanwhile in connections that began elsewhere.
	c.cuts(t, gentleness{moved: 2, held: 0})
}
