package accesslog

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Skips says which requests are not written down: ingress-nginx's skip-access-log-urls.
type Skips struct {
	texts    []string
	exact    []string
	patterns []*regexp.Regexp
}

const maxSkips = 256

// ParseSkips reads texts that the path with its query is compared with, without case; those
// that begin with ~ are regular expressions, with ~* ones without case, as in nginx's map.
func ParseSkips(texts []string) (*Skips, error) {
	if len(texts) > maxSkips {
		return nil, fmt.Errorf("has more than %d texts", maxSkips)
	}
	s := &Skips{texts: slices.Clone(texts)}
	for _, t := range texts {
		expression, isExpression := strings.CutPrefix(t, "~")
		if !isExpression {
			s.exact = append(s.exact, t)
			continue
		}
		if rest, folds := strings.CutPrefix(expression, "*"); folds {
			expression = "(?i)" + rest
		}
		compiled, err := regexp.Compile(expression)
		if err != nil {
			return nil, fmt.Errorf("has %q, which is not a regular expression: %w", t, err)
		}
		s.patterns = append(s.patterns, compiled)
	}
	return s, nil
}

// Equal reports whether two Skips say the same. Either may be nil, which is equal to nil
// only.
func (s *Skips) Equal(other *Skips) bool {
	if s == nil || other == nil {
		return s == other
	}
	return slices.Equal(s.texts, other.texts)
}

// Has reports whether a request for a target is not written down.
func (s *Skips) Has(target []byte) bool {
	for _, t := range s.exact {
		if strings.EqualFold(t, text(target)) {
			return true
		}
	}
	for _, p := range s.patterns {
		if p.Match(target) {
			return true
		}
	}
	return false
}
