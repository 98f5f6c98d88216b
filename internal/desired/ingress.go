package desired

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// AnnotationIngressClass named the class of an Ingress before there was a field for
// it. Controllers are to honour it still.
const AnnotationIngressClass = "kubernetes.io/ingress.class"

// Ingress is one Ingress as far as it can be used: hosts are valid names in lower
// case, paths begin with a slash, backends name something.
type Ingress struct {
	Name Name `json:"name"`
	// Class is the name in spec.ingressClassName; empty if there is none.
	Class string `json:"class,omitempty"`
	// LegacyClass is the value of AnnotationIngressClass, which goes before Class.
	LegacyClass string `json:"legacyClass,omitempty"`
	// Default takes requests that no rule takes; nil if nothing does.
	Default *IngressBackend `json:"default,omitempty"`
	// CatchAll: the object has no rules, not even wrong ones, so Default is for every
	// host.
	CatchAll bool          `json:"catchAll,omitempty"`
	Rules    []IngressRule `json:"rules,omitempty"`
	TLS      []IngressTLS  `json:"tls,omitempty"`
	// Annotations are the object's, without those that kubectl writes for itself.
	Annotations map[string]string `json:"annotations,omitempty"`
	Created     time.Time         `json:"created"`
	// Status is where the object says that it is served, if that is read: addresses and
	// host names, in their order.
	Status []string `json:"status,omitempty"`

	reasons []Reason // against the object
}

// IngressRule is one path of one rule.
type IngressRule struct {
	// Host is a name, *.NAME, or empty for every host that nobody names.
	Host string          `json:"host,omitempty"`
	Path string          `json:"path"`
	Type IngressPathType `json:"type"`
	// Field says where in the object it stands: rules[0].paths[1].
	Field   string         `json:"field"`
	Backend IngressBackend `json:"backend"`
}

// IngressPathType says how a path is compared.
type IngressPathType string

// The types of paths.
const (
	PathExact          IngressPathType = "Exact"
	PathPrefix         IngressPathType = "Prefix"
	PathImplementation IngressPathType = "ImplementationSpecific"
)

// IngressBackend is a port of a Service in the namespace of the Ingress, or another
// object.
type IngressBackend struct {
	Service string `json:"service,omitempty"`
	// Port is the name of the Service's port, or its number in digits.
	Port string `json:"port,omitempty"`
	// Resource names, as KIND NAME, what the backend is if no Service.
	Resource string `json:"resource,omitempty"`
}

// IngressTLS is one entry of spec.tls.
type IngressTLS struct {
	// Hosts are names or *.NAME in lower case; none: those of the rules.
	Hosts []string `json:"hosts,omitempty"`
	// Secret is in the namespace of the Ingress; empty: the default certificate.
	Secret string `json:"secret,omitempty"`
}

// IngressClass is one IngressClass.
type IngressClass struct {
	Name       string `json:"name"`
	Controller string `json:"controller"`
	// Default: Ingresses that name no class are of this one.
	Default bool `json:"default,omitempty"`
	// Parameters names, as KIND NAME, the object that the class refers to.
	Parameters string    `json:"parameters,omitempty"`
	Created    time.Time `json:"created"`
}

// ParseIngressClass keeps what is used of the object.
func ParseIngressClass(o *networkingv1.IngressClass) *IngressClass {
	c := &IngressClass{
		Name: o.Name, Controller: o.Spec.Controller, Created: o.CreationTimestamp.Time,
		Default: o.Annotations[networkingv1.AnnotationIsDefaultIngressClass] == "true",
	}
	if p := o.Spec.Parameters; p != nil {
		c.Parameters = p.Kind + " " + p.Name
	}
	return c
}

// ParseIngressWithStatus is ParseIngress, and keeps the status too.
func ParseIngressWithStatus(o *networkingv1.Ingress) *Ingress {
	i := ParseIngress(o)
	for _, at := range o.Status.LoadBalancer.Ingress {
		i.Status = append(i.Status, at.IP+at.Hostname)
	}
	return i
}

// ParseIngress turns the object into an Ingress, which knows what of the object
// cannot be used. It keeps nothing of the object but strings.
func ParseIngress(o *networkingv1.Ingress) *Ingress {
	i := &Ingress{Name: Name{intern(o.Namespace), o.Name}, Created: o.CreationTimestamp.Time, LegacyClass: o.Annotations[AnnotationIngressClass]}
	if o.Spec.IngressClassName != nil {
		i.Class = intern(*o.Spec.IngressClassName)
	}
	for key, value := range o.Annotations {
		if !strings.HasPrefix(key, "kubectl.kubernetes.io/") {
			if i.Annotations == nil {
				i.Annotations = map[string]string{}
			}
			i.Annotations[intern(key)] = value
		}
	}
	var r reasons
	if o.Spec.DefaultBackend != nil {
		if b, ok := parseIngressBackend(o.Spec.DefaultBackend, "spec.defaultBackend", &r); ok {
			i.Default, i.CatchAll = &b, len(o.Spec.Rules) == 0
		}
	}
	for n := range o.Spec.Rules {
		i.parseRule(&o.Spec.Rules[n], "rules["+strconv.Itoa(n)+"]", &r)
	}
	for n, tls := range o.Spec.TLS {
		i.parseTLS(tls, "spec.tls["+strconv.Itoa(n)+"]", &r)
	}
	if len(i.Rules) == 0 && i.Default == nil && len(r) == 0 {
		r.add("NothingToServe", "there are neither rules with paths nor a defaultBackend, so nothing is served; add spec.rules or spec.defaultBackend")
	}
	i.reasons = r.of(i.Ref())
	return i
}

// Ref names the object.
func (i *Ingress) Ref() Ref {
	return Ref{Kind: "Ingress", Namespace: i.Name.Namespace, Name: i.Name.Name}
}

// Reasons say what of the object cannot be used. They are for who serves its class:
// an Ingress of another controller is nobody else's matter, so no Status of a State
// has them.
func (i *Ingress) Reasons() []Reason { return i.reasons }

// Compare puts the older Ingress first; of two of the same age the one whose
// namespace and name come first.
func (i *Ingress) Compare(other *Ingress) int {
	if c := i.Created.Compare(other.Created); c != 0 {
		return c
	}
	return i.Name.Compare(other.Name)
}

// AnnotationNames returns the names of the annotations, sorted.
func (i *Ingress) AnnotationNames() []string { return slices.Sorted(maps.Keys(i.Annotations)) }

func (i *Ingress) parseRule(rule *networkingv1.IngressRule, field string, r *reasons) {
	host, problem := parseIngressHost(rule.Host)
	if problem != "" {
		r.add("HostInvalid", "spec.%s.host: %q %s; the rule is left out", field, rule.Host, problem)
		return
	}
	if rule.HTTP == nil || len(rule.HTTP.Paths) == 0 {
		// The API says that such a rule sends all of the host to the default backend.
		if i.Default != nil {
			i.Rules = append(i.Rules, IngressRule{Host: host, Path: "/", Type: PathPrefix, Field: field, Backend: *i.Default})
		} else {
			r.add("RuleWithoutPaths", "spec.%s has no paths, and there is no defaultBackend to take its requests; add http.paths", field)
		}
		return
	}
	for n := range rule.HTTP.Paths {
		p := &rule.HTTP.Paths[n]
		at := field + ".paths[" + strconv.Itoa(n) + "]"
		parsed := IngressRule{Host: host, Path: p.Path, Field: at}
		if parsed.Type, problem = parsePathType(p.PathType); problem != "" {
			r.add("PathTypeUnknown", "spec.%s: pathType %s is none of Exact, Prefix and ImplementationSpecific; the path is left out", at, problem)
			continue
		}
		if parsed.Path == "" {
			parsed.Path = "/"
		}
		if parsed.Path[0] != '/' {
			r.add("PathInvalid", "spec.%s: path %q does not begin with a slash, so no request can have it; the path is left out", at, p.Path)
			continue
		}
		var ok bool
		if parsed.Backend, ok = parseIngressBackend(&p.Backend, "spec."+at+".backend", r); ok {
			i.Rules = append(i.Rules, parsed)
		}
	}
}

// parsePathType returns the type, or how it was written if there is no such.
func parsePathType(of *networkingv1.PathType) (IngressPathType, string) {
	if of == nil {
		return "", "(none)"
	}
	switch t := IngressPathType(*of); t {
	case PathExact, PathPrefix, PathImplementation:
		return t, ""
	}
	return "", strconv.Quote(string(*of))
}

// parseIngressHost returns a host in lower case, or what is wrong with it.
func parseIngressHost(text string) (host, problem string) {
	host = strings.ToLower(text)
	name, wildcard := strings.CutPrefix(host, "*.")
	if host == "" {
		return "", ""
	}
	if strings.Contains(name, "*") {
		return "", "has an asterisk that is not the whole first label"
	}
	// Underscores are none of a host name's characters, but in use.
	if problems := validation.IsDNS1123Subdomain(strings.ReplaceAll(name, "_", "a")); len(problems) > 0 {
		return "", "is not a DNS name"
	}
	if !wildcard && looksLikeIPv4(name) {
		return "", "is an IP address, which the API does not allow"
	}
	return host, ""
}

// looksLikeIPv4 tells a name that only an address can be: its last label is digits.
func looksLikeIPv4(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	return strings.Trim(last, "0123456789") == ""
}

// parseIngressBackend returns a backend, and whether it names one.
func parseIngressBackend(o *networkingv1.IngressBackend, field string, r *reasons) (IngressBackend, bool) {
	switch {
	case o.Service != nil && o.Resource != nil:
		r.add("BackendInvalid", "%s names a service and a resource; it is left out, as only one of them can answer", field)
		return IngressBackend{}, false
	case o.Resource != nil:
		return IngressBackend{Resource: resourceName(o.Resource)}, true
	case o.Service == nil || o.Service.Name == "":
		r.add("BackendMissing", "%s names no service; it is left out, name one with its port", field)
		return IngressBackend{}, false
	}
	b := IngressBackend{Service: o.Service.Name, Port: o.Service.Port.Name}
	switch number := o.Service.Port.Number; {
	case b.Port != "" && number != 0:
		r.add("PortAmbiguous", "%s: service.port has a name and a number, where one is allowed; the name %q counts", field, b.Port)
	case b.Port != "":
	case number < 1 || number > 65535:
		r.add("PortInvalid", "%s: service.port.number is %d, which is not a port number (1 to 65535); it is left out", field, number)
		return IngressBackend{}, false
	default:
		b.Port = strconv.Itoa(int(number))
	}
	return b, true
}

func resourceName(o *corev1.TypedLocalObjectReference) string { return o.Kind + " " + o.Name }

func (i *Ingress) parseTLS(o networkingv1.IngressTLS, field string, r *reasons) {
	t := IngressTLS{Secret: o.SecretName}
	for _, text := range o.Hosts {
		host, problem := parseIngressHost(text)
		if problem == "" && host == "" {
			problem = "is empty"
		}
		if problem != "" {
			r.add("TLSHostInvalid", "%s.hosts: %q %s; it is left out", field, text, problem)
			continue
		}
		if !slices.Contains(t.Hosts, host) {
			t.Hosts = append(t.Hosts, host)
		}
	}
	// Without a host that can be read it must not mean every host.
	if len(t.Hosts) > 0 || len(o.Hosts) == 0 {
		i.TLS = append(i.TLS, t)
	}
}
