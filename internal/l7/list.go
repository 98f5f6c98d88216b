package l7

import (
	"iter"
	"maps"
	"slices"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// PathKind says how the path of a Rule is compared.
type PathKind string

// The kinds of paths.
const (
	ExactPath   PathKind = "exact"
	PrefixPath  PathKind = "prefix"     // ends where an element ends
	TextPath    PathKind = "text"       // any prefix
	PatternPath PathKind = "expression" // a regular expression, from the beginning, letters in either case
	AnyPath     PathKind = "any"        // after all others
)

// Rule is one way to a Route, for those who write it down elsewhere.
type Rule struct {
	Kind PathKind
	// Path is decoded, without final slash for PrefixPath; of PatternPath it is the
	// expression.
	Path string
	// Plain: nothing in the expression has a meaning but the text itself.
	Plain bool
	// Guest: it is tried after all others of its host, as the host is another namespace's.
	Guest bool
	When  *Conditions
	Route *Route
}

// List yields every host, in the order of their names and "" last, with its rules in
// the order of precedence.
func (r *Routes) List() iter.Seq2[string, []Rule] {
	return func(yield func(string, []Rule) bool) {
		all := map[string]*host{}
		for name, h := range r.names.All() {
			all[name] = h
		}
		for name, h := range r.wildcards.All() {
			all["*."+name] = h
		}
		for _, name := range slices.Sorted(maps.Keys(all)) {
			if !yield(name, all[name].list()) {
				return
			}
		}
		if r.others != nil {
			yield("", r.others.list())
		}
	}
}

func (h *host) list() []Rule {
	all := make([]Rule, 0, len(h.rules))
	for _, r := range h.rules {
		made := Rule{Path: r.path, When: r.when, Route: r.route, Guest: r.kind == guest}
		made.Kind = [...]PathKind{ExactPath, PatternPath, PrefixPath, TextPath, PatternPath, AnyPath}[r.kind]
		made.Plain = r.expr != nil && r.expr.re == nil
		all = append(all, made)
	}
	return all
}

// ClassOf tells whose an Ingress is: whether it is served, whether as one of
// ingress-nginx, and why.
func (t Table) ClassOf(i *desired.Ingress) (served, nginx bool, why string) {
	is, why := t.index.classes.serve(i)
	return is != foreign, is == oursNginx, why
}

// ServicePort returns the port of a Service that a Backend names.
func ServicePort(s *desired.Service, id BackendID) (desired.Port, bool) {
	return findPort(s, id.Port, desired.TCP)
}
