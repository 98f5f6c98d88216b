package kube

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// Container is one of a Deployment or a DaemonSet, as far as its command line goes.
type Container struct {
	Owner desired.Ref
	Image string
	// Args are the words of command and args.
	Args []string
}

func containersOf(kind string, o metav1.Object, of corev1.PodSpec) []Container {
	var all []Container
	for _, c := range of.Containers {
		all = append(all, Container{
			Owner: desired.Ref{Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName()}, Image: c.Image,
			Args: append(append([]string(nil), c.Command...), c.Args...),
		})
	}
	return all
}

// addContainers keeps what says how other programs are started.
func (m *Manifests) addContainers(object runtime.Object) {
	switch o := object.(type) {
	case *appsv1.Deployment:
		o.Namespace = m.namespace(o.Namespace)
		m.Containers = append(m.Containers, containersOf("Deployment", o, o.Spec.Template.Spec)...)
	case *appsv1.DaemonSet:
		o.Namespace = m.namespace(o.Namespace)
		m.Containers = append(m.Containers, containersOf("DaemonSet", o, o.Spec.Template.Spec)...)
	}
}

// Containers lists those of all Deployments and DaemonSets.
func (c *Client) Containers(ctx context.Context) ([]Container, error) {
	var all []Container
	deployments, err := c.clientset.AppsV1().Deployments("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, listError("Deployments", err)
	}
	for i := range deployments.Items {
		o := &deployments.Items[i]
		all = append(all, containersOf("Deployment", o, o.Spec.Template.Spec)...)
	}
	sets, err := c.clientset.AppsV1().DaemonSets("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, listError("DaemonSets", err)
	}
	for i := range sets.Items {
		o := &sets.Items[i]
		all = append(all, containersOf("DaemonSet", o, o.Spec.Template.Spec)...)
	}
	return all, nil
}

// ConfigMaps reads those of some names; those that are not there are left out.
func (c *Client) ConfigMaps(ctx context.Context, names []desired.Name) (map[desired.Name]*Data, error) {
	all := map[desired.Name]*Data{}
	for _, name := range names {
		o, err := c.clientset.CoreV1().ConfigMaps(name.Namespace).Get(ctx, name.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read ConfigMap %s: %w", name, err)
		}
		all[name] = parseConfigMap(o)
	}
	return all, nil
}
