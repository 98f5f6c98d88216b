package install

import (
	"bytes"
	"fmt"
	"time"

	helmkube "helm.sh/helm/v4/pkg/kube"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/fairlead-net/fairlead/internal/kube"
)

// madeBy marks a namespace that the installer made, and may therefore remove.
const madeBy = "fairlead.dev/made-by"

// namespaceObject is the release's namespace. Its PodSecurity labels
// (https://kubernetes.io/docs/concepts/security/pod-security-admission/) allow
// the node pods, which use the host's network and load BPF programs.
func namespaceObject(name string, ours bool) *corev1.Namespace {
	ns := &corev1.Namespace{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
			"app.kubernetes.io/name":             "fairlead",
			"pod-security.kubernetes.io/enforce": "privileged",
			"pod-security.kubernetes.io/audit":   "privileged",
			"pod-security.kubernetes.io/warn":    "privileged",
		}},
	}
	if ours {
		ns.Labels[madeBy] = "fairlead-install"
	}
	return ns
}

// ensureNamespace makes the release's namespace, or labels it. The chart cannot
// do that: Helm records the release in the namespace before it applies anything.
func (i *Installer) ensureNamespace(found kube.Cluster) error {
	if i.namespace == metav1.NamespaceSystem {
		return nil
	}
	_, marked := found.NamespaceLabels[madeBy]
	resources, err := i.namespaceResource(marked || found.NamespaceLabels == nil)
	if err == nil {
		_, err = i.helm.KubeClient.Create(resources, helmkube.ClientCreateOptionServerSideApply(true, true))
	}
	if err != nil {
		return fmt.Errorf("namespace %s: %w", i.namespace, err)
	}
	if found.NamespaceLabels == nil {
		i.progress.step("made namespace %s", i.namespace)
	}
	return nil
}

func (i *Installer) namespaceResource(ours bool) (helmkube.ResourceList, error) {
	document, err := yaml.Marshal(namespaceObject(i.namespace, ours))
	if err != nil {
		return nil, err
	}
	return i.helm.KubeClient.Build(bytes.NewReader(document), false)
}

// removeNamespace removes the release's namespace if the installer made it, and
// waits until it is gone.
func (i *Installer) removeNamespace(found kube.Cluster, timeout time.Duration) error {
	if _, marked := found.NamespaceLabels[madeBy]; !marked {
		return nil
	}
	resources, err := i.namespaceResource(true)
	if err != nil {
		return fmt.Errorf("namespace %s: %w", i.namespace, err)
	}
	if _, errs := i.helm.KubeClient.Delete(resources, metav1.DeletePropagationForeground); len(errs) > 0 {
		return fmt.Errorf("namespace %s: %w", i.namespace, errs[0])
	}
	waiter, err := i.helm.KubeClient.GetWaiter(helmkube.StatusWatcherStrategy)
	if err == nil {
		err = waiter.WaitForDelete(resources, timeout)
	}
	if err != nil {
		return fmt.Errorf("namespace %s is still being removed: %w", i.namespace, err)
	}
	i.progress.step("removed namespace %s", i.namespace)
	return nil
}
