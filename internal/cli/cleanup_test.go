package cli

import (
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netns"

	"github.com/fairlead-net/fairlead/internal/lb/kubeproxy"
)

// TestCleanupKubeProxy says what it would do, does it, and says that nothing is
// left.
func TestCleanupKubeProxy(t *testing.T) {
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	ns, err := netns.New()
	if err != nil {
		t.Fatalf("network namespaces need root: %v", err)
	}
	defer ns.Close()
	if out, err := exec.Command("nft", "add table ip kube-proxy; add chain ip kube-proxy services; add table ip mine").CombinedOutput(); err != nil {
		t.Fatalf("nft (Debian package nftables): %v\n%s", err, out)
	}
	expect := func(line, want string) {
		t.Helper()
		if code, out, err := run(t, strings.Fields(line)...); code != 0 || out != want || err != "" {
			t.Errorf("%s: exit code %d: %s%s", line, code, out, err)
		}
	}
	for range 2 {
		expect("cleanup --kube-proxy --dry-run", "would remove nftables table ip kube-proxy, with 1 chain\n")
	}
	expect("cleanup --kube-proxy", "removed nftables table ip kube-proxy, with 1 chain\n")
	expect("cleanup --kube-proxy", "kube-proxy left nothing here\n")
	expect("cleanup --dry-run", "would remove what is pinned in /sys/fs/bpf/fairlead and /sys/fs/bpf/fairlead-uplink, and the nftables tables inet fairlead, ip fairlead-handover and ip6 fairlead-handover\n")
	out, err := exec.Command("nft", "list", "tables").CombinedOutput()
	if err != nil || string(out) != "table ip mine\n" {
		t.Errorf("%v, left:\n%s", err, out)
	}
}

// TestMayClean wants to know that kube-proxy has ended.
func TestMayClean(t *testing.T) {
	for _, c := range []struct {
		runs  kubeproxy.Answer
		force bool
		want  string
	}{
		{kubeproxy.Nobody, false, ""}, {kubeproxy.Nobody, true, ""}, {kubeproxy.Somebody, true, ""},
		{kubeproxy.Somebody, false, "it cannot be known whether kube-proxy runs"},
		{kubeproxy.KubeProxy, false, "kube-proxy runs on this node"}, {kubeproxy.KubeProxy, true, "kube-proxy runs on this node"},
	} {
		if err := mayClean(c.runs, c.force); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if code, _, text := run(t, "cleanup", "--force"); code == 0 || !strings.Contains(text, "--force is for --kube-proxy") {
		t.Errorf("exit code %d: %s", code, text)
	}
}
