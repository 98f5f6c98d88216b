package install

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead-net/fairlead/internal/kube"
)

func TestUninstall(t *testing.T) {
	b := installed(t, nil)
	b.out.Reset()
	b.cluster.found.NamespaceLabels = map[string]string{madeBy: "fairlead-install"}
	if err := b.Uninstall(t.Context(), UninstallOptions{Timeout: time.Minute}); err != nil {
		t.Fatal(err)
	}
	want := "removing kernel state from every node\nfairlead-node 3/3 ready\nremoved release fairlead-system/fairlead\n" + keptPools + "all pods are gone\nremoved namespace fairlead-system\n"
	if got := b.steps(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if b.release(t) != nil {
		t.Error("the release is still there")
	}
	// As after a run that was killed before it removed the namespace.
	b.out.Reset()
	if err := b.Uninstall(t.Context(), UninstallOptions{}); err != nil || b.steps() != "removed namespace fairlead-system\n" {
		t.Errorf("a second time: %v\n%s", err, b.steps())
	}
	b.cluster.found.NamespaceLabels = nil
	if err := b.Uninstall(t.Context(), UninstallOptions{}); !errors.Is(err, ErrNotInstalled) {
		t.Errorf("a third time: %v", err)
	}
}

// TestUninstallWaitsForPods holds that success means that nothing runs any more.
func TestUninstallWaitsForPods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := installed(t, nil)
		b.cluster.broken = map[string][]kube.PodProblem{"fairlead-dns": {{Pod: "kube-system/fairlead-dns-x", Node: "worker-2", Reason: "Terminating"}}}
		err := b.Uninstall(t.Context(), UninstallOptions{Timeout: 5 * time.Second})
		mentions(t, err, "the release is removed, but its pods are not gone within 5s", "kube-system/fairlead-dns-x on node worker-2: Terminating", "again")
		synctest.Wait() // so that Helm's goroutines end before their context does
	})
}

// keptPools is said wherever the release made the namespace of the pools.
const keptPools = "kept the namespace of the address pools, and the definitions of MetalLB's kinds, with all that is of them\n"

// TestUninstallKeeps holds that what is not Fairlead's, and what the user wants
// to keep, stays.
func TestUninstallKeeps(t *testing.T) {
	b := installed(t, nil)
	b.out.Reset()
	b.cluster.found.NamespaceLabels = map[string]string{"team": "network"}
	if err := b.Uninstall(t.Context(), UninstallOptions{KeepKernelState: true, Timeout: time.Minute}); err != nil {
		t.Fatal(err)
	}
	if got := b.steps(); got != "removed release fairlead-system/fairlead\n"+keptPools+"all pods are gone\n" {
		t.Error(got)
	}
}

// TestUninstallWaitsForNodes holds that the release stays as long as a node has
// kernel state that nobody could remove afterwards, and that upgrade leads back.
func TestUninstallWaitsForNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := installed(t, nil)
		b.cluster.broken = map[string][]kube.PodProblem{"fairlead-node": {{Pod: "fairlead-system/fairlead-node-x", Node: "worker-2", Reason: "Terminating"}}}
		err := b.Uninstall(t.Context(), UninstallOptions{Timeout: 5 * time.Second})
		mentions(t, err, "kernel state is not removed from every node: not ready within 5s", "on node worker-2: Terminating", "--keep-kernel-state", "fairlead upgrade")
		if rel := b.release(t); rel == nil || !strings.Contains(rel.Manifest, "- cleanup") {
			t.Fatal("the release is gone, or was not in cleanup")
		}
		b.cluster.broken = nil
		if _, err := b.Upgrade(t.Context(), Options{Wait: time.Minute}); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.release(t).Manifest, "- cleanup") {
			t.Error("the upgrade left the nodes in cleanup")
		}
		synctest.Wait() // so that Helm's goroutines end before their context does
	})
}

// TestNotReady shows what a user reads when pods do not start.
func TestNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.cluster.broken = map[string][]kube.PodProblem{
			"fairlead-node": {
				{Pod: "fairlead-system/fairlead-node-a", Node: "worker-1", Reason: "ImagePullBackOff", Message: "no such image"},
				{Pod: "fairlead-system/fairlead-node-b", Node: "worker-2", Reason: "CrashLoopBackOff", Message: "its last run ended with exit code 1", Log: "no BPF file system"},
			},
			"fairlead-dns": {{Pod: "kube-system/fairlead-dns-a", Reason: "Unschedulable", Message: "0/3 nodes are available"}},
		}
		_, err := b.Install(t.Context(), Options{Wait: 3 * time.Minute})
		want := `the release is applied and stays, but its pods are not ready within 3m0s:
  pod fairlead-system/fairlead-node-a on node worker-1: ImagePullBackOff: no such image
    next: check --set image.repository, image.tag and image.pullSecrets, or load the image on the node
  pod fairlead-system/fairlead-node-b on node worker-2: CrashLoopBackOff: its last run ended with exit code 1
    its last line: no BPF file system
    next: kubectl -n fairlead-system logs fairlead-node-b --previous
  pod kube-system/fairlead-dns-a: Unschedulable: 0/3 nodes are available
    next: make room on the node, or lower the pod's resources with --set
Once that is mended the pods start by themselves; 'fairlead upgrade' waits again`
		if err == nil || err.Error() != want {
			t.Errorf("got\n%v\nwant\n%s", err, want)
		}
		if got := strings.Count(b.steps(), "fairlead-node 1/3 ready"); got != 1 {
			t.Errorf("progress is printed %d times:\n%s", got, b.steps())
		}
		synctest.Wait() // so that Helm's goroutines end before their context does
	})
}
