package install

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"helm.sh/helm/v4/pkg/action"
	helmkube "helm.sh/helm/v4/pkg/kube"
	release "helm.sh/helm/v4/pkg/release/v1"

	"github.com/fairlead-net/fairlead/internal/kube"
)

// ErrNotInstalled says that there is no release.
var ErrNotInstalled = errors.New("Fairlead is not installed")

// keptRevisions is how many revisions 'helm rollback' can return to.
const keptRevisions = 10

// Upgrade changes the release to this binary's chart and to the values of
// earlier runs with o.Values on top. The cluster is looked at again, so that
// new API servers become known. It returns notes for the user. The error is
// ErrNotInstalled if there is no release.
func (i *Installer) Upgrade(ctx context.Context, o Options) (string, error) {
	rel, err := i.current()
	if err != nil {
		return "", err
	}
	if rel == nil {
		return "", i.notInstalled()
	}
	found, err := i.look(ctx)
	if err != nil {
		return "", err
	}
	return i.change(ctx, rel, found, o)
}

func (i *Installer) notInstalled() error {
	return fmt.Errorf("%w in namespace %s; install it with 'fairlead install', or name its namespace with -n", ErrNotInstalled, i.namespace)
}

// change applies the embedded chart over a release.
func (i *Installer) change(ctx context.Context, rel *release.Release, found kube.Cluster, o Options) (string, error) {
	loaded, err := Chart()
	if err != nil {
		return "", err
	}
	earlier := rel.Config
	if o.ResetValues {
		earlier = nil
	}
	if err := errors.Join(i.checkDNS(found, o), checkMetalLB(found, o.Values, earlier)); err != nil {
		return "", err
	}
	run := i.newUpgrade()
	run.TakeOwnership = o.TakeOverDNS
	run.ResetThenReuseValues, run.ResetValues = !o.ResetValues, o.ResetValues
	if o.Manifest != nil {
		run.DryRunStrategy = action.DryRunServer
	} else {
		if err := i.settle(rel); err != nil {
			return "", err
		}
		if err := errors.Join(i.ensureNamespace(found), i.ensureCRDs(loaded)); err != nil {
			return "", err
		}
	}
	made, err := run.RunWithContext(ctx, releaseName, loaded, complete(o.Values, found, o.TakeOverDNS && found.DNSRelease == ""))
	if err != nil {
		return "", fmt.Errorf("upgrade: %w", explain(err))
	}
	return i.finish(ctx, made.(*release.Release), o)
}

// newUpgrade returns a change of the release by server-side apply. The release
// is the only manager of its fields: what was edited by hand is put back.
func (i *Installer) newUpgrade() *action.Upgrade {
	run := action.NewUpgrade(i.helm)
	run.Namespace = i.namespace
	run.MaxHistory = keptRevisions
	run.WaitStrategy = helmkube.HookOnlyStrategy
	run.ServerSideApply = "true"
	run.ForceConflicts = true
	return run
}

// list joins items as text.
func list[T any](items []T) string {
	if len(items) == 0 {
		return "none"
	}
	var text []string
	for _, item := range items {
		text = append(text, fmt.Sprint(item))
	}
	return strings.Join(text, ", ")
}
