package build

import (
	"os"
	"path/filepath"

	"github.com/fairlead-net/fairlead/lab/layout"
)

// Versions that nodes report; lab/go.mod requires the same.
const (
	Kubernetes = "v1.37.2"
	Containerd = "2.4.2"
)

// Machines are the programs that machines run: without them there is no cluster.
func Machines(l layout.Layout) []Program {
	const containerd = "github.com/containerd/containerd/v2/cmd/"
	const cni = "github.com/containernetworking/plugins/plugins/"
	return []Program{
		{
			Name: "kubernetes", Module: l.Source(), Output: l.Bin("kube"),
			Packages: []string{"./cmd/kube"},
			Stamps:   kubernetesStamps(),
		},
		{
			Name: "containerd", Module: l.Source(), Output: l.Bin() + "/",
			Packages: []string{containerd + "containerd", containerd + "containerd-shim-runc-v2", containerd + "ctr"},
			Tags:     "no_btrfs,no_zfs,no_devmapper,no_aufs",
			Stamps:   []string{"github.com/containerd/containerd/v2/version.Version=" + Containerd},
		},
		{
			Name: "CNI plugins", Module: l.Source(), Output: l.Bin("cni") + "/",
			Packages: []string{cni + "main/ptp", cni + "main/loopback", cni + "ipam/host-local", cni + "meta/portmap"},
		},
	}
}

// kubernetesStamps is the version: Kubernetes stamps it at link time, and unstamped nodes report v0.0.0.
func kubernetesStamps() []string {
	const version = "k8s.io/component-base/version."
	return []string{
		version + "gitVersion=" + Kubernetes, version + "gitMajor=1",
		version + "gitMinor=37", version + "gitTreeState=clean",
	}
}

// Conformance are the programs of Kubernetes' own end-to-end suite: what runs it, and what its images hold.
// Only `lab conformance` needs them; the first build takes some minutes.
func Conformance(l layout.Layout) []Program {
	const images = "k8s.io/kubernetes/test/images/"
	return []Program{
		{
			Name: "ginkgo", Module: l.Source(), Output: l.Bin("ginkgo"),
			Packages: []string{"github.com/onsi/ginkgo/v2/ginkgo"},
		},
		{
			Name: "agnhost", Module: l.Source(), Output: l.Bin("agnhost"),
			Packages: []string{images + "agnhost"},
		},
		{
			Name: "regression-issue-74839", Module: l.Source(), Output: l.Bin("regression-issue-74839"),
			Packages: []string{images + "regression-issue-74839"},
		},
		{Name: "hostsdns", Module: l.Source(), Output: l.Bin("hostsdns"), Packages: []string{"./cmd/hostsdns"}},
		{
			Name: "e2e.test", Module: l.Source(), Output: l.Bin("e2e.test"),
			Packages: []string{"k8s.io/kubernetes/test/e2e"}, Test: true, Stamps: kubernetesStamps(),
		},
	}
}

// Pods are the programs that go into images.
func Pods(l layout.Layout) []Program {
	return []Program{
		{Name: "pause", Module: l.Source(), Output: l.Bin("pause"), Packages: []string{"./cmd/pause"}},
		{Name: "shop", Module: l.Source(), Output: l.Bin("shop"), Packages: []string{"./cmd/shop"}},
	}
}

// Product is the program this repository is about. The tag keeps its rules of ModSecurity
// from files.
func Product(l layout.Layout) Program {
	return Program{Name: "fairlead", Module: l.Root, Output: l.Bin("fairlead"), Packages: []string{"."}, Tags: "no_fs_access"}
}

// HasProduct says whether the repository's main program exists.
func HasProduct(l layout.Layout) bool {
	_, err := os.Stat(filepath.Join(l.Root, "main.go"))
	return err == nil
}
