package desired

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The labels of EndpointSlices that belong to a ServiceImport (KEP-1645).
const (
	LabelImport  = "multicluster.kubernetes.io/service-name"
	LabelCluster = "multicluster.kubernetes.io/source-cluster"
)

// ServiceImport is what is read of the object of this kind: a Service of several
// clusters (KEP-1645).
type ServiceImport struct {
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		// Type is ClusterSetIP or Headless.
		Type  string               `json:"type"`
		IPs   []string             `json:"ips"`
		Ports []corev1.ServicePort `json:"ports"`
	} `json:"spec"`
}

// ParseServiceImport turns the object into a Service without endpoints, which
// knows what of the object cannot be used.
func ParseServiceImport(o *ServiceImport) *Service {
	s := &Service{Name: Name{intern(o.Namespace), o.Name}, Type: ClusterIP, Headless: o.Spec.Type == "Headless"}
	var r reasons
	if !s.Headless {
		if o.Spec.Type != "ClusterSetIP" {
			r.add("TypeUnknown", "type %q is neither ClusterSetIP nor Headless; the ServiceImport is served as ClusterSetIP", o.Spec.Type)
		}
		s.Addresses = parseAddresses(o.Spec.IPs, "ips", &r)
	}
	s.Ports = parsePorts(o.Spec.Ports, &r)
	s.reasons = r.of(Ref{Kind: "ServiceImport", Namespace: s.Name.Namespace, Name: s.Name.Name})
	return s
}

// Import returns the ServiceImport that the slice belongs to; the zero Name if to
// none.
func (s *Slice) Import() Name {
	if s.imported == "" {
		return Name{}
	}
	return Name{s.Name.Namespace, s.imported}
}

// parseImported reads which ServiceImport and cluster a slice is of.
func (s *Slice) parseImported(o *discoveryv1.EndpointSlice) {
	if s.imported = o.Labels[LabelImport]; s.imported != "" {
		s.Cluster = intern(strings.ToLower(o.Labels[LabelCluster]))
	}
}
