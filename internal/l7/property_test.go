package l7

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// TestOrderPlaysNoPart builds the same Ingresses in several orders, and over several
// Tables before.
func TestOrderPlaysNoPart(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for range 60 {
		base := bigObjects(0)
		byName := map[string]*networkingv1.Ingress{}
		for range 1 + rng.IntN(8) {
			i := randomIngress(rng)
			byName[i.Namespace+"/"+i.Name] = i
		}
		var all []*networkingv1.Ingress
		for _, i := range byName {
			all = append(all, i)
		}
		state, _ := desired.Build(withIngresses(base, all), desired.Node{}, nil)
		first, firstReasons := Compile(state, Table{}, Config{})
		for range 3 {
			rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			half, _ := desired.Build(withIngresses(base, all[:len(all)/2]), desired.Node{}, nil)
			last, _ := Compile(half, Table{}, Config{})
			whole, _ := desired.Build(withIngresses(base, all), desired.Node{}, half)
			other, reasons := Compile(whole, last, Config{})
			if diff := gocmp.Diff(seen(first), seen(other)); diff != "" {
				t.Fatalf("-one order +another:\n%s", diff)
			}
			if diff := gocmp.Diff(firstReasons, reasons); diff != "" {
				t.Fatalf("reasons, -one order +another:\n%s", diff)
			}
		}
	}
}

// TestIncrementalEqualsFresh applies random changes and expects that the Table
// reached step by step is the one compiled at once.
func TestIncrementalEqualsFresh(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	o := bigObjects(0)
	var state *desired.State
	var table Table
	for step := range 300 {
		for range 1 + rng.IntN(3) {
			o = mutate(rng, o)
		}
		state, _ = desired.Build(o, desired.Node{}, state)
		var reasons, freshReasons []desired.Reason
		table, reasons = Compile(state, table, Config{IngressNginx: step > 200})
		fresh, freshReasons := Compile(state, Table{}, Config{IngressNginx: step > 200})
		if diff := gocmp.Diff(seen(fresh), seen(table)); diff != "" {
			t.Fatalf("step %d, -fresh +incremental:\n%s", step, diff)
		}
		if diff := gocmp.Diff(freshReasons, reasons); diff != "" {
			t.Fatalf("step %d, reasons, -fresh +incremental:\n%s", step, diff)
		}
		if fresh.Backends.Len() != table.Backends.Len() || fresh.index.ports.Len() != table.index.ports.Len() || fresh.index.hosts.Len() != table.index.hosts.Len() {
			t.Fatalf("step %d: something is left over", step)
		}
	}
}

func mutate(rng *rand.Rand, o desired.Objects) desired.Objects {
	i := randomIngress(rng)
	name := desired.Name{Namespace: i.Namespace, Name: i.Name}
	service := desired.Name{Namespace: "ns-" + pick(rng, testNames), Name: pick(rng, testNames)}
	switch rng.IntN(10) {
	case 0:
		o.Ingresses = o.Ingresses.Delete(name)
	case 1:
		o.Services, o.Slices = o.Services.Delete(service), o.Slices.Delete(service)
	case 2, 3, 4:
		s, slice := testService(service.Namespace, service.Name, rng.IntN(300))
		o.Services, o.Slices = o.Services.Set(service, s), o.Slices.Set(service, slice)
	case 5:
		class := pick(rng, []string{"fairlead", "other"})
		o.IngressClasses = o.IngressClasses.Set(class, testClass(class, pick(rng, []string{Controller, ControllerNginx, "example.com/other"})))
	default:
		o.Ingresses = o.Ingresses.Set(name, desired.ParseIngress(i))
	}
	return o
}

// TestMatchEqualsSecondReading compares the tree with the plain reading of the rule:
// of all rules that fit, the first by (kind, longest, Exact before Prefix).
func TestMatchEqualsSecondReading(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const letters = "ab/"
	word := func() string {
		var b strings.Builder
		b.WriteByte('/')
		for range rng.IntN(7) {
			b.WriteByte(letters[rng.IntN(len(letters))])
		}
		match, _, _ := Normalize(b.String())
		return match
	}
	for range 400 {
		var rules []rule
		used := map[place]bool{}
		for n := range 1 + rng.IntN(30) {
			r := rule{kind: []kind{exact, elements, text}[rng.IntN(3)], path: word(), route: &Route{Rule: fmt.Sprint(n)}}
			if r.kind == elements {
				r.path = strings.TrimSuffix(r.path, "/")
			}
			if !used[place{r.kind, r.path}] {
				used[place{r.kind, r.path}] = true
				rules = append(rules, r)
			}
		}
		h := newHost("", slices.Clone(rules))
		for range 40 {
			q := Request{Path: word()}
			var best *rule
			for i := range rules {
				if r := &rules[i]; r.fits(q.Path) && (best == nil || closer(r, best)) {
					best = r
				}
			}
			got := h.match(&q)
			if (got == nil) != (best == nil) || got != nil && got.route != best.route {
				t.Fatalf("%q: got %+v, want %+v of %+v", q.Path, got, best, rules)
			}
		}
	}
}

// closer tells which of two rules that fit goes first, in the words of the API.
func closer(a, b *rule) bool {
	order := map[kind]int{exact: 0, elements: 1, text: 2}
	return cmp.Or(cmp.Compare(len(b.path), len(a.path)), cmp.Compare(order[a.kind], order[b.kind])) < 0
}

// TestEndpointsMakeNoRoutes changes endpoints, and expects the Routes to be the same
// ones.
func TestEndpointsMakeNoRoutes(t *testing.T) {
	o := bigObjects(20)
	state, _ := desired.Build(o, desired.Node{}, nil)
	before, _ := Compile(state, Table{}, Config{})
	name := desired.Name{Namespace: "demo", Name: "app-3"}
	_, slice := testService(name.Namespace, name.Name, 999)
	o.Slices = o.Slices.Set(name, slice)
	state, _ = desired.Build(o, desired.Node{}, state)
	after, _ := Compile(state, before, Config{})
	if before.Listeners[ListenerHTTP] != after.Listeners[ListenerHTTP] {
		t.Error("the Listener is another one")
	}
	changed, id := 0, BackendID{Service: name, Port: "80"}
	for other, b := range after.Backends.All() {
		if old, _ := before.Backends.Get(other); old != b {
			changed++
		}
	}
	if b, _ := after.Backends.Get(id); changed != 1 || b.Endpoints[0].Address.String() != address(128, 999)+":8080" {
		t.Errorf("%d Backends changed, %+v", changed, b)
	}
}

// TestMatchAllocates nothing.
func TestMatchAllocates(t *testing.T) {
	o := bigObjects(10)
	i := testIngress("demo", "wild", 0, testPath{"*.wild.com", "/a", "Exact", "app-1"})
	o.Ingresses = o.Ingresses.Set(desired.Name{Namespace: "demo", Name: "wild"}, desired.ParseIngress(i))
	state, _ := desired.Build(o, desired.Node{}, nil)
	table, _ := Compile(state, Table{}, Config{})
	routes := table.Listeners[ListenerHTTP].Routes
	for _, q := range []Request{{Host: "app-3.example.com", Path: "/api/v7/items/42"}, {Host: "x.wild.com", Path: "/a"}, {Host: "nobody", Path: "/"}} {
		if n := testing.AllocsPerRun(100, func() { routes.Match(&q) }); n != 0 {
			t.Errorf("%v allocations for %+v", n, q)
		}
	}
}

// FuzzCompile compiles an Ingress with anything in it, and asks for its own paths.
func FuzzCompile(f *testing.F) {
	f.Add("a.example.com", "/a", "Prefix", "a.example.com", "s", "/a/b", "nginx.ingress.kubernetes.io/rewrite-target", "/$1")
	f.Add("*.example.com", "/(a|b){3}[", "ImplementationSpecific", "", "s", "/", "nginx.ingress.kubernetes.io/use-regex", "true")
	f.Fuzz(func(t *testing.T, host, path, kind, tlsHost, service, asked, annotation, value string) {
		i := testIngress("demo", "x", 1, testPath{host, path, kind, service}, testPath{host, "/", "Prefix", "app-0"})
		i.Spec.TLS = []networkingv1.IngressTLS{{Hosts: []string{tlsHost}, SecretName: service}}
		i.Annotations = map[string]string{annotation: value}
		o := bigObjects(1)
		o.Ingresses = o.Ingresses.Set(desired.Name{Namespace: "demo", Name: "x"}, desired.ParseIngress(i))
		state, _ := desired.Build(o, desired.Node{}, nil)
		table, _ := Compile(state, Table{}, Config{IngressNginx: true})
		match, _, err := Normalize(asked)
		if err != nil {
			return
		}
		for _, name := range []string{host, "a.example.com", ""} {
			q := Request{Method: "GET", Host: strings.ToLower(name), Path: match}
			e, route := table.Explain(ListenerHTTPS, q)
			if e.Answer == "" || route != table.Listeners[ListenerHTTP].Routes.Match(&q) {
				t.Fatalf("%+v: %+v", q, e)
			}
		}
	})
}
