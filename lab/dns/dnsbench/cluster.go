package main

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead-net/fairlead/lab/dns/coredns"
)

// namespaces is how many the cluster has.
const namespaces = 200

// headlessEvery says which Services are headless: one in so many.
const headlessEvery = 10

func namespaceOf(i int) string { return fmt.Sprintf("team-%d", i%namespaces) }
func serviceOf(i int) string   { return fmt.Sprintf("service-%d", i) }
func headless(i int) bool      { return i%headlessEvery == headlessEvery-1 }

// cluster makes so many Services, each with so many endpoints. One in ten is
// headless and has endpoints with hostnames, as a StatefulSet.
func cluster(services, endpoints int) coredns.Objects {
	var o coredns.Objects
	for i := range namespaces {
		o.Namespaces = append(o.Namespaces, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespaceOf(i), ResourceVersion: "1"}})
	}
	for i := range services {
		meta := metav1.ObjectMeta{Namespace: namespaceOf(i), Name: serviceOf(i), ResourceVersion: "1"}
		s := &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeClusterIP, ClusterIP: fmt.Sprintf("10.96.%d.%d", i>>8, i&255),
			Ports: []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80}},
		}}
		if headless(i) {
			s.Spec.ClusterIP = corev1.ClusterIPNone
		}
		s.Spec.ClusterIPs = []string{s.Spec.ClusterIP}
		o.Services = append(o.Services, s)
		o.Slices = append(o.Slices, slice(meta, i, endpoints))
	}
	return o
}

func slice(meta metav1.ObjectMeta, i, endpoints int) *discoveryv1.EndpointSlice {
	yes, node, port, name, protocol := true, fmt.Sprintf("node-%d", i%500), int32(8080), "http", corev1.ProtocolTCP
	meta.Labels = map[string]string{discoveryv1.LabelServiceName: meta.Name}
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: meta, AddressType: discoveryv1.AddressTypeIPv4,
		Ports: []discoveryv1.EndpointPort{{Name: &name, Port: &port, Protocol: &protocol}},
	}
	for j := range endpoints {
		n := i*endpoints + j
		pod := fmt.Sprintf("%s-%d", meta.Name, j)
		e := discoveryv1.Endpoint{
			Addresses: []string{fmt.Sprintf("10.%d.%d.%d", 128+n>>16, n>>8&255, n&255)}, NodeName: &node,
			Conditions: discoveryv1.EndpointConditions{Ready: &yes, Serving: &yes},
			TargetRef:  &corev1.ObjectReference{Kind: "Pod", Namespace: meta.Namespace, Name: pod},
		}
		if headless(i) {
			e.Hostname = &pod
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	return s
}
