package l7

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"

	"github.com/fairlead-net/fairlead/internal/l7/nginx"
)

// What a regular expression may be.
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
	// prefix is what every path that matches begins with, in lower case, whatever case
	// the path has.
	prefix string
	// width is in how many states the expression can be at once.
	width int
}

// parseExpression returns the expression for a path as its object has it.
func parseExpression(text string) (*expression, error) {
	if len(text) > maxExpression {
		return nil, fmt.Errorf("it has %d characters, at most %d are allowed", len(text), maxExpression)
	}
	e := &expression{text: text, width: 1}
	if regexp.QuoteMeta(text) == text && ascii(text) {
		e.plain, e.prefix = text, strings.ToLower(text)
		return e, nil
	}
	// By itself, so that a parenthesis too many does not end what is put around it.
	if _, err := syntax.Parse(text, syntax.Perl); err != nil {
		return nil, err
	}
	source := "(?i)^(?:" + text + ")"
	// Repetitions are unfolded only after their cost is known.
	tree, err := syntax.Parse(source, syntax.Perl)
	if err != nil {
		return nil, err
	}
	switch size, groups := nginx.ExpressionSize(tree), tree.MaxCap(); {
	case size > maxExpressionSize:
		return nil, fmt.Errorf("it has about %d states, at most %d are allowed", size, maxExpressionSize)
	case groups > nginx.MaxGroups:
		return nil, fmt.Errorf("it has %d groups, at most %d are allowed", groups, nginx.MaxGroups)
	}
	e.width, e.prefix = nginx.ExpressionWidth(tree), textBegin(tree)
	e.re, err = regexp.Compile(source)
	return e, err
}

// textBegin returns the text, in lower case, that whatever an expression matches begins
// with, as far as it is ASCII.
func textBegin(tree *syntax.Regexp) string {
	parts := []*syntax.Regexp{tree}
	if tree.Op == syntax.OpConcat {
		parts = tree.Sub
	}
	var text []byte
	for _, part := range parts {
		if part.Op == syntax.OpBeginText {
			continue
		}
		if part.Op != syntax.OpLiteral {
			break
		}
		for _, r := range part.Rune {
			if r >= 0x80 {
				return strings.ToLower(string(text))
			}
			text = append(text, byte(r))
		}
	}
	return strings.ToLower(string(text))
}

// begins tells whether a path begins with a text in lower case of ASCII, in any case:
// that of Unicode, where the Kelvin sign is a k and the long s an s.
func begins(path, text string) bool {
	for i := range len(text) {
		if path == "" {
			return false
		}
		c, n := rune(path[0]), 1
		switch {
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		case strings.HasPrefix(path, "\u212a"):
			c, n = 'k', len("\u212a")
		case strings.HasPrefix(path, "\u017f"):
			c, n = 's', len("\u017f")
		}
		if c != rune(text[i]) {
			return false
		}
		path = path[n:]
	}
	return true
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
		return begins(path, e.prefix) && e.re.MatchString(path)
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
