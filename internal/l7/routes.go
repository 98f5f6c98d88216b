package l7

import "github.com/fairlead-net/fairlead/internal/pmap"

// Routes are the Routes of a Listener by host. The zero value has none.
type Routes struct {
	// hosts are by host name, by *.example.com, and by "" for every other one.
	hosts pmap.Map[string, *host]
}

// host holds the Routes of one host name, in the order in which they are tried.
type host struct {
	routes []rule
}

// rule is one way to a Route.
type rule struct {
	path   string
	prefix bool
	route  *Route
}

// Match returns the Route that a request takes; nil if none does.
func (r *Routes) Match(q *Request) *Route {
	h, ok := r.hosts.Get(q.Host)
	if !ok {
		h, ok = r.hosts.Get("")
	}
	if !ok {
		return nil
	}
	for _, rule := range h.routes {
		if rule.matches(q.Path) {
			return rule.route
		}
	}
	return nil
}

func (r rule) matches(path string) bool {
	if !r.prefix || len(path) <= len(r.path) {
		return path == r.path
	}
	return path[:len(r.path)] == r.path && (r.path[len(r.path)-1] == '/' || path[len(r.path)] == '/')
}
