package install

import (
	"context"
	"fmt"
	"strings"
	"time"

	"helm.sh/helm/v4/pkg/action"
	helmkube "helm.sh/helm/v4/pkg/kube"
	"helm.sh/helm/v4/pkg/release/common"
	release "helm.sh/helm/v4/pkg/release/v1"
)

// UninstallOptions say how thorough Uninstall is.
type UninstallOptions struct {
	// KeepKernelState leaves programs and maps in the kernels of the nodes, where
	// they go on balancing to the endpoints of that moment until a reboot.
	KeepKernelState bool
	// KeepNamespace leaves the namespace, even if the installer made it.
	KeepNamespace bool
	// Timeout is how long each step may take.
	Timeout time.Duration
}

// Uninstall removes the release: first every node's pod removes what Fairlead
// left in the kernel, then the objects go, then the namespace if the installer
// made it. What an interrupted run left is removed too. The error is
// ErrNotInstalled if there is nothing to remove.
func (i *Installer) Uninstall(ctx context.Context, o UninstallOptions) error {
	rel, err := i.current()
	if err != nil {
		return err
	}
	found, err := i.cluster.Discover(ctx, i.namespace)
	if err != nil {
		return err
	}
	if rel == nil {
		if _, left := found.NamespaceLabels[madeBy]; left && !o.KeepNamespace {
			return i.removeNamespace(found, o.Timeout)
		}
		return i.notInstalled()
	}
	if err := i.settle(rel); err != nil {
		return err
	}
	// A release that is half deleted may have no node pods to ask any more.
	if !o.KeepKernelState && rel.Info.Status != common.StatusUninstalling {
		if err := i.cleanKernels(ctx, rel, o.Timeout); err != nil {
			return err
		}
	}
	run := action.NewUninstall(i.helm)
	run.WaitStrategy = helmkube.HookOnlyStrategy
	run.DeletionPropagation = "foreground"
	run.Timeout = o.Timeout
	done, err := run.Run(releaseName)
	if err != nil {
		return fmt.Errorf("uninstall: %w; run it again to go on", err)
	}
	i.progress.step("removed release %s/%s", i.namespace, releaseName)
	if strings.Contains(done.Info, "[Service] kube-dns") {
		i.progress.step("kept Service kube-system/kube-dns, which was there before Fairlead")
	}
	if strings.Contains(done.Info, "[Namespace]") {
		i.progress.step("kept the namespace of the address pools, and the definitions of MetalLB's kinds, with all that is of them")
	}
	if err := i.waitGone(ctx, workloads(i.namespace), o.Timeout); err != nil {
		return fmt.Errorf("the release is removed, but its pods are %w\nRun 'fairlead uninstall' again to remove namespace %s too", err, i.namespace)
	}
	i.progress.step("all pods are gone")
	if o.KeepNamespace {
		return nil
	}
	return i.removeNamespace(found, o.Timeout)
}

// cleanKernels sets the value node.cleanup, with the chart and the values that
// the release has, and waits until every node's pod reports that the kernel
// holds nothing of Fairlead any more.
func (i *Installer) cleanKernels(ctx context.Context, rel *release.Release, timeout time.Duration) error {
	run := i.newUpgrade()
	run.ReuseValues = true
	run.Description = "Removing kernel state before the release"
	cleanup := map[string]any{"node": map[string]any{"cleanup": true}}
	if _, err := run.RunWithContext(ctx, releaseName, rel.Chart, cleanup); err != nil {
		return fmt.Errorf("the node pods cannot be told to remove their kernel state: %w; with --keep-kernel-state it stays and the rest is removed", explain(err))
	}
	i.progress.step("removing kernel state from every node")
	if err := i.wait(ctx, workloads(i.namespace)[:1], timeout); err != nil {
		return fmt.Errorf("kernel state is not removed from every node: %w\n"+
			"Nothing of the release is removed yet. Mend that and run 'fairlead uninstall' again; or use --keep-kernel-state, "+
			"and reboot the nodes that are left; or go back with 'fairlead upgrade'", err)
	}
	return nil
}
