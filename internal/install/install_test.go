package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v4/pkg/chart/common"
	kubefake "helm.sh/helm/v4/pkg/kube/fake"
	releasecommon "helm.sh/helm/v4/pkg/release/common"
	release "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage"
	"helm.sh/helm/v4/pkg/storage/driver"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/fairlead-net/fairlead/internal/kube"
)

// fakeCluster answers what the test sets. A workload is there as long as the
// release is, and ready unless it is in broken.
type fakeCluster struct {
	releases *storage.Storage
	found    kube.Cluster
	broken   map[string][]kube.PodProblem
}

func (f *fakeCluster) Discover(context.Context, string) (kube.Cluster, error) { return f.found, nil }

func (f *fakeCluster) Rollout(_ context.Context, w kube.Workload) (kube.Rollout, error) {
	if bad := f.broken[w.Name]; bad != nil {
		return kube.Rollout{Want: 3, Ready: 3 - len(bad)}, nil
	}
	if _, err := f.releases.Last(releaseName); err != nil {
		return kube.Rollout{}, fmt.Errorf("%s: %w", w, apierrors.NewNotFound(schema.GroupResource{}, w.Name))
	}
	return kube.Rollout{Want: 3, Ready: 3, Done: true}, nil
}

func (f *fakeCluster) Problems(_ context.Context, w kube.Workload) ([]kube.PodProblem, error) {
	return f.broken[w.Name], nil
}

// bench is an installer with a cluster that only remembers releases.
type bench struct {
	*Installer
	cluster *fakeCluster
	out     *bytes.Buffer
}

func newBench(t *testing.T) *bench {
	t.Helper()
	version, err := common.ParseKubeVersion("v1.37.2")
	if err != nil {
		t.Fatal(err)
	}
	memory := driver.NewMemory()
	memory.SetNamespace("fairlead-system")
	helm := newConfiguration()
	helm.Releases = storage.Init(memory)
	helm.KubeClient = &kubefake.PrintingKubeClient{Out: io.Discard, LogOutput: io.Discard}
	helm.Capabilities = &common.Capabilities{KubeVersion: *version, APIVersions: common.DefaultVersionSet}
	cluster := &fakeCluster{releases: helm.Releases, found: kube.Cluster{
		Version: "v1.37.2", Nodes: 3,
		APIServers:   []string{"https://192.0.2.1:6443"},
		DNSAddresses: []netip.Addr{netip.MustParseAddr("10.96.0.10"), netip.MustParseAddr("fd00:96::a")},
	}}
	out := &bytes.Buffer{}
	return &bench{&Installer{helm: helm, cluster: cluster, namespace: "fairlead-system", progress: newProgress(out)}, cluster, out}
}

// steps returns what was printed, without the times.
func (b *bench) steps() string {
	return regexp.MustCompile(`(?m)^ *[0-9.]+s  `).ReplaceAllString(b.out.String(), "")
}

func (b *bench) release(t *testing.T) *release.Release {
	t.Helper()
	rel, err := b.current()
	if err != nil {
		t.Fatal(err)
	}
	return rel
}

// after Install of an empty cluster, as most tests begin.
func installed(t *testing.T, values map[string]any) *bench {
	t.Helper()
	b := newBench(t)
	if _, err := b.Install(t.Context(), Options{Values: values, Wait: time.Minute}); err != nil {
		t.Fatal(err)
	}
	return b
}

func mentions(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, word := range words {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("the error does not say %q: %v", word, err)
		}
	}
}

func TestInstall(t *testing.T) {
	b := newBench(t)
	notes, err := b.Install(t.Context(), Options{Values: map[string]any{"image": map[string]any{"tag": "dev"}}, Wait: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	want := `cluster: Kubernetes v1.37.2, 3 nodes
API servers, reached without a Service: https://192.0.2.1:6443
cluster DNS at 10.96.0.10, fd00:96::a
made namespace fairlead-system
made 8 kinds of MetalLB's API; those that were there stay as they are
applied version 0.1.0 as revision 1 of release fairlead-system/fairlead
fairlead-node 3/3 ready
fairlead-dns 3/3 ready
fairlead-controller 3/3 ready
ready
`
	if diff := cmp.Diff(want, b.steps()); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if !strings.Contains(notes, "fairlead status") {
		t.Errorf("notes: %s", notes)
	}
	for _, text := range []string{"https://192.0.2.1:6443", "- fd00:96::a", "fairlead:dev"} {
		if !strings.Contains(b.release(t).Manifest, text) {
			t.Errorf("the manifest lacks %s", text)
		}
	}
	_, err = b.Install(t.Context(), Options{})
	if !errors.Is(err, ErrInstalled) {
		t.Errorf("a second install: %v", err)
	}
	mentions(t, err, "version 0.1.0, revision 1", "fairlead upgrade")
}

// TestUserWins holds that what is found in the cluster gives way to what the
// user says.
func TestUserWins(t *testing.T) {
	b := installed(t, map[string]any{
		"config": map[string]any{"apiServers": []any{"https://192.0.2.99:443"}},
		"dns":    map[string]any{"clusterIPs": []any{"10.0.0.53"}},
	})
	manifest := b.release(t).Manifest
	if strings.Contains(manifest, "192.0.2.1:") || strings.Contains(manifest, "10.96.0.10") || !strings.Contains(manifest, "192.0.2.99:443") || !strings.Contains(manifest, "- 10.0.0.53") {
		t.Error(manifest)
	}
}

func TestDryRunChangesNothing(t *testing.T) {
	b := newBench(t)
	var manifest bytes.Buffer
	if _, err := b.Install(t.Context(), Options{Manifest: &manifest, Wait: time.Minute}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(manifest.String(), "kind: DaemonSet") || b.release(t) != nil {
		t.Errorf("manifest of %d bytes; release %v", manifest.Len(), b.release(t))
	}
	if strings.Contains(b.steps(), "made namespace") || !strings.Contains(b.steps(), "nothing was changed") {
		t.Error(b.steps())
	}
}

func TestForeignDNS(t *testing.T) {
	b := newBench(t)
	b.cluster.found.DNSService = true
	_, err := b.Install(t.Context(), Options{})
	mentions(t, err, "Service kube-system/kube-dns exists already and it is not Fairlead's", "--take-over-dns", "10.96.0.10, fd00:96::a")

	b.cluster.found.DNSRelease = "kube-system/coredns"
	_, err = b.Install(t.Context(), Options{})
	mentions(t, err, "it belongs to Helm release kube-system/coredns")
	if b.release(t) != nil {
		t.Error("refused, but there is a release")
	}

	b.cluster.found.DNSRelease = ""
	if _, err = b.Install(t.Context(), Options{TakeOverDNS: true}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.release(t).Manifest, "helm.sh/resource-policy: keep") {
		t.Error("a Service that was taken over would be removed with the release")
	}
	// From now on it is the release's, and no flag is needed; what was kept is kept.
	b.cluster.found.DNSRelease = "fairlead-system/fairlead"
	if _, err = b.Upgrade(t.Context(), Options{}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.release(t).Manifest, "helm.sh/resource-policy: keep") {
		t.Error("the upgrade forgot that the Service was taken over")
	}
}

// TestBesideMetalLB holds that addresses are never two controllers' to give.
func TestBesideMetalLB(t *testing.T) {
	b := newBench(t)
	b.cluster.found.MetalLB = "metallb-system/controller"
	_, err := b.Install(t.Context(), Options{})
	mentions(t, err, "MetalLB runs on this cluster (metallb-system/controller)", "--set config.loadBalancer.namespace=")
	if b.release(t) != nil {
		t.Error("refused, but there is a release")
	}
	values, err := Values(nil, []string{"config.loadBalancer.namespace="})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = b.Install(t.Context(), Options{Values: values}); err != nil {
		t.Fatal(err)
	}
	if manifest := b.release(t).Manifest; strings.Contains(manifest, "planes=lb,announce") || strings.Contains(manifest, ",ipam") {
		t.Error("left to MetalLB, but the planes run")
	}
	// What was said once counts in upgrades, until it is said otherwise.
	if _, err = b.Upgrade(t.Context(), Options{}); err != nil {
		t.Error(err)
	}
	_, err = b.Upgrade(t.Context(), Options{ResetValues: true})
	mentions(t, err, "MetalLB runs")
	values, err = Values(nil, []string{"config.loadBalancer.namespace=pools"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Upgrade(t.Context(), Options{Values: values})
	mentions(t, err, "MetalLB runs")
}

func TestPeersAreNamed(t *testing.T) {
	b := newBench(t)
	b.cluster.found.KubeProxy, b.cluster.found.CoreDNS = true, true
	b.cluster.found.Guesses = []string{"a guess"}
	if _, err := b.Install(t.Context(), Options{}); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"note: kube-proxy", "node.httpPort", "note: CoreDNS", "note: a guess"} {
		if !strings.Contains(b.steps(), text) {
			t.Errorf("no %q in\n%s", text, b.steps())
		}
	}
}

// TestBadValues holds that nothing is left behind by values that are refused.
func TestBadValues(t *testing.T) {
	b := newBench(t)
	_, err := b.Install(t.Context(), Options{Values: map[string]any{"controler": 1}})
	mentions(t, err, "controler: there is no such value")
	if b.release(t) != nil {
		t.Error("refused, but there is a release")
	}
}

func TestInterruptedInstall(t *testing.T) {
	b := installed(t, nil)
	rel := b.release(t)
	rel.SetStatus(releasecommon.StatusPendingInstall, "killed")
	rel.Info.LastDeployed = time.Now()
	if err := b.helm.Releases.Update(rel); err != nil {
		t.Fatal(err)
	}
	_, err := b.Install(t.Context(), Options{})
	mentions(t, err, "another run began", "try again in")

	rel.Info.LastDeployed = time.Now().Add(-2 * pendingFor)
	if err := b.helm.Releases.Update(rel); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Install(t.Context(), Options{}); err != nil {
		t.Fatal(err)
	}
	if rel := b.release(t); rel.Version != 2 || rel.Info.Status != releasecommon.StatusDeployed {
		t.Errorf("revision %d is %s", rel.Version, rel.Info.Status)
	}
}

func TestUpgrade(t *testing.T) {
	b := installed(t, map[string]any{"config": map[string]any{"logLevel": "debug"}})
	b.cluster.found.APIServers = []string{"https://192.0.2.1:6443", "https://192.0.2.2:6443"}
	if _, err := b.Upgrade(t.Context(), Options{Values: map[string]any{"config": map[string]any{"dns": map[string]any{"ttl": 5}}}}); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"logLevel: debug", "ttl: 5", "https://192.0.2.2:6443"} {
		if !strings.Contains(b.release(t).Manifest, text) {
			t.Errorf("after the upgrade the manifest lacks %s", text)
		}
	}
	if _, err := b.Upgrade(t.Context(), Options{ResetValues: true}); err != nil {
		t.Fatal(err)
	}
	if manifest := b.release(t).Manifest; !strings.Contains(manifest, "logLevel: info") || !strings.Contains(manifest, "ttl: 30") {
		t.Error("values are not reset")
	}
	_, err := newBench(t).Upgrade(t.Context(), Options{})
	if !errors.Is(err, ErrNotInstalled) {
		t.Error(err)
	}
	mentions(t, err, "fairlead install", "-n")
}

func TestValuesErrors(t *testing.T) {
	_, err := Values([]string{"/does/not/exist"}, nil)
	mentions(t, err, "/does/not/exist")
	_, err = Values(nil, []string{"config.logLevel"})
	mentions(t, err, "config.logLevel")
}
