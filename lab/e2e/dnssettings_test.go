//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"
)

// TestDNSSettings switches on what is off by default: the kernel answers, a link-local
// address leads to the servers, and names are counted.
func TestDNSSettings(t *testing.T) {
	eventually(t, 3*time.Minute, func() error { return ready(t) })
	set := func(kernel, address, count string) {
		t.Helper()
		upgrade(t, "config.dns.kernelFastPath="+kernel, "config.dns.nodeLocal="+address, "config.dns.countNames="+count)
	}
	t.Cleanup(func() { set("false", "null", "false") })
	set("true", "{169.254.20.10}", "true")
	for _, p := range probes(t) {
		for _, server := range []string{"@10.96.0.10", "@169.254.20.10"} {
			eventually(t, time.Minute, func() error {
				return dug(t, p, "shop.demo.svc.cluster.local. 30 IN A", server, "shop.demo.svc.cluster.local", "A")
			})
		}
	}
	TestNames(t)
	out, err := fairlead(t, "status")
	if must(t, out, err); !strings.Contains(out, "the kernel answers") || strings.Contains(out, "the kernel answers no queries") {
		t.Errorf("status:\n%s", out)
	}
	// One that the kernel leaves to the servers, which count.
	p := probes(t)[0]
	if out, err := p.exec(t, "dig", "+short", "shop.demo.svc.cluster.local", "TXT"); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	eventually(t, 20*time.Second, func() error {
		out, err := fairlead(t, "dns", "top")
		if err != nil || !strings.Contains(out, "shop.demo.svc.cluster.local") {
			return errorf("dns top: %w\n%s", err, out)
		}
		return nil
	})
}
