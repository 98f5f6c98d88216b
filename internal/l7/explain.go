package l7

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// Explanation says what becomes of a request, and why.
type Explanation struct {
	Listener string `json:"listener"`
	// Host is the entry that the request's host belongs to, Why in words why.
	Host string `json:"entry"`
	Why  string `json:"why"`
	// Rules are those of the host in the order of precedence.
	Rules []Considered `json:"rules"`
	// Answer says in words what is answered, or by whom.
	Answer string `json:"answer"`
	// Certificate is what a client that asks for the host gets.
	Certificate string             `json:"certificate,omitempty"`
	Backends    []ExplainedBackend `json:"backends,omitempty"`
	// Filters say what else is done with the request and its answer.
	Filters []string `json:"filters,omitempty"`
	// Unserved are Ingresses with rules for the host that are not served.
	Unserved []Unserved `json:"unserved,omitempty"`
}

// Unserved is an Ingress that is not served, and why.
type Unserved struct {
	Source desired.Ref `json:"source"`
	Why    string      `json:"why"`
}

// Considered is a rule, whether it takes the request, and why or why not.
type Considered struct {
	Source desired.Ref `json:"source"`
	Rule   string      `json:"rule"`
	Path   string      `json:"path"`
	Type   string      `json:"type"`
	// Matches: it would take the request if no other did. Wins: it does.
	Matches bool   `json:"matches"`
	Wins    bool   `json:"wins"`
	Why     string `json:"why"`
}

// ExplainedBackend is one that shares the request's Route.
type ExplainedBackend struct {
	Backend string `json:"backend"`
	// Share is in percent.
	Share     float64  `json:"share"`
	Endpoints []string `json:"endpoints,omitempty"`
	Note      string   `json:"note,omitempty"`
	// Balance says how endpoints are chosen, where that is not as usual.
	Balance string `json:"balance,omitempty"`
}

// Explain says which rule of a Listener takes a request and why the others do not.
// The Route is the one that Match gives.
func (t Table) Explain(listener string, q Request) (Explanation, *Route) {
	e := Explanation{Listener: listener}
	l := t.Listeners[listener]
	if l == nil {
		e.Answer = "there is no listener " + listener
		return e, nil
	}
	if l.Protocol == HTTPS {
		e.Certificate = "none is configured for this host"
		if id, ok := l.Certificate(q.Host); ok {
			e.Certificate = "Secret " + id.String()
		}
	}
	if s := l.Stream(q.Host); s != nil && l.Protocol == HTTPS {
		e.Certificate = "that of the backend, as TLS is passed through to it"
		e.Answer, e.Why = t.explainStream(s), "TLS is passed through by the name in its handshake"
		e.Host, e.Backends, e.Unserved = hostText(s.Host), t.explainBackends(s.Backends), t.unserved(q.Host)
		return e, nil
	}
	h := l.Routes.host(q.Host)
	e.Host, e.Why = l.Routes.explainHost(h, q.Host)
	e.Unserved = t.unserved(q.Host)
	var winner *rule
	if h != nil {
		winner = h.match(&q)
		for i := range h.rules {
			e.Rules = append(e.Rules, h.rules[i].explain(&q, winner))
		}
	}
	route := l.Routes.Match(&q)
	e.Answer = t.answer(route, l.Protocol == HTTPS)
	if route == &twofold {
		found, by := l.Routes.matchAsSent(&q)
		other := l.Routes.other(&q, found, by)
		e.Answer = fmt.Sprintf("400, as backends that take what follows a semicolon for a parameter read path %s, which is for %s %s", withoutParameters(q.Path), other.Source, other.Rule)
	}
	if route != nil && !route.redirects(l.Protocol == HTTPS) {
		e.Backends = t.explainBackends(route.Backends)
	}
	if route != nil {
		e.Filters = route.Filters.Says()
	}
	return e, route
}

// Serves tells whether an Ingress is of a class that is served.
func (t Table) Serves(ingress desired.Name) bool {
	_, serves := t.index.ingresses.Get(ingress)
	return serves
}

// unserved returns the Ingresses that name a host, or *.REST, and are not served.
func (t Table) unserved(host string) []Unserved {
	var all []Unserved
	_, rest, _ := strings.Cut(host, ".")
	for name, i := range t.state.Ingresses.All() {
		named := func(r desired.IngressRule) bool { return r.Host != "" && (r.Host == host || r.Host == "*."+rest) }
		if !t.Serves(name) && slices.ContainsFunc(i.Rules, named) {
			_, why := t.index.classes.serve(i)
			all = append(all, Unserved{i.Ref(), why})
		}
	}
	slices.SortFunc(all, func(a, b Unserved) int { return strings.Compare(a.Source.String(), b.Source.String()) })
	return all
}

// explainHost returns the name of a host's entry, and why a name belongs to it.
func (r *Routes) explainHost(h *host, name string) (entry, why string) {
	if h == nil {
		return "", fmt.Sprintf("no rule is for host %s, for a wildcard that it fits or for every host", name)
	}
	_, rest, _ := strings.Cut(name, ".")
	wildcard, hasWildcard := r.wildcards.Get(rest)
	less := ""
	switch {
	case hasWildcard && wildcard != h:
		less = "; those for *." + rest + " do not count for it"
	case h != r.others && r.others != nil:
		less = "; those for every host do not count for it"
	}
	switch {
	case h == r.others:
		return hostText(""), "no rule names host " + name + ", so it gets the rules without host"
	case strings.HasPrefix(h.name, "*."):
		return h.name, "no rule names host " + name + "; * stands for its first label" + less
	}
	return h.name, "rules name this host" + less
}

// String returns what a rule's author calls it.
func (k kind) String() string {
	return [...]string{"Exact", "regular expression", "Prefix", "text prefix", "regular expression (guest)", "default"}[k]
}

// explain says why a rule takes a request, or does not.
func (r *rule) explain(q *Request, winner *rule) Considered {
	c := Considered{Source: r.route.Source, Rule: r.route.Rule, Path: r.written, Type: r.kind.String()}
	failed := r.when.fails(q)
	switch {
	case !r.fits(q.Path):
		c.Why = r.misfit()
	case failed != nil:
		c.Why = "the path is as it says, but not the " + failed.String()
	default:
		c.Matches = true
		c.Wins = winner != nil && r.route == winner.route && r.kind == winner.kind && r.path == winner.path && r.when == winner.when
		c.Why = "it takes the request"
		if !c.Wins && winner != nil {
			c.Why = "it would take the request too, but " + winner.before(r)
		}
	}
	return c
}

// fits tells whether a path is as the rule has it, apart from the tree: it is the
// other reading of the same rule, which tests compare.
func (r *rule) fits(path string) bool {
	switch r.kind {
	case exact:
		return path == r.path
	case pattern, guest:
		return r.expr.matches(path)
	case elements:
		rest, ok := strings.CutPrefix(path, r.path)
		return ok && (rest == "" || rest[0] == '/')
	case text:
		return strings.HasPrefix(path, r.path)
	}
	return true
}

func (r *rule) misfit() string {
	return "the path " + [...]string{
		"is not exactly this", "does not begin as the expression says", "does not begin with these elements", "does not begin with this text", "does not begin as the expression says", "",
	}[r.kind]
}

// before says why a rule goes before another that would take a request too.
func (r *rule) before(other *rule) string {
	switch {
	case r.route == &tooLong:
		return tooLong.Why
	case other.kind == fallback:
		return "the default comes last"
	case rank(r.kind) != rank(other.kind):
		return fmt.Sprintf("%s goes before %s", r.kind, other.kind)
	case len(r.path) > len(other.path):
		return "a longer path goes first"
	case r.kind != other.kind:
		return fmt.Sprintf("of paths of one length %s goes before %s", r.kind, other.kind)
	case r.path != other.path:
		return "the other one comes first in the order of the alphabet, backwards, as in ingress-nginx"
	case compareConditions(r.when, other.when) < 0:
		return "more conditions go first"
	}
	return "the older one goes first"
}

// String returns the condition that does not hold.
func (f *failure) String() string {
	if f.what == "method" {
		return "method, which must be " + f.match.Value
	}
	return f.what + ": wanted " + f.match.String()
}

// answer says what a Route does.
func (t Table) answer(r *Route, secure bool) string {
	switch {
	case r == nil:
		return "404, as no rule takes it"
	case r.HTTPSRedirect != nil && !secure:
		return r.HTTPSRedirect.String() + ", as it came without TLS"
	case r.Redirect != nil:
		return r.Redirect.String()
	case len(r.Backends) == 0 && r.Status != 0:
		why := r.Why
		if why == "" {
			why = "there is no backend for it"
		}
		return strconv.Itoa(r.Status) + ", as " + why
	case len(r.Backends) == 0:
		return "503, as there is no backend for it"
	case !slices.ContainsFunc(r.Backends, func(w Weighted) bool { return w.Weight > 0 && t.usable(w.Backend) }):
		return "503, as no backend has an endpoint"
	}
	return "goes to a backend" + r.Access.String()
}

// redirects tells whether a Route answers with a Redirect.
func (r *Route) redirects(secure bool) bool {
	return r.Redirect != nil || r.HTTPSRedirect != nil && !secure
}

// String says who is let in, for the end of a sentence; nothing if all are.
func (a *Access) String() string {
	if a == nil {
		return ""
	}
	said := ", for clients"
	if len(a.Allow) > 0 {
		said += " in " + join(a.Allow)
	}
	if len(a.Deny) > 0 {
		said += " outside of " + join(a.Deny)
	}
	return said + "; others get 403"
}

func join(ranges []netip.Prefix) string {
	var texts []string
	for _, r := range ranges {
		texts = append(texts, r.String())
	}
	return strings.Join(texts, " ")
}

func (t Table) usable(id BackendID) bool {
	b, _ := t.Backends.Get(id)
	return b != nil && (len(b.Endpoints) > 0 || b.Host != "")
}

// String returns the answer in words.
func (r *Redirect) String() string {
	if r.AppendURI {
		return fmt.Sprintf("%d to %s and the request's path", r.Status, r.Location)
	}
	if r.Location != "" {
		return fmt.Sprintf("%d to %s", r.Status, r.Location)
	}
	var parts []string
	for _, part := range []struct{ name, value string }{{"scheme", r.Scheme}, {"host", r.Host}, {"path", r.Path}} {
		if part.value != "" {
			parts = append(parts, part.name+" "+part.value)
		}
	}
	return fmt.Sprintf("%d to the same with %s", r.Status, strings.Join(parts, ", "))
}

// explainStream says what is done with the connections of a Stream.
func (t Table) explainStream(s *Stream) string {
	if !slices.ContainsFunc(s.Backends, func(w Weighted) bool { return w.Weight > 0 && t.usable(w.Backend) }) {
		return "the connection ends, as no backend has an endpoint"
	}
	told := ""
	if s.ProxyProtocol != 0 {
		told = fmt.Sprintf(", which is told by the PROXY protocol, version %d, who the client is", s.ProxyProtocol)
	}
	if s.Access != nil {
		told += strings.Replace(s.Access.String(), "get 403", "are refused", 1)
	}
	return fmt.Sprintf("the connection goes to a backend as it is, by %s %s%s", s.Source, s.Rule, told)
}

func (t Table) explainBackends(backends []Weighted) []ExplainedBackend {
	total := 0.0
	for _, w := range backends {
		total += float64(w.Weight)
	}
	var all []ExplainedBackend
	for _, w := range backends {
		e := ExplainedBackend{Backend: w.Backend.String(), Note: "no endpoint is ready"}
		if total > 0 {
			e.Share = 100 * float64(w.Weight) / total
		}
		if b, _ := t.Backends.Get(w.Backend); b != nil {
			for _, endpoint := range b.Endpoints {
				e.Endpoints, e.Note = append(e.Endpoints, endpoint.String()), ""
			}
			switch {
			case b.Problem != "":
				e.Note = b.Problem
			case b.Host != "":
				e.Note = fmt.Sprintf("by DNS: %s:%d", b.Host, b.HostPort)
			}
			e.Balance = b.Balance.String()
		}
		all = append(all, e)
	}
	return all
}

// String returns the address, and whether the endpoint is drained.
func (e Endpoint) String() string {
	switch {
	case e.Draining:
		return e.Address.String() + " (draining)"
	case e.Far:
		return e.Address.String() + " (of another zone, if none that is near can be used)"
	}
	return e.Address.String()
}
