package l7

import (
	"cmp"
	"fmt"
	"maps"
	"strings"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// The values of desired.AnnotationIngressClass that need no IngressClass.
const (
	legacyClass      = "fairlead"
	legacyClassNginx = "nginx"
)

// classes are the IngressClasses that are served.
type classes struct {
	// served are all that there are, and whether they are served.
	served map[string]bool
	// nginx: the annotation may name ingress-nginx's class, though there is none.
	nginx bool
	// standard is the class of Ingresses that name none; empty if there is none.
	standard string
}

// readClasses finds out which classes are served. Of several default ones the one
// that was made last counts, as it does where the API server sets the class of a new
// Ingress.
func readClasses(all pmap.Map[string, *desired.IngressClass], c Config) (classes, []desired.Reason) {
	found := classes{served: map[string]bool{}, nginx: c.IngressNginx}
	var standard *desired.IngressClass
	var reasons []desired.Reason
	for name, class := range all.All() {
		ours := class.Controller == Controller || c.IngressNginx && class.Controller == ControllerNginx
		found.served[name] = ours
		if class.Default && (standard == nil || cmp.Or(class.Created.Compare(standard.Created), strings.Compare(standard.Name, name)) > 0) {
			standard, found.standard = class, name
		}
		if ours && class.Parameters != "" {
			reasons = append(reasons, desired.Reason{
				Object: desired.Ref{Kind: "IngressClass", Name: name}, Code: "ParametersUnsupported",
				Message: fmt.Sprintf("spec.parameters names %s; no parameters are supported, so the class is served as if it had none", class.Parameters),
			})
		}
	}
	return found, reasons
}

func (c classes) equal(other classes) bool {
	return c.nginx == other.nginx && c.standard == other.standard && maps.Equal(c.served, other.served)
}

// serve tells whether an Ingress is to be served, and why or why not. The annotation
// goes before the field, as networking.k8s.io/v1 says of it.
func (c classes) serve(i *desired.Ingress) (bool, string) {
	name, from := i.Class, "spec.ingressClassName"
	if i.LegacyClass != "" {
		name, from = i.LegacyClass, "annotation "+desired.AnnotationIngressClass
	}
	if name == "" {
		if c.standard == "" {
			return false, "it names no class, and there is no default IngressClass"
		}
		return c.served[c.standard], "it names no class, and the default one is " + c.standard
	}
	if served, exists := c.served[name]; exists {
		return served, from + " is " + name
	}
	if i.LegacyClass != "" && (name == legacyClass || c.nginx && name == legacyClassNginx) {
		return true, from + " is " + name
	}
	return false, from + " is " + name + ", which is no IngressClass"
}
