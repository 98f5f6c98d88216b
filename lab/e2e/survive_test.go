//go:build e2e

package e2e

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

func errorf(format string, args ...any) error { return fmt.Errorf(format, args...) }

// killEach kills every process of a plane, one after the other, and waits after
// each.
func killEach(t *testing.T, plane string, wait time.Duration) {
	t.Helper()
	ids := processes(t, plane)
	if len(ids) < 2 {
		t.Fatalf("%d processes of plane %s, want one per node", len(ids), plane)
	}
	for _, id := range ids {
		t.Logf("SIGKILL %s process %d", plane, id)
		if err := syscall.Kill(id, syscall.SIGKILL); err != nil {
			t.Fatalf("kill %d: %v", id, err)
		}
		time.Sleep(wait)
	}
}

// TestKillEverything kills every Fairlead process in turn while clients on two
// nodes make 200 new connections a second each and hold 50 open: one asks for the
// front page, for which pods connect to one another, one for a line of the same pods.
// Two for the page would leave a small machine no time for anything else, and answers
// would be late whatever Fairlead does.
func TestKillEverything(t *testing.T) {
	eventually(t, 2*time.Minute, func() error { return ready(t) })
	address := kubectl(t, "get", "service", "-n", "demo", "shop", "-o", "jsonpath={.spec.clusterIP}")
	targets := [][2]string{{address + ":80", "/"}, {address + ":9000", "/healthz"}}
	var reports []func() loadReport
	for i, p := range probes(t)[:2] {
		p.install(t)
		reports = append(reports, p.load(t, "--connect", targets[i][0], "--path", targets[i][1], "--rate", "200", "--hold", "50", "--duration", "45s"))
	}
	time.Sleep(3 * time.Second)
	killEach(t, "lb", 5*time.Second)
	killEach(t, "status", 2*time.Second)
	killEach(t, "dns", 4*time.Second)
	for _, wait := range reports {
		wait().check(t, "ClusterIP", 5000)
	}
	eventually(t, 3*time.Minute, func() error { return ready(t) })
}

// TestKillDNS kills every DNS process in turn while a pod looks a name up: the
// servers of other nodes answer meanwhile.
func TestKillDNS(t *testing.T) {
	eventually(t, 3*time.Minute, func() error { return ready(t) })
	p := probes(t)[1]
	p.install(t)
	wait := p.load(t, "--resolve", "shop.demo.svc.cluster.local", "--rate", "50", "--duration", "40s")
	time.Sleep(3 * time.Second)
	killEach(t, "dns", 10*time.Second)
	r := wait()
	t.Logf("%+v", r)
	if r.Failures > 0 {
		t.Errorf("%d of %d lookups failed, none for longer than %d ms: %v", r.Failures, r.Attempts, r.OutageMillis, r.Errors)
	}
	eventually(t, 3*time.Minute, func() error { return ready(t) })
}
