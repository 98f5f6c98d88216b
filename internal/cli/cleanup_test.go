package cli

import (
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netns"
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
	expect("cleanup --dry-run", "would remove what is pinned in /sys/fs/bpf/fairlead and /sys/fs/bpf/fairlead-uplink, and nftables table inet fairlead\n")
	out, err := exec.Command("nft", "list", "tables").CombinedOutput()
	if err != nil || string(out) != "table ip mine\n" {
		t.Errorf("%v, left:\n%s", err, out)
	}
}
