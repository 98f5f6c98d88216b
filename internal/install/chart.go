package install

import (
	"fmt"
	"io/fs"
	"strings"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/loader/archive"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	release "helm.sh/helm/v4/pkg/release/v1"

	"github.com/fairlead-net/fairlead/charts"
)

// Chart returns the embedded chart.
func Chart() (*chart.Chart, error) {
	var files []*archive.BufferedFile
	err := fs.WalkDir(charts.Fairlead, "fairlead", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(charts.Fairlead, path)
		if err != nil {
			return err
		}
		files = append(files, &archive.BufferedFile{Name: strings.TrimPrefix(path, "fairlead/"), Data: data})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("embedded chart: %w", err)
	}
	loaded, err := loader.LoadFiles(files)
	if err != nil {
		return nil, fmt.Errorf("embedded chart: %w", err)
	}
	return loaded, nil
}

// Render returns the objects that the chart makes of values in namespace, as
// YAML documents, and the notes for the user. It needs no cluster: kubeVersion,
// such as v1.37.0, is that of the cluster it would be for.
func Render(values map[string]any, namespace, kubeVersion string) (manifest, notes string, err error) {
	loaded, err := Chart()
	if err != nil {
		return "", "", err
	}
	run := action.NewInstall(newConfiguration())
	run.DryRunStrategy = action.DryRunClient
	run.ReleaseName, run.Namespace = releaseName, namespace
	run.KubeVersion, err = common.ParseKubeVersion(kubeVersion)
	if err != nil {
		return "", "", fmt.Errorf("Kubernetes version %q: %w", kubeVersion, err)
	}
	made, err := run.Run(loaded, values)
	if err != nil {
		return "", "", explain(err)
	}
	rel := made.(*release.Release)
	return rel.Manifest, rel.Info.Notes, nil
}
