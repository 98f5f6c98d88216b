package conformance

import (
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

//go:embed exclusions.txt
var exclusionsText string

// Addresses are the manifests by which LoadBalancers have addresses while the suite runs.
//
//go:embed addresses.yaml
var Addresses string

// ErrExclusions says that the list of exclusions is wrong.
var ErrExclusions = errors.New("lab/conformance/exclusions.txt")

// Exclusion is a line of the list of exclusions.
type Exclusion struct {
	Pattern *regexp.Regexp
	// Unless is what a lab must have for the specs to run; empty if no lab has it.
	Unless string
	// Reason completes the sentence "not run, because".
	Reason string
}

// Exclusions is the list that belongs to this suite.
func Exclusions() ([]Exclusion, error) { return ParseExclusions(exclusionsText) }

// ParseExclusions reads a list of exclusions.
func ParseExclusions(text string) ([]Exclusion, error) {
	var out []Exclusion
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		expression, reason, found := strings.Cut(line, " # ")
		if reason = strings.TrimSpace(reason); !found || reason == "" {
			return nil, fmt.Errorf("%w, line %d: no reason; write REGEXP # REASON", ErrExclusions, number)
		}
		var e Exclusion
		if condition, ok := strings.CutPrefix(expression, "unless="); ok {
			e.Unless, expression, _ = strings.Cut(condition, " ")
		}
		if expression = strings.TrimSpace(expression); expression == "" {
			return nil, fmt.Errorf("%w, line %d: no regular expression, which would exclude every spec", ErrExclusions, number)
		}
		pattern, err := regexp.Compile(expression)
		if err != nil {
			return nil, fmt.Errorf("%w, line %d: %w", ErrExclusions, number, err)
		}
		e.Pattern, e.Reason = pattern, reason
		out = append(out, e)
	}
	return out, nil
}

// Markdown is the list as a table for readers.
func Markdown(exclusions []Exclusion) string {
	var b strings.Builder
	b.WriteString("| specs | why they are not run |\n|---|---|\n")
	for _, e := range exclusions {
		reason := e.Reason
		if e.Unless != "" {
			reason += " (on a lab without " + e.Unless + ")"
		}
		fmt.Fprintf(&b, "| `%s` | %s |\n", strings.ReplaceAll(e.Pattern.String(), "|", `\|`), reason)
	}
	return b.String()
}
