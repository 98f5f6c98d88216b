package nginx

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
)

// redirect reads the annotations that answer every request; the temporal one goes
// first.
func (r *report) redirect(given map[string]string) {
	for _, kind := range []struct {
		name   string
		status int
	}{{"temporal-redirect", 302}, {"permanent-redirect", 301}} {
		value, ok := given[kind.name]
		if !ok || value == "" || r.options.Redirect != nil {
			continue
		}
		made := Redirect{Status: kind.status}
		made.Location, made.AppendURI = strings.CutSuffix(value, "$request_uri")
		err := plainURL(made.Location)
		if err == nil && !strings.HasPrefix(made.Location, "http://") && !strings.HasPrefix(made.Location, "https://") && !strings.HasPrefix(made.Location, "/") {
			err = errors.New("does not begin with http://, https:// or /")
		}
		if err != nil {
			r.wrong(kind.name, value, true, err)
			continue
		}
		if code, ok := given[kind.name+"-code"]; ok {
			n, err := strconv.Atoi(code)
			if err != nil || n < 300 || n > 308 || n == 304 || n == 306 {
				r.wrong(kind.name+"-code", code, false, errors.New("is not the status of a redirect, 300 to 308"))
			} else {
				made.Status = n
			}
		}
		r.options.Redirect = &made
	}
}

// canary reads what makes an Ingress a canary of another.
func (r *report) canary(given map[string]string) {
	var enabled Options
	if value, ok := given["canary"]; !ok {
		return
	} else if err := flag(func(o *Options) *bool { return &o.UseRegex })(value, &enabled); err != nil {
		r.wrong("canary", value, true, err)
		return
	}
	if !enabled.UseRegex {
		return
	}
	c := Canary{Header: strings.ToLower(given["canary-by-header"]), HeaderValue: given["canary-by-header-value"], Cookie: given["canary-by-cookie"], Total: 100}
	r.options.Canary = &c
	for _, name := range []string{"canary-by-header", "canary-by-cookie"} {
		if value := given[name]; !token(value) {
			r.wrong(name, value, true, errors.New("is not a name of letters, digits, - and _"))
		}
	}
	if text := given["canary-by-header-pattern"]; text != "" && c.HeaderValue == "" {
		pattern, err := parsePattern(text)
		if err != nil {
			r.wrong("canary-by-header-pattern", text, true, err)
		}
		c.HeaderPattern = pattern
	}
	if n, ok := r.number(given, "canary-weight-total"); ok && n > 0 {
		c.Total = n
	}
	if n, ok := r.number(given, "canary-weight"); ok {
		c.Weight = min(n, c.Total)
	}
}

// number reads a weight.
func (r *report) number(given map[string]string, name string) (uint32, bool) {
	text, ok := given[name]
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		r.wrong(name, text, true, errors.New("is not a whole number"))
		return 0, false
	}
	return uint32(n), true
}

// token tells a name of a header or cookie; the empty text is none.
func token(text string) bool {
	for i := range len(text) {
		c := text[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return len(text) <= 128
}

// parsePattern reads an expression for a header's value. Repetitions are
// unfolded only after their cost is known.
func parsePattern(text string) (*regexp.Regexp, error) {
	if len(text) > 256 {
		return nil, errors.New("has more than 256 characters")
	}
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("is no regular expression: %w", err)
	}
	if size := ExpressionSize(tree); size > MaxPatternSize {
		return nil, fmt.Errorf("would take about %d steps for each character, at most %d are allowed", size, MaxPatternSize)
	}
	return regexp.Compile(text)
}

// MaxExpressionSize is what ExpressionSize may be. The time to match a text is at most
// its length times the size, whatever the text (package regexp).
const MaxExpressionSize = 1000

// ExpressionSize returns about how many instructions an expression compiles to.
func ExpressionSize(re *syntax.Regexp) int {
	size := 1
	switch re.Op {
	case syntax.OpLiteral:
		size = len(re.Rune)
	case syntax.OpCharClass:
		size = 1 + len(re.Rune)/64
	}
	for _, sub := range re.Sub {
		size += ExpressionSize(sub)
	}
	if re.Op == syntax.OpRepeat {
		size *= max(re.Min, re.Max, 1)
	}
	return min(size, 1<<24) // far above what is allowed, and far from an overflow
}
