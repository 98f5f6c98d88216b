package migrate

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7"
)

// Target says where the objects of Gateway API are to be.
type Target struct {
	// GatewayClass is the class of the Gateways, Namespace theirs. The other objects are
	// in the namespaces of the Ingresses.
	GatewayClass, Namespace string
}

// Document is an object of Gateway API.
type Document struct {
	Object metav1.Object
	// Notes are what ingress-nginx does with the same requests and the object does not
	// say, each a sentence.
	Notes []string
}

// The bounds of Gateway API on one object.
const (
	maxListeners = 64
	maxHostnames = 16
	maxRules     = 16
	maxMatches   = 64  // of a rule
	allMatches   = 128 // of a route
)

// Gateways writes down what ingress-nginx serves as objects of Gateway API: a Gateway
// for each IngressClass, with ListenerSets if it has more listeners than one may have,
// ReferenceGrants for certificates of other namespaces, and HTTPRoutes. They are made
// of the Routes that Ingresses are served by.
func (in Input) Gateways(to Target) []Document {
	c := converter{in: in, to: to, doors: map[string]*doors{}, named: map[string]bool{}}
	l := in.Table.Listeners[l7.ListenerHTTPS]
	if l == nil {
		return nil
	}
	for host, rules := range l.Routes.List() {
		c.host(l, host, rules)
	}
	var all []Document
	for _, class := range slices.Sorted(maps.Keys(c.doors)) {
		all = append(all, c.doors[class].documents(to)...)
	}
	all = append(all, c.grants()...)
	return append(all, c.routes()...)
}

// converter collects what becomes of Routes.
type converter struct {
	in Input
	to Target
	// doors are by class.
	doors map[string]*doors
	// parts are what Ingresses have of hosts, in order.
	parts []*part
	// named are the names that are taken, as NAMESPACE/NAME.
	named map[string]bool
}

// part is what one Ingress has of one host.
type part struct {
	source desired.Name
	doors  *doors
	hosts  []string
	// plain and secured are the rules without and within TLS.
	plain, secured []gateway.HTTPRouteRule
	remarks
}

// remarks are Notes being collected, each once.
type remarks struct{ notes []string }

func (r *remarks) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(r.notes, text) {
		r.notes = append(r.notes, text)
	}
}

// host writes down the rules of a host.
func (c *converter) host(l *l7.Listener, host string, rules []l7.Rule) {
	owners := map[string]desired.Ref{} // of a path: a canary's rules stand with the main ones
	whole := false
	for _, r := range rules {
		if r.When == nil {
			owners[string(r.Kind)+r.Path] = r.Route.Source
			whole = whole || r.Path == "" && r.Kind == l7.PrefixPath || r.Path == "/" && r.Kind == l7.TextPath
		}
	}
	parts := map[desired.Name]*part{}
	for _, r := range rules {
		source := owners[string(r.Kind)+r.Path]
		name := desired.Name{Namespace: source.Namespace, Name: source.Name}
		i, _ := c.in.State.Ingresses.Get(name)
		if i == nil || r.Kind == l7.AnyPath && whole {
			continue
		}
		if _, taken, _ := c.in.Table.ClassOf(i); !taken {
			continue
		}
		d := c.door(cmp.Or(i.LegacyClass, i.Class, "default"))
		if strings.Contains(host, "_") {
			d.note("host %s of Ingress %s is left out, as host names in Gateway API have no underscores", host, name)
			continue
		}
		p := parts[name]
		if p == nil {
			p = &part{source: name, doors: d, hosts: []string{host}}
			parts[name] = p
			c.parts = append(c.parts, p)
			d.add(host, l)
		}
		c.rule(l, p, host, r)
	}
}

// rule writes down one rule.
func (c *converter) rule(l *l7.Listener, p *part, host string, r l7.Rule) {
	made, ok := c.made(p, r)
	if !ok {
		return
	}
	_, certified := l.Certificate(host)
	passes := l.Stream(host) != nil
	if passes {
		p.note("TLS for %s is passed through, for which there has to be a TLSRoute and a listener of protocol TLS with mode Passthrough; what is here is for requests without TLS", hostText(host))
	} else {
		p.secured = appendRule(p.secured, made)
	}
	if r.Route.HTTPSRedirect == nil {
		p.plain = appendRule(p.plain, made)
		return
	}
	if !certified && !passes {
		p.note("requests without TLS are not sent to HTTPS, as there is no certificate for %s: behind a balancer that ends TLS they would be sent round and round", hostText(host))
		p.plain = appendRule(p.plain, made)
		return
	}
	if r.When != nil {
		return // the main rule sends them all
	}
	away := gateway.HTTPRouteRule{Matches: made.Matches, Filters: []gateway.HTTPRouteFilter{{
		Type:            gateway.HTTPRouteFilterRequestRedirect,
		RequestRedirect: &gateway.HTTPRequestRedirectFilter{Scheme: ptr("https"), StatusCode: ptr(r.Route.HTTPSRedirect.Status)},
	}}}
	p.plain = appendRule(p.plain, away)
}

// appendRule adds a rule to a list, or its match to the last rule if that does the same.
func appendRule(rules []gateway.HTTPRouteRule, made gateway.HTTPRouteRule) []gateway.HTTPRouteRule {
	if len(rules) > 0 {
		last := &rules[len(rules)-1]
		if len(last.Matches)+len(made.Matches) <= maxMatches && sameAction(*last, made) && !ofPrefix(made) {
			last.Matches = append(slices.Clone(last.Matches), made.Matches...)
			return rules
		}
	}
	return append(rules, made)
}

// door returns the Gateway of a class.
func (c *converter) door(class string) *doors {
	d := c.doors[class]
	if d == nil {
		d = &doors{name: dnsName(class), secured: map[string]l7.CertificateID{}}
		c.doors[class] = d
	}
	return d
}

// grants lets Gateways use certificates of other namespaces.
func (c *converter) grants() []Document {
	secrets := map[l7.CertificateID]bool{}
	for _, d := range c.doors {
		for _, id := range d.secured {
			if id.Namespace != c.to.Namespace {
				secrets[id] = true
			}
		}
	}
	byNamespace := map[string]*gateway.ReferenceGrant{}
	all := slices.SortedFunc(maps.Keys(secrets), func(a, b l7.CertificateID) int { return desired.Name(a).Compare(desired.Name(b)) })
	var documents []Document
	for _, id := range all {
		grant := byNamespace[id.Namespace]
		if grant == nil {
			grant = &gateway.ReferenceGrant{TypeMeta: typeMeta("ReferenceGrant"), ObjectMeta: metav1.ObjectMeta{Namespace: id.Namespace, Name: "gateway-certificates"}}
			for _, kind := range []gateway.Kind{"Gateway", "ListenerSet"} {
				grant.Spec.From = append(grant.Spec.From, gateway.ReferenceGrantFrom{Group: gateway.GroupName, Kind: kind, Namespace: gateway.Namespace(c.to.Namespace)})
			}
			byNamespace[id.Namespace] = grant
			documents = append(documents, Document{Object: grant})
		}
		if len(grant.Spec.To) == 16 { // the bound; then for all Secrets of the namespace
			grant.Spec.To = []gateway.ReferenceGrantTo{{Kind: "Secret"}}
		}
		if len(grant.Spec.To) == 0 || grant.Spec.To[0].Name != nil {
			grant.Spec.To = append(grant.Spec.To, gateway.ReferenceGrantTo{Kind: "Secret", Name: ptr(gateway.ObjectName(id.Name))})
		}
	}
	return documents
}

func typeMeta(kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: gateway.GroupVersion.String(), Kind: kind}
}

func ptr[T any](value T) *T { return &value }

func hostText(host string) string {
	if host == "" {
		return "hosts that no rule names"
	}
	return host
}

// dnsName makes a name of an object of a text.
func dnsName(text string) string {
	made := strings.Trim(strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '.' {
			return c
		}
		return '-'
	}, strings.ToLower(text)), "-.")
	if made == "" {
		return "ingress"
	}
	return made[:min(len(made), 200)]
}
