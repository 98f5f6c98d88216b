//go:build e2e

package e2e

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// external is a Service of all types at once, in both families, whose backend
// tells who asked: HTTP header fields and the client's address. Its addresses are no
// business of Fairlead's, whatever pools there are.
const external = `{apiVersion: v1, kind: Service, metadata: {name: e2e-outside, namespace: demo}, spec: {
  type: LoadBalancer, loadBalancerClass: example.com/none, selector: {app: front}, ipFamilyPolicy: RequireDualStack, externalTrafficPolicy: %s,
  ports: [{name: http, port: 80, targetPort: http, nodePort: 30080}]}}`

// node is one machine of the cluster.
type node struct {
	name           string
	address, addr6 string
	hasShop        bool
}

func nodes(t *testing.T) []node {
	t.Helper()
	out := kubectl(t, "get", "nodes", "-o", `jsonpath={range .items[*]}{.metadata.name} {.status.addresses[?(@.type=="InternalIP")].address}{"\n"}{end}`)
	var all []node
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) != 3 {
			t.Fatalf("a node without an address of each family: %s", line)
		}
		n := node{name: f[0], address: f[1], addr6: f[2]}
		n.hasShop = slices.ContainsFunc(pods(t, "app=front"), func(p pod) bool { return p.node == n.name })
		all = append(all, n)
	}
	return all
}

func hostPort(address string, port int) string {
	return netip.AddrPortFrom(netip.MustParseAddr(address), uint16(port)).String()
}

// fromClient runs a command outside the cluster.
func fromClient(t *testing.T, command ...string) (string, error) {
	t.Helper()
	return run(t, nil, lab(t).Bin("lab"), append([]string{"client", "--"}, command...)...)
}

// fromRemote runs a command outside the cluster and behind the routers.
func fromRemote(t *testing.T, command ...string) (string, error) {
	t.Helper()
	return run(t, nil, lab(t).Bin("lab"), append([]string{"client", "--remote", "--"}, command...)...)
}

// fromNode runs a command at the console of a node or a router.
func fromNode(t *testing.T, name string, command ...string) (string, error) {
	t.Helper()
	return run(t, nil, lab(t).Bin("lab"), append([]string{"node", "exec", name, "--"}, command...)...)
}

func curl(target string) []string {
	return []string{"curl", "-sS", "--max-time", "5", "-o", "/dev/null", "-w", "%{http_code}", "http://" + target + "/"}
}

// answers expects an answer of the shop.
func answers(t *testing.T, who, target string, out string, err error) {
	t.Helper()
	if err != nil || out != "200" {
		t.Errorf("%s to %s: %v %s", who, target, err, out)
	}
}

// TestNodePort asks at every address of every node, from outside, from pods, and
// on the nodes themselves, where loopback works too.
func TestNodePort(t *testing.T) {
	apply(t, fmt.Sprintf(external, "Cluster"))
	all := nodes(t)
	eventually(t, 20*time.Second, func() error {
		_, err := fromClient(t, curl(hostPort(all[0].address, 30080))...)
		return err
	})
	for _, n := range all {
		for _, address := range []string{n.address, n.addr6} {
			target := hostPort(address, 30080)
			for range 4 { // of two backends, one may be on this node
				out, err := fromClient(t, curl(target)...)
				answers(t, "the client", target, out, err)
			}
			for _, p := range probes(t) {
				out, err := p.exec(t, curl(target)...)
				answers(t, "a pod on "+p.node, target, out, err)
			}
			out, err := fromNode(t, n.name, curl(target)...)
			answers(t, "the node", target, out, err)
		}
	}
}

// TestNodePortLoopback uses loopback addresses of both families on a node.
func TestNodePortLoopback(t *testing.T) {
	apply(t, fmt.Sprintf(external, "Cluster"))
	for _, n := range nodes(t) {
		for _, target := range []string{"127.0.0.1:30080", "[::1]:30080"} {
			eventually(t, 20*time.Second, func() error {
				if out, err := fromNode(t, n.name, curl(target)...); err != nil || out != "200" {
					return errorf("%s on %s: %v %s", target, n.name, err, out)
				}
				return nil
			})
		}
	}
}

// TestExternalTrafficPolicyLocal expects nodes with a backend to answer clients
// outside, and nodes without to be silent to them but not to pods.
func TestExternalTrafficPolicyLocal(t *testing.T) {
	apply(t, fmt.Sprintf(external, "Local"))
	all := nodes(t)
	for _, n := range all {
		target := hostPort(n.address, 30080)
		eventually(t, 20*time.Second, func() error {
			_, err := fromClient(t, curl(target)...)
			switch {
			case n.hasShop && err != nil:
				return errorf("%s, which has a backend: %v", n.name, err)
			case !n.hasShop && err == nil:
				return errorf("%s, which has no backend, answers", n.name)
			}
			return nil
		})
		for _, p := range probes(t) {
			if p.node == n.name {
				out, err := p.exec(t, curl(target)...)
				answers(t, "a pod on "+p.node, target, out, err)
			}
		}
	}
	if !slices.ContainsFunc(all, func(n node) bool { return n.hasShop }) {
		t.Error("no node has a backend")
	}
}

// TestLoadBalancerAddress gives the Service an address, as a load balancer
// would, and expects it to be served where packets to it arrive, and in pods.
func TestLoadBalancerAddress(t *testing.T) {
	apply(t, fmt.Sprintf(external, "Cluster"))
	const address = "192.0.2.80"
	kubectl(t, "patch", "service", "-n", "demo", "e2e-outside", "--subresource", "status", "--type", "merge",
		"-p", `{"status": {"loadBalancer": {"ingress": [{"ip": "`+address+`"}]}}}`)
	target := address + ":80"
	for _, n := range nodes(t) {
		out, err := fromClient(t, "ip", "route", "replace", address+"/32", "via", n.address)
		must(t, out, err)
		eventually(t, 20*time.Second, func() error {
			if out, err := fromClient(t, curl(target)...); err != nil || out != "200" {
				return errorf("the client by %s: %v %s", n.name, err, out)
			}
			return nil
		})
	}
	out, err := fromClient(t, "ip", "route", "del", address+"/32")
	must(t, out, err)
	for _, p := range probes(t) {
		out, err := p.exec(t, curl(target)...)
		answers(t, "a pod on "+p.node, target, out, err)
	}
}

// TestUnknownPort expects a refusal at a port that a ClusterIP does not have.
func TestUnknownPort(t *testing.T) {
	address := kubectl(t, "get", "service", "-n", "demo", "shop", "-o", "jsonpath={.spec.clusterIP}")
	for _, p := range probes(t) {
		out, err := p.exec(t, "curl", "-sS", "--max-time", "5", "http://"+address+":81/")
		if err == nil || !strings.Contains(out, "Connection refused") && !strings.Contains(out, "Couldn't connect") && !strings.Contains(out, "Failed to connect") {
			t.Errorf("a pod on %s: %v %s, want a refusal", p.node, err, out)
		}
	}
}
