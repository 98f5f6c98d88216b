package main

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// objects are what both sides get; lab/bench reads the same form.
type objects struct {
	Services []*corev1.Service            `json:",omitempty"`
	Slices   []*discoveryv1.EndpointSlice `json:",omitempty"`
}

// cluster returns n Services with two endpoints each.
func cluster(n int) objects {
	var o objects
	for i := range n {
		o.Services = append(o.Services, numberedService(i))
		o.Slices = append(o.Slices, numberedSlice(i, 0))
	}
	return o
}

func metaOf(i int) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: fmt.Sprintf("team-%d", i%200), Name: fmt.Sprintf("service-%d", i)}
}

// clusterIP is the address of a numbered Service, endpointIP that of an endpoint.
func clusterIP(i int) string  { return fmt.Sprintf("10.%d.%d.%d", 96+i>>16, i>>8&255, i&255) }
func endpointIP(i int) string { return fmt.Sprintf("10.%d.%d.%d", 128+i>>16, i>>8&255, i&255) }

func numberedService(i int) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metaOf(i),
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeClusterIP, ClusterIP: clusterIP(i), ClusterIPs: []string{clusterIP(i)}, IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol},
			Ports: []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80, TargetPort: intstr.FromInt32(8080)}},
		},
	}
}

// replaced is the endpoint that a numbered Service has instead of its second one
// in a version above 0.
func replaced(i, version int) int { return 4<<16 + i + version<<16 }

// numberedSlice has two endpoints; each version another second one, as after a
// pod was replaced.
func numberedSlice(i, version int) *discoveryv1.EndpointSlice {
	second := 2*i + 1
	if version > 0 {
		second = replaced(i, version)
	}
	return slice(metaOf(i), 8080, numberedService(i).Spec.Ports, endpointIP(2*i), endpointIP(second))
}

// slice returns the EndpointSlice of the Service of the same name, with one port
// for each of its protocols.
func slice(meta metav1.ObjectMeta, port int32, ports []corev1.ServicePort, addresses ...string) *discoveryv1.EndpointSlice {
	yes, node := true, "node-7"
	meta.Labels = map[string]string{discoveryv1.LabelServiceName: meta.Name}
	s := &discoveryv1.EndpointSlice{ObjectMeta: meta, AddressType: discoveryv1.AddressTypeIPv4}
	for i := range ports {
		s.Ports = append(s.Ports, discoveryv1.EndpointPort{Name: &ports[i].Name, Port: &port, Protocol: &ports[i].Protocol})
	}
	for _, address := range addresses {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{address}, NodeName: &node,
			Conditions: discoveryv1.EndpointConditions{Ready: &yes, Serving: &yes},
			TargetRef:  &corev1.ObjectReference{Kind: "Pod", Namespace: meta.Namespace, Name: "pod-" + address},
		})
	}
	return s
}

// served returns a Service that takes connections, TCP and UDP; a NodePort above
// 0 makes it one that is reached from outside.
func served(nodePort, port int32, endpoints ...string) objects {
	meta := metav1.ObjectMeta{Namespace: "default", Name: "served"}
	s := &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeClusterIP, ClusterIP: servedIP, ClusterIPs: []string{servedIP}, IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol},
	}}
	for _, protocol := range []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP} {
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: strings.ToLower(string(protocol)), Protocol: protocol, Port: port, NodePort: nodePort})
	}
	if nodePort > 0 {
		s.Spec.Type = corev1.ServiceTypeNodePort
		s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyCluster
	}
	return objects{Services: []*corev1.Service{s}, Slices: []*discoveryv1.EndpointSlice{slice(meta, port, s.Spec.Ports, endpoints...)}}
}

// servedIP is the ClusterIP of that Service.
const servedIP = "10.100.0.1"

func (o objects) and(other objects) objects {
	return objects{append(o.Services, other.Services...), append(o.Slices, other.Slices...)}
}
