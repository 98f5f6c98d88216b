package migrate

import (
	"regexp"
	"strings"

	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead-net/fairlead/internal/l7"
)

// place is what a rule matches of paths, and what becomes of them.
type place struct {
	kind  gateway.PathMatchType
	value string
	// rewrite is what the path becomes; nil: it stays.
	rewrite *gateway.HTTPPathModifier
	// closed: the rewrite has no equivalent, so nothing may be sent on.
	closed bool
}

// place finds the path of a rule and its rewrite.
func (p *part) place(r l7.Rule) place {
	var rewrite string
	if w := r.Route.Rewrite; w != nil && w.Path != nil {
		rewrite = w.Path.Target
	}
	switch r.Kind {
	case l7.ExactPath:
		return place{kind: gateway.PathMatchExact, value: l7.Encode(r.Path)}
	case l7.PatternPath:
		if r.Guest {
			p.note("path %s is tried after those of the host's other namespace; here the usual order holds", r.Path)
		}
		return p.pattern(r, rewrite)
	case l7.TextPath:
		p.textPrefix(r.Path)
	}
	return prefix(l7.Encode(r.Path))
}

func prefix(path string) place {
	if path == "" {
		path = "/"
	}
	return place{kind: gateway.PathMatchPathPrefix, value: path}
}

// textPrefix notes that a prefix of text becomes one of elements.
func (p *part) textPrefix(path string) {
	if !strings.HasSuffix(path, "/") {
		p.note("path %s also takes %sxyz in ingress-nginx; here only what follows a slash", path, path)
	}
}

// The endings of expressions that stand for all that may follow a prefix. With the first
// two, the rest is in the group that is named.
var rests = []struct{ text, group string }{{"(/|$)(.*)", "$2"}, {"/(.*)", "$1"}, {"(.*)", "$1"}, {"/.*", ""}, {".*", ""}}

// pattern writes down a regular expression: as a prefix if it is no more than that, as
// that has an equivalent for the usual rewrites.
func (p *part) pattern(r l7.Rule, rewrite string) place {
	p.note("paths are taken in either case of letters in ingress-nginx; here case matters")
	text, group, ends := r.Path, "", strings.HasSuffix(r.Path, "$") && !strings.HasSuffix(r.Path, `\$`)
	if ends {
		text = strings.TrimSuffix(text, "$")
	}
	isPrefix := r.Plain
	for _, rest := range rests {
		if before, ok := strings.CutSuffix(text, rest.text); ok && !isPrefix && literal(before) {
			text, group, isPrefix = before, rest.group, true
			break
		}
	}
	made := prefix(l7.Encode(absolute(strings.ReplaceAll(strings.TrimSuffix(text, "/"), `\`, ""))))
	if !isPrefix {
		made = place{kind: gateway.PathMatchRegularExpression, value: "(?i)^(?:" + text + ").*"}
		if ends {
			made.value = strings.TrimSuffix(made.value, ".*") + "$"
		}
		p.note("path %s is a regular expression: what it means, and which goes first, is up to the implementation (Fairlead: as in ingress-nginx)", r.Path)
	} else if r.Plain {
		p.textPrefix(r.Path)
	}
	if rewrite == "" {
		return made
	}
	head, tail, grouped := strings.Cut(rewrite, "$")
	switch {
	case !grouped || r.Plain: // groups of a text without any are empty
		if r.Plain {
			rewrite = regexp.MustCompile(`\$[1-9]`).ReplaceAllString(rewrite, "")
		}
		made.rewrite = &gateway.HTTPPathModifier{Type: gateway.FullPathHTTPPathModifier, ReplaceFullPath: ptr(l7.Encode(absolute(rewrite)))}
	case isPrefix && group != "" && "$"+tail == group:
		if to := absolute(strings.TrimSuffix(head, "/")); to != made.value {
			made.rewrite = &gateway.HTTPPathModifier{Type: gateway.PrefixMatchHTTPPathModifier, ReplacePrefixMatch: ptr(l7.Encode(to))}
		}
	default:
		p.note("path %s: rewrite-target %s has no equivalent, so its requests get an error", r.Path, rewrite)
		made.closed = true
	}
	return made
}

func absolute(path string) string {
	if !strings.HasPrefix(path, "/") {
		return "/" + path
	}
	return path
}

// literal tells a text in which only dots have a meaning; those of paths are meant as
// dots.
func literal(text string) bool {
	plain := strings.ReplaceAll(strings.ReplaceAll(text, `\.`, ""), ".", "")
	return regexp.QuoteMeta(plain) == plain
}

// valid are the paths that Gateway API takes (HTTPPathMatch).
var valid = regexp.MustCompile(`^/(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})*$`)

// match writes down what a rule asks for; false if it cannot be.
func (p *part) match(r l7.Rule, at place) (gateway.HTTPRouteMatch, bool) {
	if at.kind != gateway.PathMatchRegularExpression && (!valid.MatchString(at.value) || strings.Contains(strings.ToLower(at.value), "%2f")) || len(at.value) > 1024 {
		p.note("path %s has no equivalent, and is left out", r.Path)
		return gateway.HTTPRouteMatch{}, false
	}
	m := gateway.HTTPRouteMatch{Path: &gateway.HTTPPathMatch{Type: ptr(at.kind), Value: ptr(at.value)}}
	if r.When == nil {
		return m, true
	}
	if r.When.Method != "" {
		m.Method = ptr(gateway.HTTPMethod(r.When.Method))
	}
	for _, h := range r.When.Headers {
		how, value := p.value(h)
		m.Headers = append(m.Headers, gateway.HTTPHeaderMatch{Type: ptr(how), Name: gateway.HTTPHeaderName(h.Name), Value: value})
	}
	for _, q := range r.When.Query {
		how, value := p.value(q)
		m.QueryParams = append(m.QueryParams, gateway.HTTPQueryParamMatch{Type: ptr(gateway.QueryParamMatchType(how)), Name: gateway.HTTPHeaderName(q.Name), Value: value})
	}
	for _, c := range r.When.Cookies {
		p.note("cookie %s is looked for by a regular expression of header Cookie, which is up to the implementation", c.Name)
		m.Headers = append(m.Headers, gateway.HTTPHeaderMatch{
			Type: ptr(gateway.HeaderMatchRegularExpression), Name: "cookie",
			Value: "^(.*; ?)?" + regexp.QuoteMeta(c.Name) + "=" + regexp.QuoteMeta(c.Value) + "(;.*)?$",
		})
	}
	return m, true
}

// value writes down what a field has to be.
func (p *part) value(m l7.FieldMatch) (gateway.HeaderMatchType, string) {
	switch {
	case m.Present:
		return gateway.HeaderMatchRegularExpression, ".*"
	case m.Regexp == nil:
		return gateway.HeaderMatchExact, m.Value
	}
	p.note("header %s is compared with a regular expression, which is up to the implementation", m.Name)
	text := m.Regexp.String()
	if !strings.HasPrefix(text, "^") || !strings.HasSuffix(text, "$") {
		text = "^.*(?:" + text + ").*$"
	}
	return gateway.HeaderMatchRegularExpression, text
}
