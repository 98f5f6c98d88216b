package l7

import (
	"cmp"
	"slices"
)

// newHost arranges rules. Those of the same kind and path stay in the order in which
// they are given where their conditions are equally many.
func newHost(name string, rules []rule) *host {
	h := &host{name: name, tree: &node{}, rules: rules, longest: maxSteps, longestOfGuests: maxSteps}
	slices.SortStableFunc(rules, compareRules)
	for _, r := range rules {
		h.certificates = h.certificates || r.route.Filters != nil && r.route.Filters.ClientTLS != nil
		switch r.kind {
		case fallback:
			h.fallback = append(h.fallback, r)
		case pattern:
			h.patterns = append(h.patterns, r)
		case guest:
			h.guests = append(h.guests, r)
		default:
			n := h.tree.put(r.path)
			n.rules[r.kind] = append(n.rules[r.kind], r)
		}
	}
	return h
}

// compareRules puts first what is tried first: exact paths, then expressions, those
// with the longest text first as ingress-nginx has them, then prefixes, the longest
// first, then expressions of guests, then what takes everything.
func compareRules(a, b rule) int {
	return cmp.Or(
		cmp.Compare(rank(a.kind), rank(b.kind)),
		cmp.Compare(len(b.path), len(a.path)),
		cmp.Compare(a.kind, b.kind),
		orderOfPaths(a, b),
		compareConditions(a.when, b.when),
	)
}

// rank is the same for kinds among which the length decides.
func rank(k kind) kind {
	if k == text {
		return elements
	}
	return k
}

// orderOfPaths orders paths of one length: expressions as ingress-nginx does, which
// matters where both match; others only so that lists have an order.
func orderOfPaths(a, b rule) int {
	if a.kind == pattern || a.kind == guest {
		return cmp.Compare(b.path, a.path)
	}
	return cmp.Compare(a.path, b.path)
}
