package l7

import (
	"reflect"
	"strings"
)

// twofold answers requests whose path has two meanings.
var twofold = Route{Rule: "(path with a semicolon)", Status: 400, Why: "the path has a semicolon, and means something else to those who take what follows it for a parameter"}

// withoutParameters returns a path in the form of Normalize's match as servlets and
// others read it: without what follows a semicolon in a segment (RFC 3986, section 3.3),
// and without the segments that are empty then.
func withoutParameters(path string) string {
	made := make([]byte, 0, len(path))
	for rest, more := path[1:], true; more; {
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		segment, _, _ = strings.Cut(segment, ";")
		if segment != "" || !more {
			made = append(append(made, '/'), segment...)
		}
	}
	return string(made)
}

// other returns the Route that a request takes if its path, which has a semicolon, is
// read without parameters. It is nil if nothing depends on it: there is no such Route, it
// does the same as the one that was found, or the rule for that one has a semicolon
// itself, so that its author means the path as it is.
func (r *Routes) other(q *Request, found *Route, by *rule) *Route {
	if r.parametersAsSent || found == nil || q.Path[0] != '/' || by != nil && strings.IndexByte(by.path, ';') >= 0 {
		return nil
	}
	stripped := *q
	stripped.Path = withoutParameters(q.Path)
	other, _ := r.matchAsSent(&stripped)
	if other == nil || found.doesAs(other) {
		return nil
	}
	return other
}

// doesAs tells whether two Routes do the same with a request.
func (r *Route) doesAs(other *Route) bool {
	if r == other {
		return true
	}
	for _, w := range []*Rewrite{r.Rewrite, other.Rewrite} {
		if w != nil && w.Path != nil {
			return false // to compare expressions would cost too much
		}
	}
	a, b := *r, *other
	b.Source, b.Rule = a.Source, a.Rule
	return reflect.DeepEqual(&a, &b)
}
