package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/cli"
	"helm.sh/helm/v4/pkg/release/common"
	release "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage/driver"

	"github.com/fairlead-net/fairlead/internal/kube"
)

// releaseName is what the release is called, in every cluster.
const releaseName = "fairlead"

// pendingFor is how old an unfinished change must be to count as interrupted.
// Applying takes seconds: the installer waits for pods only after the change is
// recorded as done.
const pendingFor = time.Minute

// Cluster is what the installer reads; *kube.Client is one.
type Cluster interface {
	Discover(ctx context.Context, namespace string) (kube.Cluster, error)
	Rollout(ctx context.Context, w kube.Workload) (kube.Rollout, error)
	Problems(ctx context.Context, w kube.Workload) ([]kube.PodProblem, error)
}

// Installer changes the release of one cluster.
type Installer struct {
	helm      *action.Configuration
	cluster   Cluster
	namespace string
	progress  *progress
}

// Target says which cluster is meant, and where in it the release lives.
type Target struct {
	// Kubeconfig and Context are as in kubectl; empty means its defaults.
	Kubeconfig, Context string
	// Namespace holds the release and the node and controller pods.
	Namespace string
}

// New returns an installer that reports its steps to out. It does not connect
// yet.
func New(target Target, out io.Writer) (*Installer, error) {
	client, err := kube.NewClient(kube.Access{Kubeconfig: target.Kubeconfig, Context: target.Context, UserAgent: "fairlead-install"})
	if err != nil {
		return nil, err
	}
	settings := cli.New()
	if target.Kubeconfig != "" {
		settings.KubeConfig = target.Kubeconfig
	}
	settings.KubeContext = target.Context
	settings.SetNamespace(target.Namespace)
	helm := newConfiguration()
	if err := helm.Init(settings.RESTClientGetter(), target.Namespace, "secret"); err != nil {
		return nil, fmt.Errorf("helm: %w", err)
	}
	return &Installer{helm: helm, cluster: client, namespace: target.Namespace, progress: newProgress(out)}, nil
}

// newConfiguration returns Helm's without its log: errors say it all, and steps
// are the installer's to report.
func newConfiguration() *action.Configuration {
	return action.NewConfiguration(action.ConfigurationSetLogger(slog.DiscardHandler))
}

// current returns the newest revision of the release, or nil if there is none.
func (i *Installer) current() (*release.Release, error) {
	found, err := i.helm.Releases.Last(releaseName)
	if errors.Is(err, driver.ErrReleaseNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the release cannot be read from the Secrets of namespace %s: %w", i.namespace, err)
	}
	return found.(*release.Release), nil
}

// settle lets Helm go on where an earlier run was killed in the middle: it
// would refuse as long as a change counts as running.
func (i *Installer) settle(rel *release.Release) error {
	if !rel.Info.Status.IsPending() {
		return nil
	}
	if age := time.Since(rel.Info.LastDeployed); age < pendingFor {
		return fmt.Errorf("another run began to change this release %s ago; if it is not running any more, try again in %s",
			age.Round(time.Second), (pendingFor - age).Round(time.Second))
	}
	i.progress.step("revision %d was interrupted: going on from there", rel.Version)
	rel.SetStatus(common.StatusFailed, "interrupted")
	if err := i.helm.Releases.Update(rel); err != nil {
		return fmt.Errorf("interrupted revision %d cannot be closed: %w", rel.Version, err)
	}
	return nil
}
