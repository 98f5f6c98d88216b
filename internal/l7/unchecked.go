package l7

import (
	"reflect"
	"strings"

	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// servedHost returns the rules of a host in the last Table, whatever its Config; nil: there
// are none. What a process has not read in full was never served.
func servedHost(last Table, name string) *host {
	l := last.Listeners[ListenerHTTPS]
	if l == nil || !last.Synced {
		return nil
	}
	return l.Routes.named(name)
}

// named returns the rules of a host name, *.REST for a wildcard; nil: there are none.
func (r *Routes) named(name string) *host {
	if name == "" {
		return r.others
	}
	of, key := r.names, name
	if rest, ok := strings.CutPrefix(name, "*."); ok {
		of, key = r.wildcards, rest
	}
	h, _ := of.Get(key)
	return h
}

// keepOpen has Routes whose rules are not compiled yet served without them if they were
// until now: so rules that are turned on interrupt nothing. Only a Route of the same
// Ingress, for the same requests, which does the same but for the rules, is such a one:
// anything else that is new would be open to more than it ever was.
func keepOpen(rules []rule, served *host) {
	var by map[place][]rule
	for at := range rules {
		r := &rules[at]
		if served == nil || r.route.Filters == nil || !r.route.Filters.ModSecurity.Waits() {
			continue
		}
		if by == nil {
			by = map[place][]rule{}
			for _, old := range served.rules {
				by[place{old.kind, old.path}] = append(by[place{old.kind, old.path}], old)
			}
		}
		for _, old := range by[place{r.kind, r.path}] {
			if !reflect.DeepEqual(old.when, r.when) || !reflect.DeepEqual(unruled(old.route), unruled(r.route)) {
				continue
			}
			var before *filter.ModSecurity
			if old.route.Filters != nil {
				before = old.route.Filters.ModSecurity
			}
			if now, passed := r.route.Filters.ModSecurity.After(before); passed {
				filters, route := *r.route.Filters, *r.route
				filters.ModSecurity, route.Filters = now, &filters
				r.route = &route
			}
			break
		}
	}
}

// unruled returns a Route as it is without rules of ModSecurity, wherever in its object it
// is written.
func unruled(r *Route) Route {
	made := *r
	made.Rule = ""
	if r.Filters != nil {
		filters := *r.Filters
		filters.ModSecurity, made.Filters = nil, nil
		if filters != (filter.Filters{}) {
			made.Filters = &filters
		}
	}
	return made
}
