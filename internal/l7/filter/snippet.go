package filter

import (
	"regexp"
	"strings"
)

// Snippet is what is left of nginx's directives once they are read: answers, and
// changes of fields. Nothing of it is ever run.
type Snippet struct {
	// First are tried before all else, then Steps: one whose condition holds answers.
	First, Steps []Step
	// Request are fields that backends get; an empty value takes a field away. Answer are
	// those that clients get.
	Request []FieldTemplate
	Answer  []FieldChange
}

// Step answers requests of which a condition holds.
type Step struct {
	// When is nil if it always holds.
	When *Condition
	// Path has to match the request's path, and gives the groups that Target has; nil:
	// any path.
	Path   *regexp.Regexp
	Target []Template // what is between groups of Path: TEXT GROUP TEXT
	Groups []int
	// Status and Text are the answer: the body, or where a redirect leads.
	Status int
	Text   Template
}

// Condition compares a variable's value.
type Condition struct {
	Value Template
	// Text is what it has to be, or Pattern what it has to match; with Some, it must not
	// be empty or 0. Not turns that around.
	Text    string
	Pattern *regexp.Regexp
	Some    bool
	Not     bool
}

// FieldChange changes a field of an answer.
type FieldChange struct {
	Name  string
	Value Template
	How   Change
}

// Change is how a field is changed.
type Change uint8

// The changes.
const (
	// AddField adds a field to answers that are no errors, AddAlways to all, SetField sets
	// it in place of others of its name, ClearField takes those away.
	AddField Change = iota + 1
	AddAlways
	SetField
	ClearField
)

// maxCompared is how much of a value a regular expression is compared with: who asks
// chooses the value, and the time grows with it.
const maxCompared = 4 << 10

// Holds reports whether a condition holds.
func (c *Condition) Holds(s Source) bool {
	if c == nil {
		return true
	}
	value := string(c.Value.Append(nil, s))
	holds := false
	switch {
	case c.Some:
		holds = value != "" && value != "0"
	case c.Pattern != nil:
		holds = c.Pattern.MatchString(value[:min(len(value), maxCompared)])
	default:
		holds = value == c.Text
	}
	return holds != c.Not
}

// Answers returns whether a step answers a request, and with which text.
func (t *Step) Answers(s Source) (text string, ok bool) {
	if !t.When.Holds(s) {
		return "", false
	}
	redirects := t.Status >= 301 && t.Status <= 308 && t.Status != 304
	if t.Path == nil {
		if redirects {
			return string(t.Text.AppendURL(nil, s)), true
		}
		return string(t.Text.Append(nil, s)), true
	}
	path := s(URI, "")
	if len(path) > maxCompared {
		return "", false
	}
	at := t.Path.FindStringSubmatchIndex(path)
	if at == nil {
		return "", false
	}
	var b []byte
	for i, between := range t.Target {
		b = between.AppendURL(b, s)
		if i < len(t.Groups) {
			if g := 2 * t.Groups[i]; g+1 < len(at) && at[g] >= 0 {
				b = Literal(path[at[g]:at[g+1]]).appendPath(b)
			}
		}
	}
	if args := s(Args, ""); args != "" && !strings.HasSuffix(string(b), "?") {
		joint := byte('?')
		if strings.Contains(string(b), "?") {
			joint = '&'
		}
		b = append(append(b, joint), args...)
	}
	return strings.TrimSuffix(string(b), "?"), true
}

// appendPath appends a part of a decoded path as it is sent.
func (t Template) appendPath(dst []byte) []byte {
	for part := range strings.SplitAfterSeq(t.text, "/") {
		name, slash := strings.CutSuffix(part, "/")
		if dst = AppendEscaped(dst, name); slash {
			dst = append(dst, '/')
		}
	}
	return dst
}

func (t *Snippet) say(s *said) {
	if t == nil {
		return
	}
	for _, step := range append(append([]Step(nil), t.First...), t.Steps...) {
		s.add("may answer %d %s", step.Status, step.Text)
	}
	for _, f := range t.Request {
		s.add("sends %s: %s", f.Name, f.Value)
	}
	for _, f := range t.Answer {
		s.add("%s in answers: %s %s", [...]string{AddField: "adds", AddAlways: "adds always", SetField: "sets", ClearField: "clears"}[f.How], f.Name, f.Value)
	}
}
