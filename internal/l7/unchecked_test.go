package l7

import (
	"fmt"
	"maps"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7/nginx"
)

// stateOf says in a word what becomes of requests for a host and path.
func stateOf(t Table, host, path string) string {
	r := t.Listeners[ListenerHTTP].Routes.Match(&Request{Method: "GET", Host: host, Path: path})
	switch {
	case r == nil:
		return "absent"
	case len(r.Backends) == 0:
		return "closed"
	case r.Filters == nil || r.Filters.ModSecurity == nil:
		return "free"
	}
	switch rules, open := r.Filters.ModSecurity.InForce(); {
	case open:
		return "open"
	case rules != nil:
		return "checked"
	}
	return "waits"
}

// shopIngress is one of a namespace with annotations, some of which are all kinds of
// filters, and paths of a host.
func shopIngress(annotations map[string]string, paths ...string) *networkingv1.Ingress {
	var all []testPath
	for _, p := range paths {
		all = append(all, testPath{"shop.example.com", p, "Prefix", "app"})
	}
	i := testIngress("a", "shop", 1, all...)
	i.Annotations = map[string]string{
		nginx.Prefix + "auth-url": "https://auth.example.com/$request_uri", nginx.Prefix + "limit-rps": "10", nginx.Prefix + "enable-cors": "true",
		nginx.Prefix + "affinity": "cookie", nginx.Prefix + "server-alias": "alias.example.com", nginx.Prefix + "whitelist-source-range": "10.0.0.0/8",
		nginx.Prefix + "upstream-vhost": "in.example.com", nginx.Prefix + "custom-http-errors": "404",
	}
	maps.Copy(i.Annotations, annotations)
	return i
}

// rulesText are annotations with a text of rules.
func rulesText(text string) map[string]string {
	return map[string]string{nginx.Prefix + "enable-modsecurity": "true", nginx.Prefix + "modsecurity-snippet": text}
}

// TestRulesTurnedOn holds that a Route which has been served without rules is until they are
// compiled, however the Ingress changes meanwhile, and that nothing else is.
func TestRulesTurnedOn(t *testing.T) {
	config, work := byHand()
	var table Table
	expect := func(step string, want map[string]string) {
		t.Helper()
		for path, is := range want {
			for _, host := range []string{"shop.example.com", "alias.example.com"} {
				if got := stateOf(table, host, path); got != is {
					t.Errorf("%s: %s%s is %s, want %s", step, host, path, got, is)
				}
			}
		}
	}
	apply := func(i ...*networkingv1.Ingress) { table, _ = guarded(i, table, config) }
	apply(shopIngress(rulesText("SecMarker on-0"), "/"))
	expect("a first Table", map[string]string{"/": "waits"})
	apply(shopIngress(nil, "/"))
	expect("off", map[string]string{"/": "free"})
	apply(shopIngress(rulesText("SecMarker on-1"), "/new", "/"))
	expect("on", map[string]string{"/": "open", "/new": "waits"})
	config.HTTP3 = true // nothing of the Table stays
	apply(shopIngress(rulesText("SecMarker on-2"), "/new", "/"), guardedIngress("b", "other", 2, "SecMarker on-2"))
	expect("another text", map[string]string{"/": "open", "/new": "waits"})
	if got := stateOf(table, "other.example.com", "/"); got != "waits" {
		t.Errorf("another Ingress, which is new, is %s", got)
	}
	work()
	expect("compiled", map[string]string{"/": "checked", "/new": "checked"})
	for n := range 5 {
		apply(shopIngress(rulesText(fmt.Sprint("SecMarker more-", n)), "/new", "/"))
		expect("has been checked", map[string]string{"/": "checked", "/new": "checked"})
	}
	apply(shopIngress(nil, "/"))
	expect("off again", map[string]string{"/": "free", "/new": "free"}) // of which / is a prefix
	apply(shopIngress(rulesText(`SecRule NOTHING "a" "id:1,deny"`), "/"))
	expect("a wrong text", map[string]string{"/": "open"})
	work()
	expect("a wrong text is compiled", map[string]string{"/": "waits"})
	apply(shopIngress(rulesText("SecMarker corrected"), "/"))
	expect("corrected", map[string]string{"/": "waits"})
}

// TestRulesTurnedOnElse holds that what else changes of a Route along with its rules has it
// wait for them: it might be open to more than before.
func TestRulesTurnedOnElse(t *testing.T) {
	on := rulesText("SecMarker else")
	with := func(name, value string) map[string]string {
		all := maps.Clone(on)
		all[nginx.Prefix+name] = value
		return all
	}
	other := shopIngress(on, "/")
	other.Spec.Rules[0].HTTP.Paths[0].Backend.Service.Name = "other"
	renamed := shopIngress(on, "/")
	renamed.Name = "renamed"
	for name, i := range map[string]*networkingv1.Ingress{
		"its backend": other, "its Ingress": renamed, "its path": shopIngress(on, "/a"), "addresses": shopIngress(with("whitelist-source-range", "0.0.0.0/0"), "/"),
		"who is let in": shopIngress(with("auth-url", "https://x.example.com/"), "/"), "where it leads": shopIngress(with("upstream-vhost", "x.example.com"), "/"),
	} {
		config, work := byHand()
		table, _ := guarded([]*networkingv1.Ingress{shopIngress(nil, "/")}, Table{}, config)
		table, _ = guarded([]*networkingv1.Ingress{i}, table, config)
		if got := stateOf(table, "shop.example.com", "/a"); got != "waits" {
			t.Errorf("another is %s: %s", name, got)
		}
		work()
		if got := stateOf(table, "shop.example.com", "/a"); got != "checked" {
			t.Errorf("another is %s, compiled: %s", name, got)
		}
	}
}

// TestRulesTurnedOnPattern holds it of regular expressions and of what they are rewritten to.
func TestRulesTurnedOnPattern(t *testing.T) {
	config, _ := byHand()
	var table Table
	for _, want := range []string{"free", "open"} {
		i := shopIngress(map[string]string{nginx.Prefix + "use-regex": "true", nginx.Prefix + "rewrite-target": "/in/$1"}, "/a/(.*)")
		if want == "open" {
			maps.Copy(i.Annotations, rulesText("SecMarker pattern"))
		}
		kind := networkingv1.PathTypeImplementationSpecific
		i.Spec.Rules[0].HTTP.Paths[0].PathType = &kind
		table, _ = guarded([]*networkingv1.Ingress{i}, table, config)
		if got := stateOf(table, "shop.example.com", "/a/b"); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// TestRulesTurnedOnForAll holds the same of rules that the ConfigMap turns on, but not
// where it has not been read before.
func TestRulesTurnedOnForAll(t *testing.T) {
	for _, synced := range []bool{true, false} {
		config, work := byHand()
		config.IngressNginx = true
		i, class := shopIngress(nil, "/"), "nginx"
		i.Spec.IngressClassName = &class
		objects := withIngresses(bigObjects(0), []*networkingv1.Ingress{i})
		objects.IngressClasses, objects.Synced = objects.IngressClasses.Set("nginx", testClass("nginx", ControllerNginx)), synced
		state, _ := desired.Build(objects, desired.Node{}, nil)
		table, _ := Compile(state, Table{}, config)
		config.Nginx = &nginx.Settings{ModSecurity: nginx.ModSecurity{Enable: true, Snippet: "SecMarker all"}}
		objects.Synced = true
		state, _ = desired.Build(objects, desired.Node{}, state)
		table, _ = Compile(state, table, config)
		want := map[bool]string{true: "open", false: "waits"}[synced]
		if got := stateOf(table, "shop.example.com", "/"); got != want {
			t.Errorf("synced before %t: %s, want %s", synced, got, want)
		}
		work()
		if got := stateOf(table, "shop.example.com", "/"); got != "checked" {
			t.Errorf("synced before %t, compiled: %s", synced, got)
		}
	}
}
