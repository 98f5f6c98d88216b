package migrate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/nginx"
)

// Verdict says how something moves.
type Verdict string

// The verdicts, from good to bad.
const (
	Same    Verdict = "same"    // nothing changes
	Differs Verdict = "differs" // it is served, but not in all as before
	Refused Verdict = "refused" // it, or a part of it, is not served
)

// worse returns the worse of two verdicts.
func worse(a, b Verdict) Verdict {
	order := []Verdict{"", Same, Differs, Refused}
	if slices.Index(order, a) < slices.Index(order, b) {
		return b
	}
	return a
}

// Input is what a Report is made of.
type Input struct {
	State   *desired.State
	Table   l7.Table
	Reasons []desired.Reason // of Compile
	Config  l7.Config
	// ConfigMaps are by name, with their data.
	ConfigMaps  map[desired.Name]map[string]string
	Controllers []Controller
}

// Report says what becomes of what ingress-nginx serves.
type Report struct {
	Summary   Summary   `json:"summary"`
	Ingresses []Ingress `json:"ingresses"`
	// Others are Ingresses that ingress-nginx's classes do not have.
	Others []l7.Unserved `json:"others,omitempty"`
	// Settings are ConfigMaps, command lines and IngressClasses.
	Settings []Object `json:"settings,omitempty"`
	// Always holds for all of them.
	Always []string `json:"always,omitempty"`
	Next   []string `json:"next,omitempty"`
}

// Summary counts Ingresses.
type Summary struct {
	Ingresses int `json:"ingresses"`
	Same      int `json:"same"`
	Differ    int `json:"differ"`
	Refused   int `json:"refused"`
	// Settings is how many settings are refused.
	Settings int `json:"settingsRefused"`
}

// Ingress is what becomes of one.
type Ingress struct {
	Namespace   string    `json:"namespace"`
	Name        string    `json:"name"`
	Hosts       []string  `json:"hosts,omitempty"`
	Verdict     Verdict   `json:"verdict"`
	Annotations []Finding `json:"annotations,omitempty"`
	// Problems are what else is to be said, by the codes of its Events.
	Problems []Finding `json:"problems,omitempty"`
	// Hidden are behaviours of ingress-nginx that its author may not know of.
	Hidden []string `json:"hidden,omitempty"`
}

// Finding is one annotation, key, flag or problem.
type Finding struct {
	What    string  `json:"what"`
	Value   string  `json:"value,omitempty"`
	Verdict Verdict `json:"verdict"`
	Text    string  `json:"text,omitempty"`
}

// Object is one with settings.
type Object struct {
	Object   desired.Ref `json:"object"`
	Findings []Finding   `json:"findings"`
}

// Build makes the Report.
func Build(in Input) Report {
	r := Report{Ingresses: []Ingress{}}
	reasons := map[desired.Ref][]desired.Reason{}
	for _, reason := range in.Reasons {
		reasons[reason.Object] = append(reasons[reason.Object], reason)
	}
	hidden := in.hidden()
	for _, i := range in.State.Ingresses.All() {
		_, taken, why := in.Table.ClassOf(i)
		if !taken {
			r.Others = append(r.Others, l7.Unserved{Source: i.Ref(), Why: why})
			continue
		}
		made := ingressOf(i, reasons[i.Ref()])
		made.Hidden = hidden[i.Name].lines()
		r.Ingresses = append(r.Ingresses, made)
		r.Summary.count(made.Verdict)
	}
	slices.SortFunc(r.Ingresses, func(a, b Ingress) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	slices.SortFunc(r.Others, func(a, b l7.Unserved) int { return strings.Compare(a.Source.String(), b.Source.String()) })
	r.Settings = in.settings(reasons)
	for _, o := range r.Settings {
		for _, f := range o.Findings {
			if f.Verdict == Refused {
				r.Summary.Settings++
			}
		}
	}
	if len(r.Ingresses) > 0 {
		r.Always, r.Next = always(), next(r.Ingresses)
	}
	return r
}

func (s *Summary) count(v Verdict) {
	s.Ingresses++
	switch v {
	case Same:
		s.Same++
	case Differs:
		s.Differ++
	case Refused:
		s.Refused++
	}
}

// ingressOf says what becomes of an Ingress, by its annotations and what Compile said.
func ingressOf(i *desired.Ingress, reasons []desired.Reason) Ingress {
	made := Ingress{Namespace: i.Name.Namespace, Name: i.Name.Name, Verdict: Same}
	for _, r := range i.Rules {
		if !slices.Contains(made.Hosts, r.Host) {
			made.Hosts = append(made.Hosts, r.Host)
		}
	}
	_, problems := nginx.Read(i.Annotations)
	said := map[string]bool{}
	for _, p := range problems {
		said[p.Message] = true
	}
	for _, key := range i.AnnotationNames() {
		if name, ok := strings.CutPrefix(key, nginx.Prefix); ok {
			made.Annotations = append(made.Annotations, annotation(name, i.Annotations[key], problems))
		}
	}
	// What is wrong with an annotation can be that another one is not there.
	for _, p := range problems {
		if _, ok := i.Annotations[nginx.Prefix+p.Annotation]; !ok {
			f := Finding{What: p.Annotation, Verdict: Differs, Text: p.Message}
			if p.Closes {
				f.Verdict = Refused
			}
			made.Annotations = append(made.Annotations, f)
		}
	}
	for _, r := range reasons {
		if !said[r.Message] {
			made.Problems = append(made.Problems, Finding{What: r.Code, Verdict: verdictOf(r.Code), Text: r.Message})
		}
	}
	for _, f := range append(made.Annotations, made.Problems...) {
		made.Verdict = worse(made.Verdict, f.Verdict)
	}
	return made
}

// annotation says what becomes of one annotation with a value.
func annotation(name, value string, problems []nginx.Problem) Finding {
	known := nginx.About(name)
	f := Finding{What: name, Value: value, Verdict: Same}
	switch known.Standing {
	case nginx.Needless:
		f.Text = "has no effect here: " + known.Note
	case nginx.Differs:
		f.Verdict, f.Text = Differs, known.Note
	}
	for _, p := range problems {
		if p.Annotation != name || p.Code == "AnnotationWithoutEffect" && f.Text != "" {
			continue
		}
		text := strings.TrimLeft(strings.TrimPrefix(p.Message, "annotation "+nginx.Prefix+name), ": ")
		f.Text = strings.TrimPrefix(f.Text+"; "+text, "; ")
		switch {
		case p.Closes:
			f.Verdict = Refused
		case p.Code != "AnnotationWithoutEffect":
			f.Verdict = worse(f.Verdict, Differs)
		}
	}
	if strings.HasSuffix(name, "-snippet") && f.Text == "" {
		f.Text = "all its directives are understood, and followed as data"
	}
	return f
}

// verdictOf says how bad a Reason of Compile is, by its code.
func verdictOf(code string) Verdict {
	if v, ok := verdicts()[code]; ok {
		return v
	}
	return Differs
}

// verdicts are by the codes of Reasons. Same is what ingress-nginx does likewise.
func verdicts() map[string]Verdict {
	all := map[string]Verdict{}
	for v, codes := range map[Verdict][]string{
		Same:    {"ServiceNotFound", "PortNotFound", "ExternalNameInvalid", "PathTaken", "PathDuplicate", "CertificateTaken", "CanaryWithoutMain", "NothingToServe", "RuleWithoutPaths", "PathNotNormal"},
		Differs: {"AliasTaken", "AppRootTaken", "CanaryTaken", "ResourceUnsupported", "DefaultBackendMissing", "TLSHostInvalid", "PortAmbiguous", "ParametersUnsupported", "ProxyProtocolWithoutEffect", "SettingWithoutEffect", "StreamNotPublished", "AnnotationInvalid"},
		Refused: {"ReferenceForbidden", "ExpressionInvalid", "ExpressionsTooMany", "PathInvalid", "HostInvalid", "PathTypeUnknown", "PortInvalid", "BackendInvalid", "BackendMissing", "ExternalNameRefused", "PassthroughDisabled", "ModSecurityDisabled", "RulesInvalid", "RulesTooMany", "RulesDelayed", "PassthroughImpossible", "ProxyProtocolInvalid", "StreamInvalid", "StreamPortTaken", "HostTaken"},
	} {
		for _, code := range codes {
			all[code] = v
		}
	}
	return all
}

// always is what holds whatever the Ingresses say.
func always() []string {
	return []string{
		"paths are compared decoded, without dot segments and double slashes, as in ingress-nginx; but what was compared is also what a backend gets, where ingress-nginx sends on what came",
		"a path with a semicolon whose two readings take different rules gets 400 (gateway.pathParametersAsSent turns that off)",
		"Secrets and ConfigMaps that annotations name are of the namespace of the Ingress",
	}
}

// next says what to do, with a host to try it on.
func next(all []Ingress) []string {
	host := "HOST"
	for _, v := range []Verdict{Differs, Same} {
		for _, i := range all {
			for _, h := range i.Hosts {
				if i.Verdict == v && h != "" && !strings.HasPrefix(h, "*.") {
					host = h
				}
			}
		}
	}
	return []string{
		"start gateways beside ingress-nginx: fairlead upgrade --set gateway.enabled=true --set config.migration.ingressNginx=true",
		fmt.Sprintf("see which rule takes a request: fairlead explain request GET https://%s/", host),
		fmt.Sprintf("try it at the gateways' own address: curl --resolve %s:443:ADDRESS https://%s/", host, host),
		"move DNS, or the LoadBalancer's address, from ingress-nginx to the gateways, and wait until ingress-nginx gets no requests any more",
		"remove ingress-nginx; keep its IngressClass, which the Ingresses name",
	}
}
