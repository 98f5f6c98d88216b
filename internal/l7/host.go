package l7

import (
	"cmp"
	"strings"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7/filter"
	"github.com/fairlead-net/fairlead/internal/l7/nginx"
)

// place is what only one Ingress can have of a host. Rules with conditions share it.
type place struct {
	kind kind
	path string
}

// placeOf returns the place of a rule. Expressions match letters in either case; what
// has no meaning but its letters is the same in another case.
func placeOf(r rule) place {
	if r.expr != nil && r.expr.re == nil {
		return place{r.kind, strings.ToLower(r.path)}
	}
	return place{r.kind, r.path}
}

// base is what paths have in common that differ in type, in a slash at the end, or,
// where that does not count, in case.
func base(r rule) string { return strings.TrimSuffix(placeOf(r).path, "/") }

// holder has a place.
type holder struct {
	ingress *ingress
	rule    rule
	canary  bool // a canary shares it
}

// hostMaker makes the rules of one host.
type hostMaker struct {
	name string
	by   []*ingress // the main ones, the oldest first
	// secured tells, by namespace, whether spec.tls of its Ingresses has the host.
	secured map[string]bool
	// regexFrom names, by namespace, an Ingress whose annotations make paths regular
	// expressions.
	regexFrom map[string]desired.Name
	// clientTLS is, by namespace, what its oldest Ingress that does asks of clients.
	clientTLS map[string]*filter.ClientTLS
	// own is the budget of the expressions of those whose the host is, guests that of all
	// others together, and of those that of each namespace of them.
	own, guests budget
	each        map[string]*budget
	rules       []rule
	taken       map[place]*holder
	// prefixes are those that compare prefixes, by base.
	prefixes map[string][]*holder
	reasons  []desired.Reason
}

// host makes the rules of a host of those that the Ingresses have, the oldest first.
func (b *builder) host(name string, by []*ingress) {
	from := origin{fromHost, name}
	if len(by) == 0 {
		b.setHost(name, nil)
		b.streams.set(name, nil)
		b.say(from, nil)
		return
	}
	by, reasons := withoutAliases(name, by)
	m := hostMaker{
		name: name, reasons: reasons, taken: map[place]*holder{}, prefixes: map[string][]*holder{}, secured: map[string]bool{}, clientTLS: map[string]*filter.ClientTLS{}, regexFrom: map[string]desired.Name{}, each: map[string]*budget{},
		own: budget{maxWidth: maxWidth, maxPaths: maxPaths}, guests: budget{maxWidth: maxWidth, maxPaths: maxPaths},
	}
	var canaries []*ingress
	for _, i := range by {
		if i.options.Canary != nil {
			canaries = append(canaries, i)
			continue
		}
		if b.config.OwnHosts && len(m.by) > 0 && m.owners() != i.source.Name.Namespace {
			m.reasons = append(m.reasons, i.reason("HostTaken", "host %s belongs to namespace %s, as its Ingress %s is older, and the configuration lets namespaces share no host; the rules for it are left out", hostText(name), m.owners(), m.by[0].source.Name))
			continue
		}
		m.by = append(m.by, i)
		m.secured[i.source.Name.Namespace] = m.secured[i.source.Name.Namespace] || i.secures(name)
		if f := i.filters; f != nil && f.ClientTLS != nil && m.clientTLS[i.source.Name.Namespace] == nil {
			m.clientTLS[i.source.Name.Namespace] = f.ClientTLS
		}
		for _, r := range i.rules[name] {
			if _, has := m.regexFrom[i.source.Name.Namespace]; !has && i.needsRegex(r) && r.kind != fallback {
				m.regexFrom[i.source.Name.Namespace] = i.source.Name
			}
		}
	}
	for _, i := range m.by {
		for _, r := range i.rules[name] {
			m.add(i, r)
		}
	}
	for _, i := range canaries {
		for _, r := range i.rules[name] {
			m.addCanary(i, r)
		}
	}
	through := m.passthrough()
	m.addAppRoot()
	m.addSlashes()
	keepOpen(m.rules, servedHost(b.ruled.before, name))
	h := newHost(name, m.rules)
	h.longest, h.longestOfGuests = m.own.longest(), m.guests.longest()
	if len(m.by) > 0 {
		h.owners = m.owners()
	}
	b.setHost(name, h)
	b.streams.set(name, through)
	b.say(from, m.reasons)
}

// regex tells whether paths of an Ingress are regular expressions, and whose
// annotations say so. In ingress-nginx one such Ingress makes them of all paths of its
// host; here only one in the namespace whose the host is, that of its oldest Ingress.
// Others do so with the paths of their own namespace.
func (m *hostMaker) regex(i *ingress) (by desired.Name, has bool) {
	if by, has = m.regexFrom[m.owners()]; !has {
		by, has = m.regexFrom[i.source.Name.Namespace]
	}
	return by, has
}

// owners is the namespace whose the host is.
func (m *hostMaker) owners() string { return m.by[0].source.Name.Namespace }

// add gives a rule its place, unless another has it.
func (m *hostMaker) add(i *ingress, r rule) {
	r, ok := m.asRegex(i, r)
	if !ok {
		return
	}
	at := placeOf(r)
	has := m.taken[at]
	if has == nil {
		has = m.deprived(i, r)
	}
	if has != nil {
		m.reasons = append(m.reasons, has.refuse(m.name, i, r))
		return
	}
	// What guests have in spec.tls concerns their own rules only.
	r.route = i.at(r, m.secured[m.owners()] || m.secured[i.source.Name.Namespace])
	// In ingress-nginx this is the host's; here of all of it only if its owners ask.
	// Challenges come without TLS, and nginx asks for no certificate then.
	if !strings.HasPrefix(r.path, nginx.ACME) {
		r.route = withClientTLS(r.route, cmp.Or(m.clientTLS[m.owners()], m.clientTLS[i.source.Name.Namespace]))
	}
	has = &holder{ingress: i, rule: r}
	m.taken[at] = has
	if r.kind == elements || r.kind == text || r.kind == pattern {
		m.prefixes[base(r)] = append(m.prefixes[base(r)], has)
	}
	m.rules = append(m.rules, r)
}

// deprived returns who has the path of a rule already, in another namespace and as
// another type, and would lose requests to it; nil if nobody would.
func (m *hostMaker) deprived(i *ingress, r rule) *holder {
	if r.kind == guest || r.kind == fallback {
		return nil
	}
	for _, has := range m.prefixes[base(r)] {
		if has.ingress.source.Name.Namespace != i.source.Name.Namespace && compareRules(r, has.rule) < 0 {
			return has
		}
	}
	return nil
}

// asRegex makes a rule one of a regular expression where its host is one of them.
func (m *hostMaker) asRegex(i *ingress, r rule) (rule, bool) {
	by, regex := m.regex(i)
	if !regex || r.kind == fallback {
		return r, true
	}
	because := ""
	if by != i.source.Name {
		because = ", as Ingress " + by.String() + " makes all paths of the host regular expressions"
	}
	expr, err := parseExpression(r.written)
	if err != nil {
		m.reasons = append(m.reasons, i.reason("ExpressionInvalid", "spec.%s: path %q is no regular expression that can be used%s: %v; the path is left out", r.route.Rule, r.written, because, err))
		return r, false
	}
	if whose := m.allot(i.source.Name.Namespace, expr); whose != "" {
		m.reasons = append(m.reasons, i.reason("ExpressionsTooMany", "spec.%s: path %q is a regular expression%s, and with it those of %s at host %s would take too long; the path is left out, make it simpler or let it begin with more plain text", r.route.Rule, r.written, because, whose, hostText(m.name)))
		return r, false
	}
	r.kind, r.path, r.expr = pattern, r.written, expr
	// A guest may have a longer path than the owners, but no expression that takes
	// theirs. So it is tried when nothing of theirs takes a request.
	if _, ownersDo := m.regexFrom[m.owners()]; i.source.Name.Namespace != m.owners() && (!ownersDo || expr.re != nil) {
		r.kind = guest
	}
	return r, true
}

// allot takes an expression of a namespace into its budget. If there is no room, it
// returns whose expressions are too many.
func (m *hostMaker) allot(namespace string, e *expression) (whose string) {
	if namespace == m.owners() {
		if !m.own.admits(e) {
			return "namespace " + namespace
		}
		m.own.add(e)
		return ""
	}
	each := m.each[namespace]
	if each == nil {
		each = &budget{maxWidth: maxGuestWidth, maxPaths: maxGuestPaths}
		m.each[namespace] = each
	}
	switch {
	case !each.admits(e):
		return "namespace " + namespace
	case !m.guests.admits(e):
		return "all namespaces whose the host is not"
	}
	each.add(e)
	m.guests.add(e)
	return ""
}

// addAppRoot sends the root of the host where the oldest Ingress with such an
// annotation says, as ingress-nginx does for a whole host; here only if the root is
// not that of another namespace.
func (m *hostMaker) addAppRoot() {
	for _, i := range m.by {
		if i.options.AppRoot == "" || i.options.Closed {
			continue
		}
		if owner := m.owner("/"); owner != nil && owner.source.Name.Namespace != i.source.Name.Namespace {
			m.reasons = append(m.reasons, i.reason("AppRootTaken", "annotation app-root: the root of host %s belongs to Ingress %s of another namespace; it is left out", hostText(m.name), owner.source.Name))
			continue
		}
		route := &Route{Source: i.source.Ref(), Rule: "app-root", Redirect: &Redirect{Status: 302, Path: i.options.AppRoot}}
		// In front of whatever else has this path: equal rules stay in their order.
		m.rules = append([]rule{{kind: exact, path: "/", written: "/", route: route}}, m.rules...)
		return
	}
}

// owner returns the Ingress whose rule takes a path of the host; nil if none does.
func (m *hostMaker) owner(path string) *ingress {
	won := newHost(m.name, append([]rule(nil), m.rules...)).match(&Request{Path: path})
	if won == nil {
		return nil
	}
	return m.taken[placeOf(*won)].ingress
}

// addSlashes sends /a to /a/ where nginx does: where a path ends in a slash, is no
// Prefix, and nothing else is exactly /a. Ingresses of ingress-nginx's classes only:
// no other specification has it.
func (m *hostMaker) addSlashes() {
	for _, r := range m.rules {
		path, slash := strings.CutSuffix(r.path, "/")
		if r.kind != exact && r.kind != text || !slash || path == "" {
			continue
		}
		has := m.taken[placeOf(r)]
		if has == nil || has.ingress.standing != oursNginx {
			continue
		}
		free := true
		for _, k := range []kind{exact, elements, text} {
			free = free && m.taken[place{k, path}] == nil
		}
		if free {
			route := &Route{Source: r.route.Source, Rule: r.route.Rule, HTTPSRedirect: r.route.HTTPSRedirect, Access: r.route.Access, Redirect: &Redirect{Status: 301, Path: Encode(r.path)}}
			m.rules = append(m.rules, rule{kind: exact, path: path, written: path, route: route})
		}
	}
}

// refuse says that a rule has no place any more.
func (h *holder) refuse(host string, i *ingress, r rule) desired.Reason {
	if h.ingress == i {
		return i.reason("PathDuplicate", "spec.%s: path %s of host %s is already that of spec.%s, which counts; remove one of them", r.route.Rule, r.written, hostText(host), h.rule.route.Rule)
	}
	return i.reason("PathTaken", "spec.%s: path %s of host %s belongs to Ingress %s, %s, so requests go there; remove one of them", r.route.Rule, r.written, hostText(host), h.ingress.source.Name, earlier(h.ingress, i))
}

// earlier says why an Ingress goes before another.
func earlier(first, second *ingress) string {
	if first.source.Created.Equal(second.source.Created) {
		return "which is as old and comes first by name"
	}
	return "which is older"
}

// hostText returns a host for people to read.
func hostText(host string) string {
	if host == "" {
		return "(any other)"
	}
	return host
}
