//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/lab/plan"
)

// bgpPool gives addresses that are on no network of the lab's, and announces them to
// the router that runs FRR (eBGP) and the one that runs BIRD (iBGP), with BFD.
const bgpPool = `
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: e2e-bgp, namespace: metallb-system}
spec: {addresses: [203.0.113.16/28, "fd00:203::10/124"]}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: e2e-bgp, namespace: metallb-system}
spec: {ipAddressPools: [e2e-bgp], communities: ["64512:77"]}
---
apiVersion: metallb.io/v1beta1
kind: BFDProfile
metadata: {name: e2e, namespace: metallb-system}
spec: {receiveInterval: 100, transmitInterval: 100, detectMultiplier: 3}
`

// bgpPeer is a router by one of its addresses.
const bgpPeer = `---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: %s, namespace: metallb-system}
spec: {myASN: 64512, peerASN: %d, peerAddress: "%s", holdTime: 9s, keepaliveTime: 3s, bfdProfile: e2e%s}
`

// peers are BGPPeers for both routers and both families. more is appended to the
// specs of those of a name.
func peers(p plan.Plan, more map[string]string) string {
	var all strings.Builder
	for name, r := range map[string]plan.Router{"e2e-frr": p.FRR, "e2e-bird": p.BIRD} {
		fmt.Fprintf(&all, bgpPeer, name+"-4", r.AS, r.Addr.V4, more[name+"-4"])
		fmt.Fprintf(&all, bgpPeer, name+"-6", r.AS, r.Addr.V6, more[name+"-6"])
	}
	return all.String()
}

// labPlan is the lab's addresses, but for its nodes'.
func labPlan(t *testing.T) plan.Plan {
	t.Helper()
	p, err := plan.New(1)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// nextHops returns how many nodes the kernel of a router sends an address's packets to.
func nextHops(t *testing.T, router, address string) (int, error) {
	t.Helper()
	family := "-4"
	if strings.Contains(address, ":") {
		family = "-6"
	}
	out, err := fromNode(t, router, "ip", family, "-json", "route", "show", address)
	if err != nil {
		return 0, errorf("%v %s", err, out)
	}
	var routes []struct {
		Gateway  string
		Nexthops []json.RawMessage
	}
	if err := json.Unmarshal([]byte(out), &routes); err != nil {
		return 0, errorf("%v in %s", err, out)
	}
	hops := 0
	for _, r := range routes {
		hops += len(r.Nexthops)
		if r.Gateway != "" {
			hops++
		}
	}
	return hops, nil
}

// routed expects both routers to send the packets of every address to so many nodes.
func routed(t *testing.T, p plan.Plan, wanted int, addresses ...string) error {
	t.Helper()
	for _, r := range p.Routers() {
		for _, a := range addresses {
			if n, err := nextHops(t, r.Name, a); err != nil || n != wanted {
				return errorf("%s sends packets to %s to %d nodes, want %d: %v", r.Name, a, n, wanted, err)
			}
		}
	}
	return nil
}

// ingress waits for the addresses of a Service.
func ingress(t *testing.T, service string, wanted int) []string {
	t.Helper()
	var found []string
	eventually(t, 20*time.Second, func() error {
		out, err := tryKubectl(t, "get", "service", "-n", "demo", service, "-o", "jsonpath={.status.loadBalancer.ingress[*].ip}")
		if found = strings.Fields(out); err != nil || len(found) != wanted {
			return errorf("%s has the addresses %q, want %d: %v", service, out, wanted, err)
		}
		return nil
	})
	return found
}

// byRouter sends the remote client's packets to an address by a router, until the
// test ends.
func byRouter(t *testing.T, address string, r plan.Router) {
	t.Helper()
	via := r.Outside.V4
	if strings.Contains(address, ":") {
		via = r.Outside.V6
	}
	out, err := fromRemote(t, "ip", "route", "replace", address, "via", via.String())
	must(t, out, err)
	t.Cleanup(func() {
		// The test's own context has ended by then.
		family := "-4"
		if via.Is6() {
			family = "-6"
		}
		if out, err := exec.Command(lab(t).Bin("lab"), "client", "--remote", "--", "ip", family, "route", "flush", address).CombinedOutput(); err != nil {
			t.Errorf("clean up: %v\n%s", err, out)
		}
	})
}

// TestBGP expects MetalLB's YAML to make routers of two kinds, neighbours in another
// AS and in the nodes' own, send packets to all nodes, and a client behind them to
// reach the Service over both families by either.
func TestBGP(t *testing.T) {
	p := labPlan(t)
	apply(t, bgpPool+peers(p, nil)+fmt.Sprintf(balanced, 1, "front", 8080))
	addresses := ingress(t, "e2e-lb-1", 2)
	eventually(t, time.Minute, func() error { return routed(t, p, len(nodes(t)), addresses...) })
	for _, r := range p.Routers() {
		for _, a := range addresses {
			byRouter(t, a, r)
			for range 6 { // by different nodes
				out, err := fromRemote(t, curl(hostPort(a, 80))...)
				answers(t, "the client behind "+r.Name, a, out, err)
			}
		}
	}
	if out, err := fromNode(t, p.FRR.Name, "vtysh", "-c", "show bgp ipv4 unicast "+addresses[0]+"/32"); err != nil || !strings.Contains(out, "64512:77") {
		t.Errorf("FRR has not learned the community 64512:77: %v\n%s", err, out)
	}
	kubectl(t, "delete", "service", "-n", "demo", "e2e-lb-1")
	eventually(t, 20*time.Second, func() error { return routed(t, p, 0, addresses...) })
}

// TestBGPFailover excludes a node that routers send packets to, replaces its process,
// and cuts it off, while clients come by both routers.
func TestBGPFailover(t *testing.T) {
	p := labPlan(t)
	apply(t, bgpPool+peers(p, nil)+fmt.Sprintf(balanced, 1, "cart", 9000)+fmt.Sprintf(balanced, 2, "cart", 9000))
	program := buildLoad(t)
	var all []string
	var ways []way
	for i, r := range p.Routers() {
		addresses := ingress(t, fmt.Sprintf("e2e-lb-%d", i+1), 2)
		byRouter(t, addresses[0], r)
		all = append(all, addresses...)
		ways = append(ways, way{"by " + r.Name, hostPort(addresses[0], 80), func(args ...string) func() loadReport { return loadFromRemote(t, program, args...) }})
	}
	endpoint := kubectl(t, "get", "pods", "-n", "demo", "-l", "app=cart", "-o", "jsonpath={.items[0].spec.nodeName}")
	var node string
	for _, n := range nodes(t) {
		if n.name != endpoint && n.name != "control-plane" {
			node = n.name
		}
	}
	// A router that is lost again within a minute, time after time, is left alone for longer and longer.
	c := crossing{kind: "bgp", node: node, ways: ways, rest: time.Minute, settled: func() error { return routed(t, p, len(nodes(t)), all...) }}
	// Routers choose anew for all connections when the nodes change (Linux' ECMP does), so
	// one whose packets change nodes between its first and its last can be lost.
	few := gentleness{moved: 3, held: 0}
	c.moves(t, few)
	c.cuts(t, few)
}

// setPackets has Fairlead's eBPF programs pass packets from outside to endpoints that
// answer directly, or what is so by default.
func setPackets(t *testing.T, direct bool) {
	t.Helper()
	dataplane := map[bool]string{true: "ebpf", false: "auto"}[direct]
	upgrade(t, fmt.Sprintf("config.lb.directReturn=%t", direct), "config.lb.packetDataplane="+dataplane)
}

// demandKey has FRR take sessions from the nodes' IPv4 addresses only with an MD5 key,
// until the test ends. They are neighbours of their own then: of a range of neighbours, FRR 8.4
// does not forget a key for IPv6.
func demandKey(t *testing.T, p plan.Plan, key string) {
	t.Helper()
	program := lab(t).Bin("lab")
	configure := func(lines ...string) {
		args := []string{"node", "exec", p.FRR.Name, "--", "vtysh", "-c", "configure terminal", "-c", fmt.Sprintf("router bgp %d", p.FRR.AS)}
		for _, line := range lines {
			args = append(args, "-c", line)
		}
		if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
			t.Errorf("vtysh %q: %v\n%s", lines, err, out)
		}
	}
	for _, n := range nodes(t) {
		t.Cleanup(func() { configure("no neighbor " + n.address) })
		neighbor := "neighbor " + n.address + " "
		configure(neighbor+fmt.Sprintf("remote-as %d", plan.NodesAS), neighbor+"passive", neighbor+"timers 3 9", neighbor+"bfd profile lab", neighbor+"password "+key)
	}
}

// TestBGPWrongPassword has a BGPPeer with another key than its router. It expects a
// reason at that BGPPeer, and the other sessions to go on, those with the same router
// and those with another one; and the session to be made when the key is corrected.
func TestBGPWrongPassword(t *testing.T) {
	p := labPlan(t)
	demandKey(t, p, "right")
	apply(t, bgpPool+peers(p, map[string]string{"e2e-frr-4": ", password: wrong"})+fmt.Sprintf(balanced, 1, "front", 8080))
	addresses := ingress(t, "e2e-lb-1", 2)
	all := len(nodes(t))
	expect := func(byFRR int) error {
		for _, a := range addresses {
			want := map[string]int{p.BIRD.Name: all, p.FRR.Name: all}
			if !strings.Contains(a, ":") {
				want[p.FRR.Name] = byFRR
			}
			for router, wanted := range want {
				if n, err := nextHops(t, router, a); err != nil || n != wanted {
					return errorf("%s sends packets to %s to %d nodes, want %d: %v", router, a, n, wanted, err)
				}
			}
		}
		return nil
	}
	eventually(t, time.Minute, func() error { return expect(0) })
	eventually(t, time.Minute, func() error {
		out, err := fairlead(t, "lb")
		for line := range strings.Lines(must(t, out, err)) {
			if strings.HasPrefix(line, "e2e-frr-4") && strings.Contains(line, "wrong MD5 key") {
				return nil
			}
		}
		return errorf("lb says nothing of a wrong MD5 key at e2e-frr-4")
	})
	if said := event(t, "metallb-system", "e2e-frr-4", "SessionDown"); !strings.Contains(said, "wrong MD5 key") {
		t.Errorf("Event %q says nothing of a wrong MD5 key", said)
	}
	if err := expect(0); err != nil {
		t.Errorf("after a while: %v", err)
	}
	kubectl(t, "patch", "bgppeer", "-n", "metallb-system", "e2e-frr-4", "--type", "merge", "-p", `{"spec": {"password": "right"}}`)
	eventually(t, time.Minute, func() error { return expect(all) })
}
