package l7

import (
	"cmp"
	"regexp"
	"strings"
)

// Conditions are what a request must be like beside its host and path. All of them
// must hold. A nil *Conditions holds always.
type Conditions struct {
	// Method is empty for any.
	Method                  string
	Headers, Query, Cookies []FieldMatch
}

// FieldMatch asks for a value of a header (Name in lower case), of a query
// parameter or of a cookie.
type FieldMatch struct {
	Name  string
	Value string
	// Regexp is asked instead of Value; it must match somewhere in the value.
	Regexp *regexp.Regexp
	// Present asks only that there is one.
	Present bool
}

// maxMatched is how long a value may be, in octets, that is compared with a regular
// expression; a longer one does not match.
const maxMatched = 1 << 10

// String returns the condition as Explain shows it.
func (m FieldMatch) String() string {
	switch {
	case m.Present:
		return m.Name + " is there"
	case m.Regexp != nil:
		return m.Name + " matches " + m.Regexp.String()
	}
	return m.Name + " is " + m.Value
}

// compareConditions puts first what Gateway API puts first among rules of one path:
// a method, then the most headers, then the most query parameters (HTTPRouteRule,
// matches). Cookies, which only Ingress has, come after these.
func compareConditions(a, b *Conditions) int {
	var none Conditions
	if a == nil {
		a = &none
	}
	if b == nil {
		b = &none
	}
	return cmp.Or(
		cmp.Compare(boolean(b.Method != ""), boolean(a.Method != "")),
		cmp.Compare(len(b.Headers), len(a.Headers)),
		cmp.Compare(len(b.Query), len(a.Query)),
		cmp.Compare(len(b.Cookies), len(a.Cookies)),
	)
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}

// hold tells whether a request is as the conditions ask.
func (c *Conditions) hold(q *Request) bool { return c == nil || c.fails(q) == nil }

// failure is the first condition that does not hold.
type failure struct {
	what  string // method, header, query parameter, cookie
	match FieldMatch
}

// fails returns the first condition that does not hold, or nil.
func (c *Conditions) fails(q *Request) *failure {
	if c == nil {
		return nil
	}
	if c.Method != "" && c.Method != q.Method {
		return &failure{"method", FieldMatch{Value: c.Method}}
	}
	for i := range c.Headers {
		if !c.Headers[i].header(q.Header) {
			return &failure{"header", c.Headers[i]}
		}
	}
	for i := range c.Query {
		if !c.Query[i].query(q.Query) {
			return &failure{"query parameter", c.Query[i]}
		}
	}
	for i := range c.Cookies {
		if !c.Cookies[i].cookie(q.Header) {
			return &failure{"cookie", c.Cookies[i]}
		}
	}
	return nil
}

func (m *FieldMatch) value(v string) bool {
	switch {
	case m.Present:
		return true
	case m.Regexp != nil:
		return len(v) <= maxMatched && m.Regexp.MatchString(v)
	}
	return v == m.Value
}

// header asks the value of all lines of a name, joined as RFC 9110, section 5.3,
// says; what a single line says alone must not decide.
func (m *FieldMatch) header(fields []Field) bool {
	first, lines := "", 0
	for i := range fields {
		if fields[i].Name == m.Name {
			if lines++; lines == 1 {
				first = fields[i].Value
			}
		}
	}
	if lines < 2 || m.Present {
		return lines > 0 && m.value(first)
	}
	var all []string
	for _, f := range fields {
		if f.Name == m.Name {
			all = append(all, f.Value)
		}
	}
	return m.value(strings.Join(all, ", "))
}

// cookie asks the first cookie of a name (RFC 6265, section 5.4: the most specific
// one comes first).
func (m *FieldMatch) cookie(fields []Field) bool {
	for i := range fields {
		if fields[i].Name != "cookie" {
			continue
		}
		for rest := fields[i].Value; rest != ""; {
			var pair string
			pair, rest, _ = strings.Cut(rest, ";")
			if name, value, ok := strings.Cut(strings.TrimLeft(pair, " "), "="); ok && name == m.Name {
				return m.value(value)
			}
		}
	}
	return false
}

// query asks the first parameter of a name, decoded as HTML forms are encoded.
func (m *FieldMatch) query(query string) bool {
	for rest := query; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		name, value, _ := strings.Cut(pair, "=")
		if formDecode(name) == m.Name {
			return m.value(formDecode(value))
		}
	}
	return false
}

// formDecode decodes a text that was encoded as those of HTML forms are. A broken
// escape stays as it is. Nothing is allocated for a text without escapes.
func formDecode(text string) string {
	if !strings.ContainsAny(text, "+%") {
		return text
	}
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '+':
			out = append(out, ' ')
		case '%':
			if b, ok := escaped(text[i:]); ok {
				out = append(out, b)
				i += 2
				continue
			}
			out = append(out, c)
		default:
			out = append(out, c)
		}
	}
	return string(out)
}
