package conformance

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// group is the part of the suite that is about what Fairlead does.
const group = "[sig-network]"

// description is the suite's own, which ginkgo puts before a spec's name when it looks at --focus.
const description = "Kubernetes e2e suite "

// Selection is every spec of the group, each in one of the lists, in alphabetical order.
type Selection struct {
	// Parallel specs may run beside each other; Serial ones need the cluster for themselves.
	Parallel, Serial []string
	Excluded         []Excluded
}

// Excluded is a spec that is not run, and why.
type Excluded struct{ Spec, Reason string }

// Specs reads the names of the group's specs from what e2e.test --list-tests prints: lines of
// FILE:LINE: NAME.
func Specs(list string) []string {
	location := regexp.MustCompile(`^\s*\S+\.go:\d+: `)
	var out []string
	for line := range strings.Lines(list) {
		name := strings.TrimRight(location.ReplaceAllString(line, ""), "\n")
		if strings.HasPrefix(name, group) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Select sorts specs into those that run and those that don't. has are the things a lab has of those that
// exclusions name. focus and skip, if not nil, narrow what runs further; what they leave out is in no list.
func Select(specs []string, exclusions []Exclusion, has map[string]bool, focus, skip *regexp.Regexp) (Selection, error) {
	var out Selection
	used := make([]bool, len(exclusions))
	for _, spec := range specs {
		var reason string
		for i, e := range exclusions {
			if !e.Pattern.MatchString(spec) {
				continue
			}
			used[i] = true
			if reason == "" && (e.Unless == "" || !has[e.Unless]) {
				reason = e.Reason
			}
		}
		switch {
		case focus != nil && !focus.MatchString(spec), skip != nil && skip.MatchString(spec):
		case reason != "":
			out.Excluded = append(out.Excluded, Excluded{spec, reason})
		case strings.Contains(spec, "[Serial]"), strings.Contains(spec, "[Disruptive]"):
			out.Serial = append(out.Serial, spec)
		default:
			out.Parallel = append(out.Parallel, spec)
		}
	}
	for i, e := range exclusions {
		if !used[i] {
			return Selection{}, fmt.Errorf("%w: no spec matches %q: take the line out", ErrExclusions, e.Pattern)
		}
	}
	return out, nil
}

// Specs are the names of all that run.
func (s Selection) Specs() []string { return slices.Concat(s.Parallel, s.Serial) }

// Focus is a regular expression for ginkgo's --focus that matches exactly these specs.
func Focus(specs []string) string {
	quoted := make([]string, len(specs))
	for i, spec := range specs {
		quoted[i] = regexp.QuoteMeta(spec)
	}
	return "^" + description + "(" + strings.Join(quoted, "|") + ")$"
}
