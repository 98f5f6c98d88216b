package bgp

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/announce"
)

// child tells the test binary to be a process of its own with a Plane, which waits to
// be killed.
const child = "FAIRLEAD_BGP_TEST_CHILD"

// restartTable is what is announced to the router number 1, by two sessions of which
// one is watched by BFD.
func restartTable(more ...announce.Route) announce.Table {
	graceful := func(p *announce.Peer) { p.GracefulRestart, p.BothFamilies = true, true }
	_, _, own4, own6 := addresses(1)
	return table([]announce.Peer{
		peer("four", own4, 64513, graceful),
		peer("six", own6, 64513, graceful, byBFD(300*time.Millisecond, 5)),
	}, append(more, route("192.0.2.1/32", "", "four"), route("2001:db8::1/128", "", "six"))...)
}

func runChild() {
	p, err := New(Config{Log: slog.New(slog.DiscardHandler), NodeName: "node", RouterID: netip.MustParseAddr("10.99.0.1")})
	if err == nil {
		err = p.Apply(context.Background(), restartTable(route("192.0.2.9/32", "", "four")))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	select {}
}

// watch looks at the router's kernel without a pause, until the function that it
// returns is called, which returns when a route was not there.
func (r *router) watch(prefixes ...string) (end func() []string) {
	stop := make(chan struct{})
	var gaps []string
	var watching sync.WaitGroup
	watching.Go(func() {
		for looks := 0; ; looks++ {
			select {
			case <-stop:
				r.t.Logf("%d looks", looks)
				return
			case <-time.After(2 * time.Millisecond):
			}
			for _, prefix := range prefixes {
				if !r.forwards(prefix) {
					gaps = append(gaps, prefix+" at "+time.Now().Format("05.000"))
				}
			}
		}
	})
	return func() []string {
		close(stop)
		watching.Wait()
		return gaps
	}
}

// TestRestart: the process is killed, and one that takes its place ends and is
// replaced in turn. The routes that are still wanted never leave the router's kernel,
// and what is wanted no more is withdrawn.
func TestRestart(t *testing.T) {
	r := newRouter(t, 1)
	r.frr(frrConfig(r, 64513, 64512, "bgp graceful-restart", fmt.Sprintf("neighbor %s bfd", r.node6)))
	first := exec.Command("/proc/self/exe")
	first.Env = append(os.Environ(), child+"=yes")
	first.Stderr = os.Stderr
	must(t, first.Start())
	t.Cleanup(func() { _, _ = first.Process.Kill(), first.Wait() })
	r.has("192.0.2.1/32", "192.0.2.9/32", "2001:db8::1/128")
	await(t, "the router forwards", func() bool { return r.forwards("192.0.2.1/32") && r.forwards("2001:db8::1/128") })
	await(t, "BFD is up", func() bool { return strings.Contains(r.vtysh("show bfd peers"), "Status: up") })
	end := r.watch("192.0.2.1/32", "2001:db8::1/128")
	stale := func() bool {
		return strings.Contains(r.vtysh("show bgp ipv4 unicast json", "show bgp ipv6 unicast json"), `"stale":true`)
	}
	must(t, first.Process.Kill())
	_ = first.Wait()
	await(t, "the router notices, and BFD", func() bool { return stale() && !strings.Contains(r.vtysh("show bfd peers"), "Status: up") })
	for last := range 2 {
		p := plane(t)
		apply(t, p, restartTable())
		established(t, p, "four")
		established(t, p, "six")
		r.has("192.0.2.1/32", "2001:db8::1/128")
		await(t, "nothing is stale", func() bool { return !stale() })
		await(t, "BFD is up", func() bool { return status(t, p, "six").BFD.State.String() == "Up" })
		if last == 0 {
			must(t, p.Close())
			await(t, "the router notices", stale)
		}
	}
	if gaps := end(); len(gaps) > 0 {
		t.Errorf("routes were gone: %s", gaps)
	}
}
