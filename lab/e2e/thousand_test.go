//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	many = 1000
	// manyNet is not the nodes' own network, as that is too small, but on the same wire.
	manyNet = "172.30.4.0/22"
)

const manyPool = `
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: e2e-many, namespace: metallb-system}
spec: {addresses: [` + manyNet + `]}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: e2e-many, namespace: metallb-system}
spec: {ipAddressPools: [e2e-many]}
`

const oneOfMany = `---
apiVersion: v1
kind: Service
metadata: {name: e2e-many-%d, namespace: demo, labels: {e2e: many}}
spec: {type: LoadBalancer, allocateLoadBalancerNodePorts: false, selector: {app: cart}, ports: [{port: 80, targetPort: 9000}]}
`

// TestThousand makes a thousand Services by manifests. Every one gets an address that
// answers, no node has many more of them than another, and once they are there,
// nobody asks the API server for anything.
func TestThousand(t *testing.T) {
	eventually(t, 2*time.Minute, func() error { return ready(t) })
	apply(t, manyPool)
	log := newAudit(t)
	started := time.Now()
	makeMany(t)
	var owners map[string]string
	eventually(t, 8*time.Minute, func() (err error) {
		owners, err = ownersOfMany(t)
		return err
	})
	took := time.Since(started)
	made := log.since(t)
	figure(t, "lb-1000-addresses", fmt.Sprintf("%.0f", took.Seconds()), "s",
		fmt.Sprintf("from kubectl's start to the last of %d addresses announced; requests by Fairlead meanwhile: %s", many, made))
	per := map[string]int{}
	for _, node := range owners {
		per[node]++
	}
	counts := slices.Sorted(maps.Values(per))
	least, most := counts[0], counts[len(counts)-1]
	if len(per) != len(nodes(t)) || float64(most) > 1.2*float64(least) {
		t.Errorf("addresses of each node: %v; want every node to have some, and none 20 %% more than another", per)
	}
	figure(t, "lb-1000-spread", fmt.Sprintf("%.2f", float64(most)/float64(least)), "times", fmt.Sprintf("what the node with most addresses has / the one with least: %v", per))
	connectToEach(t, slices.Sorted(maps.Keys(owners)))
	idle(t, log)
}

// makeMany makes the Services, and removes them when the test ends.
func makeMany(t *testing.T) {
	t.Helper()
	var manifest strings.Builder
	for i := range many {
		fmt.Fprintf(&manifest, oneOfMany, i+1)
	}
	l := lab(t)
	t.Cleanup(func() {
		// The test's own context has ended by then.
		kubectl := func(args ...string) (string, error) {
			out, err := exec.Command(l.Bin("kubectl"), append([]string{"--kubeconfig", l.Kubeconfig()}, args...)...).CombinedOutput()
			return string(out), err
		}
		out, err := kubectl("delete", "service", "-n", "demo", "-l", "e2e=many", "--wait=false")
		for deadline := time.Now().Add(8 * time.Minute); err == nil && time.Now().Before(deadline); time.Sleep(time.Second) {
			if out, err = kubectl("get", "ipaddresses", "-l", "ipaddress.kubernetes.io/managed-by=fairlead.dev", "-o", "name"); err == nil && out == "" {
				return
			}
		}
		t.Errorf("clean up: %v; addresses that are still claimed, or what is wrong: %s", err, out[:min(len(out), 1000)])
	})
	out, err := run(t, []byte(manifest.String()), l.Bin("kubectl"), "--kubeconfig", l.Kubeconfig(), "create", "-f", "-")
	if err != nil {
		t.Fatalf("%v\n%s", err, out[max(0, len(out)-1000):])
	}
}

// ownersOfMany returns the node that announces each address, if every Service has one.
func ownersOfMany(t *testing.T) (map[string]string, error) {
	t.Helper()
	out, err := fairlead(t, "lb", "-o", "json")
	if err != nil {
		return nil, errorf("%v %s", err, out)
	}
	var all balancers
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		return nil, err
	}
	owners := map[string]string{}
	for _, a := range all.Addresses {
		if strings.HasPrefix(a.Service, "demo/e2e-many-") && a.Pool == "e2e-many" && len(a.Nodes) == 1 {
			owners[a.Address] = a.Nodes[0].Node
		}
	}
	if len(owners) != many {
		return nil, errorf("%d addresses with one owner, want %d", len(owners), many)
	}
	return owners, nil
}

// connectToEach connects to every address from outside, once.
func connectToEach(t *testing.T, addresses []string) {
	t.Helper()
	program := buildLoad(t)
	out, err := fromClient(t, "ip", "route", "replace", manyNet, "dev", "eth0")
	must(t, out, err)
	t.Cleanup(func() {
		if out, err := exec.Command(lab(t).Bin("lab"), "client", "--", "ip", "route", "del", manyNet).CombinedOutput(); err != nil {
			t.Errorf("clean up: %v\n%s", err, out)
		}
	})
	// The endpoints of all come from a controller of Kubernetes that takes its time, and
	// the last of them takes a moment to be everywhere.
	eventually(t, 8*time.Minute, func() error { return everyHasEndpoints(t) })
	eventually(t, 20*time.Second, func() error {
		if r := connectOnce(t, program, addresses[len(addresses)-1:]); r.Failures > 0 {
			return errorf("%v", r.Errors)
		}
		return nil
	})
	// As many neighbours at once as there are addresses would be more than the kernel
	// keeps by default (gc_thresh3): the client forgets some now and then.
	for part := range slices.Chunk(addresses, 200) {
		connectOnce(t, program, part).check(t, "a connection to each address", len(part))
		out, err := fromClient(t, "ip", "neigh", "flush", "dev", "eth0")
		must(t, out, err)
	}
}

// connectOnce connects once to port 80 of each address.
func connectOnce(t *testing.T, program string, addresses []string) loadReport {
	t.Helper()
	var targets strings.Builder
	for _, a := range addresses {
		targets.WriteString(hostPort(a, 80) + "\n")
	}
	out, err := run(t, []byte(targets.String()), lab(t).Bin("lab"), "client", "--", program, "--each", "--rate", "100", "--duration", "1m")
	var report loadReport
	if err := json.Unmarshal([]byte(must(t, out, err)), &report); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return report
}

// everyHasEndpoints tells whether there is an EndpointSlice of every Service.
func everyHasEndpoints(t *testing.T) error {
	t.Helper()
	out, err := tryKubectl(t, "get", "endpointslices", "-n", "demo", "-l", "e2e=many", "-o", "name")
	if n := len(strings.Fields(out)); err != nil || n != many {
		return errorf("%d EndpointSlices, want %d: %v", n, many, err)
	}
	return nil
}

// idle expects that Fairlead makes no request for a minute, but for those that hold
// the Lease and those that begin a watch anew.
func idle(t *testing.T, log *audit) {
	t.Helper()
	eventually(t, 3*time.Minute, func() error {
		log.since(t)
		time.Sleep(10 * time.Second)
		if got := log.since(t); len(got.others) > 0 {
			return errorf("requests go on after the Services were made: %s", got)
		}
		return nil
	})
	time.Sleep(time.Minute)
	got := log.since(t)
	total := 0
	for what, n := range got.others {
		total += n
		t.Errorf("%d requests in a minute in which nothing changed: %s", n, what)
	}
	if got.lease == 0 {
		t.Error("no request for the Lease in a minute: is the log read right?")
	}
	about := fmt.Sprintf("by all processes of Fairlead, with %d LoadBalancers, while nothing changes", many)
	figure(t, "lb-idle-api-requests", fmt.Sprint(total), "count", "in a minute, "+about+"; without the Lease and watches, which are the next two")
	figure(t, "lb-idle-lease-requests", fmt.Sprint(got.lease), "count", "in a minute: two controllers, one of which holds the Lease")
	figure(t, "lb-idle-watch-requests", fmt.Sprint(got.watches), "count", "in the same minute: watches that ended by client-go's limit of five to ten minutes and were begun anew")
}
