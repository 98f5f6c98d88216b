//go:build e2e

package e2e

import (
	"os/exec"
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
	use := func(dataplane string) {
		t.Helper()
		wait := p.load(t, "--connect", address, "--rate", "100", "--hold", "20", "--duration", "60s")
		out, err := fairlead(t, "upgrade", "--set", "config.lb.serviceDataplane="+dataplane)
		must(t, out, err)
		r := wait()
		t.Logf("to %s: %+v", dataplane, r)
		if r.Failures > 0 || r.Broken > 0 || r.Attempts < 3000 {
			t.Errorf("to %s: %d of %d new connections and %d of %d held ones failed: %v", dataplane, r.Failures, r.Attempts, r.Broken, r.Held, r.Errors)
		}
	}
	l := lab(t)
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		cmd := exec.Command(l.Bin("fairlead"), "upgrade", "--set", "config.lb.serviceDataplane=auto", "--kubeconfig", l.Kubeconfig())
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("clean up: %v\n%s", err, out)
		}
	})
	use("nftables")
	out, err := fairlead(t, "status")
	if must(t, out, err); !strings.Contains(out, "nftables alone, as lb.serviceDataplane says") || strings.Contains(out, "lb-ebpf") {
		t.Errorf("status:\n%s", out)
	}
	for name, test := range map[string]func(*testing.T){
		"names": TestNames, "no endpoints": TestNoEndpoints, "unknown port": TestUnknownPort, "NodePort": TestNodePort,
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
