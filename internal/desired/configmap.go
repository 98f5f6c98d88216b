package desired

import corev1 "k8s.io/api/core/v1"

// ConfigMap is one that the configuration names, for what it says of others.
type ConfigMap struct {
	Name Name              `json:"name"`
	Data map[string]string `json:"data,omitempty"`
}

// ParseConfigMap keeps the texts of a ConfigMap.
func ParseConfigMap(o *corev1.ConfigMap) *ConfigMap {
	return &ConfigMap{Name: Name{Namespace: o.Namespace, Name: o.Name}, Data: o.Data}
}

// Ref names the object.
func (c *ConfigMap) Ref() Ref {
	return Ref{Kind: "ConfigMap", Namespace: c.Name.Namespace, Name: c.Name.Name}
}
