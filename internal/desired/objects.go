package desired

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/fairlead-net/fairlead/internal/pmap"
)

// Name identifies a namespaced object.
type Name struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// String returns NAMESPACE/NAME.
func (n Name) String() string { return n.Namespace + "/" + n.Name }

// Compare orders names by namespace, then by name.
func (n Name) Compare(other Name) int {
	if n.Namespace != other.Namespace {
		return strings.Compare(n.Namespace, other.Namespace)
	}
	return strings.Compare(n.Name, other.Name)
}

// Objects is a consistent view of the API server's objects. The objects in it
// are shared and must not be written.
type Objects struct {
	Services   pmap.Map[Name, *corev1.Service]
	Slices     pmap.Map[Name, *discoveryv1.EndpointSlice]
	Namespaces pmap.Map[string, *corev1.Namespace]
	// Synced is true once every kind was listed in full. Before that an absent
	// object may merely not have arrived, so nothing may be concluded from it.
	Synced bool
}

// Node is what Build must know of the node the process runs on. The zero Node
// stands for a place outside the cluster.
type Node struct {
	Name string `json:"name,omitempty"`
	Zone string `json:"zone,omitempty"` // topology.kubernetes.io/zone
}
