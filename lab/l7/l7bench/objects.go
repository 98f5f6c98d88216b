package main

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead-net/fairlead/internal/desired"
)

const (
	namespace = "bench"
	class     = "fairlead"
)

// secretName is what the Ingress of the host with HTTPS names.
var secretName = desired.Name{Namespace: namespace, Name: "tls"}

// objects are the cluster that Fairlead's routes come from: an Ingress and a Service
// of one endpoint for each host, and one with TLS that has gRPC as well.
func objects(routes int) desired.Objects {
	o := desired.Objects{Synced: true}
	o.Namespaces = o.Namespaces.Set(namespace, &desired.Namespace{})
	o.IngressClasses = o.IngressClasses.Set(class, desired.ParseIngressClass(&networkingv1.IngressClass{
		ObjectMeta: metav1.ObjectMeta{Name: class}, Spec: networkingv1.IngressClassSpec{Controller: "fairlead.dev/ingress"},
	}))
	service := func(name string, port uint16) {
		s, slice := serviceObjects(name, int32(port))
		o.Services = o.Services.Set(desired.Name{Namespace: namespace, Name: name}, desired.ParseService(s))
		o.Slices = o.Slices.Set(desired.Name{Namespace: namespace, Name: name}, desired.ParseSlice(slice))
	}
	ingress := func(i *networkingv1.Ingress) {
		o.Ingresses = o.Ingresses.Set(desired.Name{Namespace: namespace, Name: i.Name}, desired.ParseIngress(i))
	}
	for i := range routes {
		service(label(i), backendPort)
		ingress(ingressObject(label(i), host(i), "/", label(i)))
	}
	service("grpc", grpcPort)
	secure := ingressObject("secure", secureHost, "/", label(0))
	secure.Spec.TLS = []networkingv1.IngressTLS{{Hosts: []string{secureHost}, SecretName: secretName.Name}}
	ingress(secure)
	calls := ingressObject("grpc", secureHost, grpcPath, "grpc")
	calls.Annotations = map[string]string{"nginx.ingress.kubernetes.io/backend-protocol": "GRPC"}
	ingress(calls)
	return o
}

func ingressObject(name, host, path, service string) *networkingv1.Ingress {
	class, prefix := class, networkingv1.PathTypePrefix
	return &networkingv1.Ingress{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: networkingv1.IngressSpec{IngressClassName: &class, Rules: []networkingv1.IngressRule{{
			Host: host,
			IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{Paths: []networkingv1.HTTPIngressPath{{
				Path: path, PathType: &prefix,
				Backend: networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: service, Port: networkingv1.ServiceBackendPort{Name: "http"}}},
			}}}},
		}}},
	}
}

func serviceObjects(name string, port int32) (*corev1.Service, *discoveryv1.EndpointSlice) {
	yes, protocol, portName := true, corev1.ProtocolTCP, "http"
	meta := metav1.ObjectMeta{Namespace: namespace, Name: name}
	service := &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeClusterIP, ClusterIP: "10.96.0.1", ClusterIPs: []string{"10.96.0.1"},
		Ports: []corev1.ServicePort{{Name: portName, Protocol: protocol, Port: 80}},
	}}
	meta.Labels = map[string]string{discoveryv1.LabelServiceName: name}
	return service, &discoveryv1.EndpointSlice{
		ObjectMeta: meta, AddressType: discoveryv1.AddressTypeIPv4,
		Ports: []discoveryv1.EndpointPort{{Name: &portName, Port: &port, Protocol: &protocol}},
		Endpoints: []discoveryv1.Endpoint{{
			Addresses: []string{backendAddress.String()}, Conditions: discoveryv1.EndpointConditions{Ready: &yes, Serving: &yes},
		}},
	}
}
