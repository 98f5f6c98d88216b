package kube

import (
	"unique"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead-net/fairlead/internal/desired"
)

func namespacedName(o metav1.Object) desired.Name {
	// One copy of a namespace's name is enough for all that is in it.
	return desired.Name{Namespace: unique.Make(o.GetNamespace()).Value(), Name: o.GetName()}
}

func clusterName(o metav1.Object) string { return o.GetName() }

// stripMeta keeps what identifies an object and the labels that are named.
func stripMeta(m metav1.ObjectMeta, labels ...string) metav1.ObjectMeta {
	kept := metav1.ObjectMeta{
		Name: m.Name, Namespace: m.Namespace, UID: m.UID, ResourceVersion: m.ResourceVersion,
		CreationTimestamp: m.CreationTimestamp,
	}
	for _, label := range labels {
		if value, ok := m.Labels[label]; ok {
			if kept.Labels == nil {
				kept.Labels = make(map[string]string, len(labels))
			}
			kept.Labels[label] = value
		}
	}
	return kept
}

func parseNamespace(o *corev1.Namespace) *desired.Namespace {
	return &desired.Namespace{Labels: o.Labels}
}

func stripNode(o *corev1.Node) *corev1.Node {
	// Without the resource version: the kubelet writes into the object all the time.
	kept := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: o.Name, UID: o.UID, Labels: o.Labels, DeletionTimestamp: o.DeletionTimestamp}}
	kept.Spec.Taints, kept.Status.Addresses = o.Spec.Taints, o.Status.Addresses
	for _, c := range o.Status.Conditions {
		if c.Type == corev1.NodeNetworkUnavailable {
			kept.Status.Conditions = append(kept.Status.Conditions, corev1.NodeCondition{Type: c.Type, Status: c.Status, Message: c.Message})
		}
	}
	return kept
}

func stripServiceCIDR(o *networkingv1.ServiceCIDR) *networkingv1.ServiceCIDR {
	return &networkingv1.ServiceCIDR{ObjectMeta: stripMeta(o.ObjectMeta), Spec: o.Spec}
}
