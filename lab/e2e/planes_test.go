//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestNftablesAlone switches eBPF off and on again under load: nothing fails
// meanwhile, and nftables alone serves the same.
func TestNftablesAlone(t *testing.T) {
	eventually(t, 2*time.Minute, func() error { return ready(t) })
	address := kubectl(t, "get", "service", "-n", "demo", "shop", "-o", "jsonpath={.spec.clusterIP}") + ":80"
	p := probes(t)[1]
	p.install(t)
	nodePort, program := hostPort(nodes(t)[0].address, 30080), buildLoad(t)
	use := func(dataplane string) {
		t.Helper()
		// What nftables carries from outside stays with it when eBPF takes over; the
		// other way, what eBPF carried ends.
		outside := func() {}
		if dataplane == "auto" {
			apply(t, fmt.Sprintf(external, "Cluster"))
			eventually(t, 20*time.Second, func() error {
				_, err := fromClient(t, curl(nodePort)...)
				return err
			})
			wait := loadFromClient(t, program, "--connect", nodePort, "--rate", "50", "--hold", "100", "--duration", "60s")
			outside = func() { wait().check(t, "from outside to "+dataplane, 1500) }
		}
		wait := p.load(t, "--connect", address, "--rate", "100", "--hold", "20", "--duration", "60s")
		upgrade(t, "config.lb.serviceDataplane="+dataplane)
		wait().check(t, "to "+dataplane, 3000)
		outside()
	}
	t.Cleanup(func() {
		if t.Failed() {
			upgrade(t, "config.lb.serviceDataplane=auto")
		}
	})
	use("nftables")
	out, err := fairlead(t, "status")
	if must(t, out, err); !strings.Contains(out, "nftables alone, as lb.serviceDataplane says") || strings.Contains(out, "lb-ebpf") {
		t.Errorf("status:\n%s", out)
	}
	for name, test := range map[string]func(*testing.T){
		"names": TestNames, "no endpoints": TestNoEndpoints, "unknown port": TestUnknownPort, "NodePort": TestNodePort,
		"NodePort on loopback":        TestNodePortLoopback,
		"externalTrafficPolicy Local": TestExternalTrafficPolicyLocal, "load balancer": TestLoadBalancerAddress,
	} {
		t.Run(name, test)
	}
	use("auto")
	out, err = fairlead(t, "status")
	if must(t, out, err); !strings.Contains(out, "eBPF in sockets") {
		t.Errorf("eBPF is not in use again:\n%s", out)
	}
}
