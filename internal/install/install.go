package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"helm.sh/helm/v4/pkg/action"
	helmkube "helm.sh/helm/v4/pkg/kube"
	"helm.sh/helm/v4/pkg/release/common"
	release "helm.sh/helm/v4/pkg/release/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/fairlead-net/fairlead/internal/kube"
)

// ErrInstalled says that there is a release already.
var ErrInstalled = errors.New("Fairlead is installed already")

// Options are what Install and Upgrade have in common.
type Options struct {
	// Values are the user's, as Values returns them.
	Values map[string]any
	// TakeOverDNS makes an existing Service kube-dns part of the release.
	TakeOverDNS bool
	// Manifest, if set, makes it a dry run: what would be applied is checked by
	// the API server and written there, and nothing is changed.
	Manifest io.Writer
	// Wait is how long to wait until all pods are ready; 0 means not at all.
	Wait time.Duration
	// ResetValues makes Upgrade forget the values of earlier runs.
	ResetValues bool
}

// Install applies the chart to a cluster that has no release of it. A first
// installation that failed or was interrupted is carried on. It returns notes
// for the user. The error is ErrInstalled if there is a release already.
func (i *Installer) Install(ctx context.Context, o Options) (string, error) {
	found, err := i.look(ctx)
	if err != nil {
		return "", err
	}
	rel, err := i.current()
	if err != nil {
		return "", err
	}
	if rel != nil {
		if _, err := i.helm.Releases.Deployed(releaseName); err == nil {
			return "", fmt.Errorf("%w: version %s, revision %d, in namespace %s; change it with 'fairlead upgrade'",
				ErrInstalled, rel.Chart.Metadata.AppVersion, rel.Version, i.namespace)
		}
		if rel.Info.Status != common.StatusUninstalling {
			return i.change(ctx, rel, found, o)
		}
		return "", fmt.Errorf("an uninstallation was not finished; finish it with 'fairlead uninstall -n %s'", i.namespace)
	}
	loaded, err := Chart()
	if err != nil {
		return "", err
	}
	if err := errors.Join(i.checkDNS(found, o), checkMetalLB(found, o.Values)); err != nil {
		return "", err
	}
	run := action.NewInstall(i.helm)
	run.ReleaseName, run.Namespace = releaseName, i.namespace
	run.WaitStrategy = helmkube.HookOnlyStrategy
	run.TakeOwnership, run.ForceConflicts = o.TakeOverDNS, o.TakeOverDNS
	run.SkipCRDs = true // ensureCRDs makes them
	if o.Manifest != nil {
		run.DryRunStrategy = action.DryRunServer
	} else if err := errors.Join(i.ensureNamespace(found), i.ensureCRDs(loaded)); err != nil {
		return "", err
	}
	made, err := run.RunWithContext(ctx, loaded, complete(o.Values, found, o.TakeOverDNS && found.DNSRelease == ""))
	if err != nil {
		return "", fmt.Errorf("install: %w", explain(err))
	}
	return i.finish(ctx, made.(*release.Release), o)
}

// look reads the cluster and tells what it found.
func (i *Installer) look(ctx context.Context) (kube.Cluster, error) {
	found, err := i.cluster.Discover(ctx, i.namespace)
	if err != nil {
		return found, err
	}
	i.progress.step("cluster: Kubernetes %s, %d nodes", found.Version, found.Nodes)
	i.progress.step("API servers, reached without a Service: %s", list(found.APIServers))
	i.progress.step("cluster DNS at %s", list(found.DNSAddresses))
	for _, guess := range found.Guesses {
		i.progress.step("note: %s", guess)
	}
	if found.KubeProxy {
		i.progress.step("note: kube-proxy runs on this cluster and holds port 10256 of its nodes; remove DaemonSet kube-system/kube-proxy, or choose another port with --set node.httpPort (docs/migration-kube-proxy.md leads from the one to the other)")
	}
	if found.CoreDNS {
		i.progress.step("note: CoreDNS runs on this cluster; it answers beside Fairlead until Deployment kube-system/coredns is removed")
	}
	return found, nil
}

// checkDNS refuses to touch a Service kube-dns that is somebody else's.
func (i *Installer) checkDNS(found kube.Cluster, o Options) error {
	if !found.DNSService || o.TakeOverDNS || found.DNSRelease == i.namespace+"/"+releaseName {
		return nil
	}
	owner := "it is not Fairlead's"
	if found.DNSRelease != "" {
		owner = "it belongs to Helm release " + found.DNSRelease
	}
	return fmt.Errorf("Service kube-system/kube-dns exists already and %s; "+
		"with --take-over-dns Fairlead keeps its addresses (%s) and answers there, and 'fairlead uninstall' leaves it in place",
		owner, list(found.DNSAddresses))
}

// checkMetalLB refuses to give and announce addresses beside MetalLB: two that do
// undo each other's work. Of values those count that come first.
func checkMetalLB(found kube.Cluster, values ...map[string]any) error {
	if found.MetalLB == "" {
		return nil
	}
	for _, v := range values {
		if namespace, set, err := unstructured.NestedString(v, "config", "loadBalancer", "namespace"); err == nil && set {
			if namespace == "" {
				return nil
			}
			break
		}
	}
	return fmt.Errorf("MetalLB runs on this cluster (%s), and both would give and announce the addresses of load balancers; "+
		"remove MetalLB's controller and speaker first, which leaves its pools and the addresses that Services have, "+
		"or leave addresses to it with --set config.loadBalancer.namespace=", found.MetalLB)
}

// finish reports an applied release and waits for its pods.
func (i *Installer) finish(ctx context.Context, rel *release.Release, o Options) (string, error) {
	if o.Manifest != nil {
		i.progress.step("dry run: the API server accepts this; nothing was changed")
		_, err := io.WriteString(o.Manifest, rel.Manifest)
		return "", err
	}
	i.progress.step("applied version %s as revision %d of release %s/%s", rel.Chart.Metadata.AppVersion, rel.Version, i.namespace, releaseName)
	if o.Wait == 0 {
		return rel.Info.Notes, nil
	}
	if err := i.wait(ctx, workloads(i.namespace), o.Wait); err != nil {
		return "", fmt.Errorf("the release is applied and stays, but its pods are %w\nOnce that is mended the pods start by themselves; 'fairlead upgrade' waits again", err)
	}
	i.progress.step("ready")
	return rel.Info.Notes, nil
}
