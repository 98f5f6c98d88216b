package l7

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"

	"github.com/fairlead-net/fairlead/internal/l7/nginx"
)

// What a regular expression may cost. The time to match a path is at most its
// length times the size, whatever the path (package regexp).
const (
	maxExpression     = 1024                    // octets
	maxExpressionSize = nginx.MaxExpressionSize // instructions, about
)

// expression is a regular expression that is compared with the beginning of paths,
// letters in either case, as ingress-nginx does (location ~* "^PATH").
type expression struct {
	text string
	// plain is the whole text if nothing in it has a meaning; then re is nil.
	plain string
	re    *regexp.Regexp
	size  int // of what is compiled, about
}

// parseExpression returns the expression for a path as its object has it.
func parseExpression(text string) (*expression, error) {
	if len(text) > maxExpression {
		return nil, fmt.Errorf("it has %d characters, at most %d are allowed", len(text), maxExpression)
	}
	e := &expression{text: text, size: 1}
	if regexp.QuoteMeta(text) == text && ascii(text) {
		e.plain = text
		return e, nil
	}
	source := "^(?:" + text + ")"
	// Repetitions are unfolded only after their cost is known.
	tree, err := syntax.Parse("(?i)"+source, syntax.Perl)
	if err != nil {
		return nil, err
	}
	if e.size = nginx.ExpressionSize(tree); e.size > maxExpressionSize {
		return nil, fmt.Errorf("it would take about %d steps for each character of a path, at most %d are allowed", e.size, maxExpressionSize)
	}
	e.re, err = regexp.Compile("(?i)" + source)
	return e, err
}

// ascii tells a text whose letters have no relatives outside of ASCII: the long s
// and the Kelvin sign are case variants of s and k in Unicode.
func ascii(text string) bool {
	for i := 0; i < len(text); i++ {
		if text[i] >= 0x80 {
			return false
		}
	}
	return true
}

// matches tells whether a path begins as the expression says.
func (e *expression) matches(path string) bool {
	if e.re != nil {
		return e.re.MatchString(path)
	}
	return len(path) >= len(e.plain) && strings.EqualFold(path[:len(e.plain)], e.plain)
}

// PathRewrite makes another path of one.
type PathRewrite struct {
	// Target is the new path, in which $1 to $9 stand for what the groups of the
	// rule's expression match.
	Target string
	expr   *expression
}

// errRewritten is why there is no rewritten path; the answer is 400.
var errRewritten = errors.New("the path that the rewrite makes of this one leads elsewhere than it says")

// Apply returns the path that a Backend gets for a matched path (Request.Path), in
// the same form; Encode makes what is sent. The error is that what groups match gets
// another meaning in the new path: it has dot segments, or escapes, that neither Target
// nor the path had (/x(.*) to /in/$1, and /x..). To follow them would lead out of where
// Target leads.
func (r *PathRewrite) Apply(path string) (string, error) {
	var groups []int
	if r.expr != nil && r.expr.re != nil {
		groups = r.expr.re.FindStringSubmatchIndex(path)
	}
	out := make([]byte, 1, 1+len(r.Target)+len(path))
	out[0] = '/'
	add := func(text string) {
		for i := range len(text) {
			// Groups can leave slashes beside slashes, or none at the beginning.
			if text[i] != '/' || out[len(out)-1] != '/' {
				out = append(out, text[i])
			}
		}
	}
	for i := 0; i < len(r.Target); i++ {
		c := r.Target[i]
		if c != '$' || i+1 == len(r.Target) || r.Target[i+1] < '1' || r.Target[i+1] > '9' {
			add(r.Target[i : i+1])
			continue
		}
		i++
		if at := 2 * int(r.Target[i]-'0'); at+1 < len(groups) && groups[at] >= 0 {
			add(path[groups[at]:groups[at+1]])
		}
	}
	made := string(out)
	if match, _, err := normalize(made, true); err != nil || match != made {
		return "", errRewritten
	}
	return made, nil
}
