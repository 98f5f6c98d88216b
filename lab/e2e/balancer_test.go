//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// pool gives addresses of the nodes' own network, and announces them by ARP and NDP.
const pool = `
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: e2e, namespace: metallb-system}
spec: {addresses: [172.30.0.224/28, "fd00:30::e0/124"]}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: e2e, namespace: metallb-system}
spec: {ipAddressPools: [e2e]}
`

// balanced is a Service of the pods with a label, at one of their ports.
const balanced = `
---
apiVersion: v1
kind: Service
metadata: {name: e2e-lb-%d, namespace: demo}
spec: {type: LoadBalancer, ipFamilyPolicy: RequireDualStack, selector: {app: %s}, ports: [{port: 80, targetPort: %d}]}
`

// balancers is what `fairlead lb -o json` prints, as far as it is looked at.
type balancers struct {
	Addresses []struct {
		Service, Address, Pool, Problem string
		Nodes                           []struct{ Node string }
	}
}

// owners asks for the addresses of the test's Services and the node that announces
// each, until there is one for every address.
func owners(t *testing.T, wanted int) map[string]string {
	t.Helper()
	var found map[string]string
	eventually(t, 20*time.Second, func() error {
		out, err := fairlead(t, "lb", "-o", "json")
		if err != nil {
			return errorf("%v %s", err, out)
		}
		var all balancers
		if err := json.Unmarshal([]byte(out), &all); err != nil {
			return err
		}
		found = map[string]string{}
		for _, a := range all.Addresses {
			if strings.HasPrefix(a.Service, "demo/e2e-lb-") && a.Pool == "e2e" && len(a.Nodes) == 1 {
				found[a.Address] = a.Nodes[0].Node
			}
		}
		if len(found) != wanted {
			return errorf("%d addresses with one owner, want %d: %s", len(found), wanted, out)
		}
		return nil
	})
	return found
}

// TestLoadBalancer expects MetalLB's YAML to give Services addresses that a client
// on the nodes' network resolves by ARP and NDP, and what goes to be free again.
func TestLoadBalancer(t *testing.T) {
	apply(t, pool+fmt.Sprintf(balanced, 1, "front", 8080))
	found := owners(t, 2)
	for address := range found {
		target := hostPort(address, 80)
		out, err := fromClient(t, curl(target)...)
		answers(t, "the client", target, out, err)
	}
	if said := event(t, "demo", "e2e-lb-1", "IPAllocated"); !strings.Contains(said, "172.30.0.2") {
		t.Errorf("Event %q", said)
	}
	toldBy(t, "e2e-lb-1", slices.Collect(maps.Values(found))...)
	if said := event(t, "demo", "e2e-lb-1", "nodeAssigned"); !strings.Contains(said, `with protocol "layer2"`) {
		t.Errorf("Event %q", said)
	}
	kubectl(t, "delete", "service", "-n", "demo", "e2e-lb-1")
	toldBy(t, "e2e-lb-1")
	eventually(t, 20*time.Second, func() error {
		if out := kubectl(t, "get", "ipaddresses", "-l", "ipaddress.kubernetes.io/managed-by=fairlead.dev", "-o", "name"); out != "" {
			return errorf("still claimed: %s", out)
		}
		return nil
	})
}

// toldBy waits until ServiceL2Status objects say that exactly these nodes announce a
// Service, each naming an interface.
func toldBy(t *testing.T, service string, nodes ...string) {
	t.Helper()
	slices.Sort(nodes)
	want := strings.Join(slices.Compact(nodes), " ")
	eventually(t, 20*time.Second, func() error {
		out := kubectl(t, "get", "servicel2statuses", "-n", "metallb-system", "-l", "metallb.io/service-namespace=demo,metallb.io/service-name="+service,
			"-o", `jsonpath={range .items[*]}{.status.node}{" "}{.metadata.labels.metallb\.io/node}{" "}{.status.interfaces[0].name}{"\n"}{end}`)
		var told []string
		for line := range strings.Lines(out) {
			f := strings.Fields(line)
			if len(f) != 3 || f[0] != f[1] {
				return errorf("a ServiceL2Status without node or interface: %q", line)
			}
			told = append(told, f[0])
		}
		slices.Sort(told)
		if got := strings.Join(told, " "); got != want {
			return errorf("announced by %q, as ServiceL2Status objects say; want %q", got, want)
		}
		return nil
	})
}

// TestLoadBalancerWithoutAddress expects a reason at the Service.
func TestLoadBalancerWithoutAddress(t *testing.T) {
	apply(t, pool+`
---
apiVersion: v1
kind: Service
metadata: {name: e2e-lb-1, namespace: demo, annotations: {metallb.io/loadBalancerIPs: 192.0.2.77}}
spec: {type: LoadBalancer, selector: {app: cart}, ports: [{port: 80, targetPort: 9000}]}
`)
	if said := event(t, "demo", "e2e-lb-1", "RequestedAddressOutside"); !strings.Contains(said, "192.0.2.77") {
		t.Errorf("Event %q", said)
	}
	out, err := fairlead(t, "explain", "service", "demo/e2e-lb-1")
	if must(t, out, err); !strings.Contains(out, "192.0.2.77") {
		t.Errorf("explain says nothing of the address:\n%s", out)
	}
}

// TestLoadBalancerUnannounced expects a Service to say that nobody announces its
// address, and a BGPPeer why there is no session.
func TestLoadBalancerUnannounced(t *testing.T) {
	pools, _, _ := strings.Cut(pool, "---")
	apply(t, pools+`
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: e2e, namespace: metallb-system}
spec: {myASN: 64512, peerASN: 64513, peerAddress: 172.30.0.1}
`+fmt.Sprintf(balanced, 1, "front", 8080))
	if said := event(t, "demo", "e2e-lb-1", "AddressNotAnnounced"); !strings.Contains(said, "L2Advertisement") {
		t.Errorf("Event %q", said)
	}
	if said := event(t, "metallb-system", "e2e", "SessionDown"); !strings.Contains(said, "nothing listens at 172.30.0.1:179") {
		t.Errorf("Event %q", said)
	}
}
