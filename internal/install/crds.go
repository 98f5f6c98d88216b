package install

import (
	"bytes"
	"fmt"

	chart "helm.sh/helm/v4/pkg/chart/v2"
	helmkube "helm.sh/helm/v4/pkg/kube"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// ensureCRDs makes those of the chart's CRDs that the cluster does not have. One
// that is there may be MetalLB's own and stays as it is. Helm is not left to do
// it: since version 4 it applies a chart's CRDs over those that are there, and it
// does nothing about them in an upgrade.
func (i *Installer) ensureCRDs(loaded *chart.Chart) error {
	made := 0
	for _, file := range loaded.CRDObjects() {
		resources, err := i.helm.KubeClient.Build(bytes.NewReader(file.File.Data), false)
		if err == nil {
			_, err = i.helm.KubeClient.Create(resources, helmkube.ClientCreateOptionServerSideApply(false, false))
		}
		switch {
		case apierrors.IsAlreadyExists(err):
		case err != nil:
			return fmt.Errorf("%s: %w", file.Name, err)
		default:
			made++
		}
	}
	if made > 0 {
		i.progress.step("made %d kinds of MetalLB's API; those that were there stay as they are", made)
	}
	return nil
}
