package migrate

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
)

// routes makes HTTPRoutes of the parts. Hosts for which an Ingress has the same rules
// share one.
func (c *converter) routes() []Document {
	var merged []*part
	for _, p := range c.parts {
		at := slices.IndexFunc(merged, p.joins)
		if at < 0 {
			merged = append(merged, p)
			continue
		}
		merged[at].hosts = append(merged[at].hosts, p.hosts...)
		for _, n := range p.notes {
			merged[at].note("%s", n)
		}
	}
	slices.SortStableFunc(merged, func(a, b *part) int { return a.source.Compare(b.source) })
	var all []Document
	for _, p := range merged {
		all = append(all, c.routesOf(p)...)
	}
	return all
}

// joins tells whether two parts can be one HTTPRoute.
func (p *part) joins(other *part) bool {
	return p.source == other.source && p.doors == other.doors && len(other.hosts) < maxHostnames && other.hosts[0] != "" && p.hosts[0] != "" &&
		reflect.DeepEqual(p.plain, other.plain) && reflect.DeepEqual(p.secured, other.secured)
}

// routesOf makes one HTTPRoute for a part; two if it answers otherwise without TLS, and
// more if there are more rules than one may have.
func (c *converter) routesOf(p *part) []Document {
	notes := slices.Clone(p.notes)
	secured := c.parentsOf(p, true)
	plain := c.parentsOf(p, false)
	var all []Document
	add := func(suffix string, parents []gateway.ParentReference, rules []gateway.HTTPRouteRule) {
		for n, some := range split(rules) {
			name := p.source.Name + suffix
			if n > 0 {
				name += fmt.Sprintf("-%d", n+1)
			}
			route := &gateway.HTTPRoute{TypeMeta: typeMeta("HTTPRoute"), ObjectMeta: metav1.ObjectMeta{Namespace: p.source.Namespace, Name: c.unique(p, name)}}
			route.Spec.ParentRefs, route.Spec.Rules = parents, some
			for _, host := range p.hosts {
				if host != "" {
					route.Spec.Hostnames = append(route.Spec.Hostnames, gateway.Hostname(host))
				}
				if strings.HasPrefix(host, "*.") {
					notes = append(notes, fmt.Sprintf("host %s also stands for names with several labels in front", host))
				}
			}
			all = append(all, Document{Object: route, Notes: notes})
			notes = nil
		}
	}
	switch {
	case len(secured) == 0:
		add("", plain, p.plain)
	case reflect.DeepEqual(p.plain, p.secured):
		add("", append(plain, secured...), p.secured)
	default:
		add("", secured, p.secured)
		add("-http", plain, p.plain)
	}
	return all
}

// parentsOf names the listeners of all hosts of a part.
func (c *converter) parentsOf(p *part, secured bool) []gateway.ParentReference {
	var all []gateway.ParentReference
	for _, host := range p.hosts {
		ref, ok := p.doors.parents(c.to, host, secured)
		same := func(other gateway.ParentReference) bool { return reflect.DeepEqual(ref, other) }
		if ok && !slices.ContainsFunc(all, same) {
			all = append(all, ref)
		}
	}
	return all
}

// split splits rules into lists that one HTTPRoute may have.
func split(rules []gateway.HTTPRouteRule) [][]gateway.HTTPRouteRule {
	var all [][]gateway.HTTPRouteRule
	matches := 0
	for _, r := range rules {
		if len(all) == 0 || len(all[len(all)-1]) == maxRules || matches+len(r.Matches) > allMatches {
			all, matches = append(all, nil), 0
		}
		all[len(all)-1] = append(all[len(all)-1], r)
		matches += len(r.Matches)
	}
	return all
}

// unique returns a name that no other HTTPRoute of the namespace has: with the first
// host if it is taken, then with a number.
func (c *converter) unique(p *part, name string) string {
	name = dnsName(name)
	made := name
	for n := 1; c.named[p.source.Namespace+"/"+made]; n++ {
		made = dnsName(name + "-" + strings.ReplaceAll(cmp.Or(p.hosts[0], "any"), "*", "any"))
		if n > 1 {
			made = fmt.Sprintf("%s-%d", made, n)
		}
	}
	c.named[p.source.Namespace+"/"+made] = true
	return made
}

// sameAction tells whether two rules do the same with what they match.
func sameAction(a, b gateway.HTTPRouteRule) bool {
	a.Matches, b.Matches = nil, nil
	return reflect.DeepEqual(a, b)
}

// ofPrefix tells whether a rule replaces the prefix that it matches, which it may only
// have one of.
func ofPrefix(r gateway.HTTPRouteRule) bool {
	return slices.ContainsFunc(r.Filters, func(f gateway.HTTPRouteFilter) bool {
		return f.URLRewrite != nil && f.URLRewrite.Path != nil && f.URLRewrite.Path.ReplacePrefixMatch != nil ||
			f.RequestRedirect != nil && f.RequestRedirect.Path != nil && f.RequestRedirect.Path.ReplacePrefixMatch != nil
	})
}
