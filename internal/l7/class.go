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

// standing is whose a class or an Ingress is.
type standing uint8

// The standings.
const (
	foreign   standing = iota // another controller's
	ours                      // of Controller
	oursNginx                 // of ControllerNginx, taken over
)

// classes are the IngressClasses that there are.
type classes struct {
	// of are all that there are, and whose they are.
	of map[string]standing
	// nginx: the annotation may name ingress-nginx's class, though there is none.
	nginx bool
	// standard is the class of Ingresses that name none; empty if there is none.
	standard string
}

// readClasses finds out which classes are served. Of several default ones the one
// that was made last counts, as it does where the API server sets the class of a new
// Ingress.
func readClasses(all pmap.Map[string, *desired.IngressClass], c Config) (classes, []desired.Reason) {
	found := classes{of: map[string]standing{}, nginx: c.IngressNginx}
	var standard *desired.IngressClass
	var reasons []desired.Reason
	for name, class := range all.All() {
		is := foreign
		switch {
		case class.Controller == Controller:
			is = ours
		case c.IngressNginx && class.Controller == ControllerNginx:
			is = oursNginx
		}
		found.of[name] = is
		if class.Default && (standard == nil || cmp.Or(class.Created.Compare(standard.Created), strings.Compare(standard.Name, name)) > 0) {
			standard, found.standard = class, name
		}
		if is != foreign && class.Parameters != "" {
			reasons = append(reasons, desired.Reason{
				Object: desired.Ref{Kind: "IngressClass", Name: name}, Code: "ParametersUnsupported",
				Message: fmt.Sprintf("spec.parameters names %s; no parameters are supported, so the class is served as if it had none", class.Parameters),
			})
		}
	}
	return found, reasons
}

func (c classes) equal(other classes) bool {
	return c.nginx == other.nginx && c.standard == other.standard && maps.Equal(c.of, other.of)
}

// serve tells whose an Ingress is, and why. The annotation goes before the field, as
// networking.k8s.io/v1 says of it.
func (c classes) serve(i *desired.Ingress) (standing, string) {
	name, from := i.Class, "spec.ingressClassName"
	if i.LegacyClass != "" {
		name, from = i.LegacyClass, "annotation "+desired.AnnotationIngressClass
	}
	if name == "" {
		if c.standard == "" {
			return foreign, "it names no class, and there is no default IngressClass"
		}
		return c.of[c.standard], "it names no class, and the default one is " + c.standard
	}
	is, exists := c.of[name]
	switch {
	case exists:
		if is == foreign {
			name += ", which is another controller's"
		}
		return is, from + " is " + name
	case i.LegacyClass != "" && name == legacyClass:
		return ours, from + " is " + name
	case i.LegacyClass != "" && c.nginx && name == legacyClassNginx:
		return oursNginx, from + " is " + name
	}
	return foreign, from + " is " + name + ", which is no IngressClass"
}
