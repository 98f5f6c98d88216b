package migrate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/nginx"
)

// hidden lists, by Ingress, what its rules do beyond what it says, from the rules that
// are served.
func (in Input) hidden() map[desired.Name]*notes {
	all := map[desired.Name]*notes{}
	l := in.Table.Listeners[l7.ListenerHTTPS]
	if l == nil {
		return all
	}
	for host, rules := range l.Routes.List() {
		if host == "" {
			host = "(any other)"
		}
		by := in.regexBy(rules)
		for _, r := range rules {
			if text := in.behind(r, by); text != "" && r.When == nil { // canaries are as their main rules
				name := desired.Name{Namespace: r.Route.Source.Namespace, Name: r.Route.Source.Name}
				if all[name] == nil {
					all[name] = &notes{hosts: map[string][]string{}}
				}
				all[name].add(text, host)
			}
		}
	}
	return all
}

// behind says what a rule does that its author may not know of; "" for most. by is who
// makes the paths of its host regular expressions.
func (in Input) behind(r l7.Rule, by desired.Name) string {
	switch {
	case r.Kind == l7.PatternPath && r.Guest:
		return "its paths are regular expressions, but as the host belongs to another namespace they are tried after all others"
	case r.Kind == l7.PatternPath && !in.asksForRegex(r.Route.Source):
		return fmt.Sprintf("its paths are regular expressions, from the beginning and in either case of letters, as Ingress %s has use-regex or rewrite-target", by)
	case r.Kind == l7.PatternPath && !strings.HasSuffix(r.Path, "$"):
		return fmt.Sprintf("path %s takes every path that begins so, in either case of letters", r.Path)
	case r.Kind == l7.TextPath && !strings.HasSuffix(r.Path, "/"):
		return fmt.Sprintf("path %s takes every path that begins so, also %sxyz, as its type is ImplementationSpecific", r.Path, r.Path)
	case r.Kind == l7.ExactPath && r.Route.Redirect != nil && r.Route.Redirect.Path == l7.Encode(r.Path)+"/":
		return fmt.Sprintf("%s is sent to %s/ by 301, as nginx does where only that exists", r.Path, r.Path)
	case r.Route.Rule == "app-root":
		return "annotation app-root is for the root of the whole host, whoever has rules for it"
	}
	return ""
}

// notes are texts with the hosts that they are about.
type notes struct {
	texts []string
	hosts map[string][]string
}

func (n *notes) add(text, host string) {
	if n.hosts[text] == nil {
		n.texts = append(n.texts, text)
	}
	if !slices.Contains(n.hosts[text], host) {
		n.hosts[text] = append(n.hosts[text], host)
	}
}

// lines returns a line for each text.
func (n *notes) lines() []string {
	if n == nil {
		return nil
	}
	var all []string
	for _, text := range n.texts {
		all = append(all, strings.Join(n.hosts[text], ", ")+": "+text)
	}
	return all
}

// asksForRegex tells whether an Ingress itself makes its paths regular expressions.
func (in Input) asksForRegex(of desired.Ref) bool {
	i, _ := in.State.Ingresses.Get(desired.Name{Namespace: of.Namespace, Name: of.Name})
	if i == nil {
		return false
	}
	o, _ := nginx.Read(i.Annotations)
	return o.UseRegex || o.RewriteTarget != ""
}

// regexBy returns the Ingress that makes the paths of a host regular expressions: the
// first that asks for it.
func (in Input) regexBy(rules []l7.Rule) desired.Name {
	var found *desired.Ingress
	for _, r := range rules {
		name := desired.Name{Namespace: r.Route.Source.Namespace, Name: r.Route.Source.Name}
		i, _ := in.State.Ingresses.Get(name)
		if i != nil && in.asksForRegex(r.Route.Source) && (found == nil || i.Compare(found) < 0) {
			found = i
		}
	}
	if found == nil {
		return desired.Name{}
	}
	return found.Name
}
