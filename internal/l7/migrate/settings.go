package migrate

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/nginx"
)

// Controller is a container that runs ingress-nginx.
type Controller struct {
	Owner desired.Ref
	// Args are the words of its command line.
	Args []string
}

// IsController tells whether a container runs ingress-nginx, by its image or command.
func IsController(image string, args []string) bool {
	name, _, _ := strings.Cut(image, "@")
	return strings.Contains(name, "ingress-nginx/controller") || strings.Contains(name, "nginx-ingress-controller") ||
		slices.ContainsFunc(args, func(a string) bool { return strings.HasSuffix(a, "/nginx-ingress-controller") })
}

// argument is one flag of a command line.
type argument struct{ name, value string }

// arguments reads flags as ingress-nginx does: --NAME=VALUE, --NAME VALUE, or --NAME.
func (c Controller) arguments() []argument {
	var all []argument
	for n := 0; n < len(c.Args); n++ {
		flag, ok := strings.CutPrefix(c.Args[n], "--")
		if !ok || flag == "" {
			continue
		}
		name, value, has := strings.Cut(flag, "=")
		if !has && n+1 < len(c.Args) && !strings.HasPrefix(c.Args[n+1], "-") && !flags()[name].boolean {
			n++
			value = c.Args[n]
		}
		value = strings.ReplaceAll(value, "$(POD_NAMESPACE)", c.Owner.Namespace)
		all = append(all, argument{name, value})
	}
	return all
}

// configMapFlags name ConfigMaps.
var configMapFlags = []string{"configmap", "tcp-services-configmap", "udp-services-configmap"}

// ConfigMaps returns the names of those that command lines name, by flag.
func ConfigMaps(all []Controller) map[desired.Name]string {
	named := map[desired.Name]string{}
	for _, c := range all {
		for _, a := range c.arguments() {
			namespace, name, ok := strings.Cut(a.value, "/")
			if ok && slices.Contains(configMapFlags, a.name) {
				named[desired.Name{Namespace: namespace, Name: name}] = a.name
			}
		}
	}
	return named
}

// DefaultCertificate returns the certificate that a command line names for hosts that
// have none.
func DefaultCertificate(all []Controller) (l7.CertificateID, bool) {
	for _, c := range all {
		for _, a := range c.arguments() {
			if namespace, name, ok := strings.Cut(a.value, "/"); ok && a.name == "default-ssl-certificate" {
				return l7.CertificateID{Namespace: namespace, Name: name}, true
			}
		}
	}
	return l7.CertificateID{}, false
}

// Settings are what the ConfigMap of ingress-nginx says of all its Ingresses; nil if there
// is none.
func Settings(all []Controller, data map[desired.Name]map[string]string) *nginx.Settings {
	for name, flag := range ConfigMaps(all) {
		if has, ok := data[name]; ok && flag == "configmap" {
			made, _ := nginx.ReadSettings(has)
			return made
		}
	}
	return nil
}

// settings says what becomes of ConfigMaps, command lines and classes.
func (in Input) settings(reasons map[desired.Ref][]desired.Reason) []Object {
	var all []Object
	for _, c := range in.Controllers {
		o := Object{Object: c.Owner}
		for _, a := range c.arguments() {
			o.Findings = append(o.Findings, flags()[a.name].finding("--"+a.name, a.value, "is not known here, and left out"))
		}
		all = append(all, o)
	}
	named := ConfigMaps(in.Controllers)
	for name, data := range in.ConfigMaps {
		flag, ok := named[name]
		if !ok && (name.Name == "ingress-nginx-controller" || name.Name == "nginx-configuration") {
			flag, ok = "configmap", true
		}
		if !ok || len(data) == 0 {
			continue
		}
		o := Object{Object: desired.Ref{Kind: "ConfigMap", Namespace: name.Namespace, Name: name.Name}}
		_, problems := nginx.ReadSettings(data)
		for _, key := range slices.Sorted(maps.Keys(data)) {
			if flag == "configmap" {
				o.Findings = append(o.Findings, in.rules(keyOf(key, data[key], problems)))
			} else {
				o.Findings = append(o.Findings, in.portOf(flag, key, data[key]))
			}
		}
		all = append(all, o)
	}
	for ref, said := range reasons {
		if ref.Kind == "IngressClass" {
			o := Object{Object: ref}
			for _, r := range said {
				o.Findings = append(o.Findings, Finding{What: r.Code, Verdict: verdictOf(r.Code), Text: r.Message})
			}
			all = append(all, o)
		}
	}
	slices.SortFunc(all, func(a, b Object) int {
		return cmp.Or(cmp.Compare(a.Object.Kind, b.Object.Kind), cmp.Compare(a.Object.String(), b.Object.String()))
	})
	return all
}

// portOf says what becomes of a port in a ConfigMap that a flag names.
func (in Input) portOf(flag, key, value string) Finding {
	protocol, list := desired.TCP, "tcp"
	if flag == "udp-services-configmap" {
		protocol, list = desired.UDP, "udp"
	}
	f := Finding{What: key, Value: value, Verdict: Same, Text: "the gateways' Service has to have the port: list it in gateway." + list + " of the chart's values, and name this ConfigMap in config.gateway." + list + "Services, else the chart makes one of those values"}
	port, _, err := l7.ParseStreamEntry(protocol, key, value)
	if err != nil {
		f.Verdict, f.Text = Refused, err.Error()
	} else if by := in.Config.TakenBy(protocol, port); by != "" {
		f.Verdict, f.Text = Refused, "gateways have "+by+" at this port; use another one"
	}
	return f
}

// setting says what becomes of a flag.
type setting struct {
	verdict Verdict
	text    string
	// usual are values that change nothing: the default of ingress-nginx, where that is
	// what is done here too.
	usual   []string
	boolean bool
}

// finding says it for a value. unknown is said of a flag that there is none of.
func (s setting) finding(what, value, unknown string) Finding {
	f := Finding{What: what, Value: value, Verdict: s.verdict, Text: s.text}
	switch {
	case s.verdict == "":
		f.Verdict, f.Text = Differs, unknown
	case slices.Contains(s.usual, strings.TrimSpace(value)) || s.boolean && slices.Contains(s.usual, "") && value == "":
		f.Verdict, f.Text = Same, ""
	}
	return f
}
