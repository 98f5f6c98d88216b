package kube

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead-net/fairlead/internal/desired"
)

func namespacedName(o metav1.Object) desired.Name {
	return desired.Name{Namespace: o.GetNamespace(), Name: o.GetName()}
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

func stripService(o *corev1.Service) *corev1.Service {
	kept := &corev1.Service{ObjectMeta: stripMeta(o.ObjectMeta, desired.LabelProxyName, desired.LabelHeadless), Spec: o.Spec}
	kept.Spec.Selector = nil
	for _, ingress := range o.Status.LoadBalancer.Ingress {
		kept.Status.LoadBalancer.Ingress = append(kept.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: ingress.IP, IPMode: ingress.IPMode})
	}
	return kept
}

func stripSlice(o *discoveryv1.EndpointSlice) *discoveryv1.EndpointSlice {
	kept := &discoveryv1.EndpointSlice{
		ObjectMeta:  stripMeta(o.ObjectMeta, discoveryv1.LabelServiceName, desired.LabelHeadless),
		AddressType: o.AddressType, Endpoints: o.Endpoints, Ports: o.Ports,
	}
	if trigger, ok := o.Annotations[corev1.EndpointsLastChangeTriggerTime]; ok {
		kept.Annotations = map[string]string{corev1.EndpointsLastChangeTriggerTime: trigger}
	}
	for i := range kept.Endpoints {
		e := &kept.Endpoints[i]
		e.DeprecatedTopology = nil
		if e.TargetRef != nil {
			e.TargetRef = &corev1.ObjectReference{Kind: e.TargetRef.Kind, Name: e.TargetRef.Name}
		}
	}
	return kept
}

func stripNamespace(o *corev1.Namespace) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: stripMeta(o.ObjectMeta)}
}

func stripNode(o *corev1.Node) *corev1.Node {
	kept := &corev1.Node{ObjectMeta: stripMeta(o.ObjectMeta, corev1.LabelTopologyZone)}
	kept.DeletionTimestamp, kept.Spec.Taints, kept.Status.Addresses = o.DeletionTimestamp, o.Spec.Taints, o.Status.Addresses
	return kept
}

func stripServiceCIDR(o *networkingv1.ServiceCIDR) *networkingv1.ServiceCIDR {
	return &networkingv1.ServiceCIDR{ObjectMeta: stripMeta(o.ObjectMeta), Spec: o.Spec}
}
