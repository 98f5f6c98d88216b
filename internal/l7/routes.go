package l7

import (
	"strings"

	"github.com/fairlead-net/fairlead/internal/pmap"
)

// Routes are the Routes of a Listener by host. The zero value has none.
//
// A request belongs to one host only: to its name, else to *.REST, where the
// asterisk stands for one label, else to that of every other name. Rules of another
// host never take what the rules of its own leave.
type Routes struct {
	// names are by host name, wildcards by what follows "*." in theirs.
	names, wildcards pmap.Map[string, *host]
	others           *host // nil if there is none
	// standard takes what no rule takes; nil if nothing does.
	standard *Route
	// parametersAsSent: Config.ParametersAsSent.
	parametersAsSent bool
}

// kind says how a rule's path is compared.
type kind uint8

// The kinds of paths, in the order in which they are tried; of those that compare
// prefixes the longest goes first, and of two of one length the earlier kind.
const (
	exact    kind = iota
	pattern       // a regular expression that matches a prefix
	elements      // a prefix that ends where an element ends
	text          // any prefix
	guest         // a pattern of who has no say in the host
	fallback      // everything; after all others
)

// rule is one way to a Route.
type rule struct {
	kind kind
	// path is in the form of Normalize's match; that of elements is without a final
	// slash, and empty for the root.
	path  string
	expr  *expression // of a pattern, a guest's too
	when  *Conditions
	route *Route
	// written is the path in the words of its object.
	written string
}

// host holds the rules of one host name.
type host struct {
	name     string
	tree     *node
	patterns []rule // in the order in which they are tried
	guests   []rule
	fallback []rule
	rules    []rule // all, in the order of precedence
	// longest is how long a path may be that is compared with patterns, longestOfGuests
	// with guests.
	longest, longestOfGuests int
	// owners is the namespace whose the host is.
	owners string
	// certificates: some of the rules ask clients for one.
	certificates bool
}

// AsksCertificate reports whether some Route of a host asks clients for a certificate.
func (r *Routes) AsksCertificate(host string) bool {
	h := r.host(host)
	return h != nil && h.certificates
}

// Match returns the Route that a request takes; nil if none does. A request whose path
// has a semicolon, and takes another Route if what follows it is a parameter, takes one
// that answers 400: a backend may read the path so, and the other Route may be there to
// keep it from that. Match allocates nothing, but for paths with semicolons, conditions
// on headers that a request repeats and on parameters that it encodes.
func (r *Routes) Match(q *Request) *Route {
	found, by := r.matchAsSent(q)
	if strings.IndexByte(q.Path, ';') >= 0 && r.other(q, found, by) != nil {
		return &twofold
	}
	return found
}

// matchAsSent returns the Route of the path as it is, and whose it is; nil if it is no
// rule's.
func (r *Routes) matchAsSent(q *Request) (found *Route, by *rule) {
	if h := r.host(q.Host); h != nil {
		if by := h.match(q); by != nil {
			return by.route, by
		}
	}
	return r.standard, nil
}

// host returns the host that a name belongs to, or nil.
func (r *Routes) host(name string) *host {
	if h, ok := r.names.Get(name); ok {
		return h
	}
	if _, rest, ok := strings.Cut(name, "."); ok && r.wildcards.Len() > 0 {
		if h, ok := r.wildcards.Get(rest); ok {
			return h
		}
	}
	return r.others
}

// match returns the rule that a request takes, or nil.
func (h *host) match(q *Request) *rule {
	n, whole := h.tree.walk(q.Path)
	if whole {
		if r := first(n.rules[exact], q); r != nil {
			return r
		}
	}
	if len(h.patterns) > 0 && len(q.Path) > h.longest {
		return &tooLongRule
	}
	for i := range h.patterns {
		if r := &h.patterns[i]; r.expr.matches(q.Path) && r.when.hold(q) {
			return r
		}
	}
	for ; n != nil; n = n.parent {
		if n.depth == len(q.Path) || q.Path[n.depth] == '/' {
			if r := first(n.rules[elements], q); r != nil {
				return r
			}
		}
		if r := first(n.rules[text], q); r != nil {
			return r
		}
	}
	if len(h.guests) > 0 && len(q.Path) > h.longestOfGuests {
		// What guests' expressions cost does not shut out what the owners leave to their
		// default. Another one's may be what such an expression guards.
		if r := first(h.fallback, q); r != nil && r.route.Source.Namespace == h.owners {
			return r
		}
		return &tooLongRule
	}
	for i := range h.guests {
		if r := &h.guests[i]; r.expr.matches(q.Path) && r.when.hold(q) {
			return r
		}
	}
	return first(h.fallback, q)
}

// first returns the first rule whose conditions hold, or nil.
func first(rules []rule, q *Request) *rule {
	for i := range rules {
		if rules[i].when.hold(q) {
			return &rules[i]
		}
	}
	return nil
}
