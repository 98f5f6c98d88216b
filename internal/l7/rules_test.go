package l7

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7/nginx"
	"github.com/fairlead-net/fairlead/internal/l7/waf"
)

// byHand returns a Config whose rules are compiled when the test calls work.
func byHand() (c Config, work func()) {
	var waiting func()
	compiler := waf.NewCompiler()
	compiler.Run = func(work func()) { waiting = work }
	return Config{ModSecurity: true, Rules: compiler}, func() {
		if work := waiting; work != nil {
			waiting = nil
			work()
		}
	}
}

// guardedIngress is one with a text of rules, whose host is its name; an empty text is
// none.
func guardedIngress(namespace, name string, created int, text string) *networkingv1.Ingress {
	i := testIngress(namespace, name, created, testPath{name + ".example.com", "/", "Prefix", "app"})
	if text != "" {
		i.Annotations = map[string]string{nginx.Prefix + "enable-modsecurity": "true", nginx.Prefix + "modsecurity-snippet": text}
	}
	return i
}

// guarded compiles Ingresses. Of the Reasons those about rules are returned.
func guarded(all []*networkingv1.Ingress, last Table, c Config) (Table, []desired.Reason) {
	state, _ := desired.Build(withIngresses(bigObjects(0), all), desired.Node{}, last.state)
	t, reasons := Compile(state, last, c)
	return t, slices.DeleteFunc(slices.Clone(reasons), func(r desired.Reason) bool { return !strings.HasPrefix(r.Code, "Rules") })
}

// routeOf returns the Route of an Ingress that guardedIngress has made.
func routeOf(t Table, name string) *Route {
	return t.Listeners[ListenerHTTP].Routes.Match(&Request{Method: "GET", Host: name + ".example.com", Path: "/"})
}

// refusedBy returns the names of Ingresses that have a Reason of a code.
func refusedBy(reasons []desired.Reason, code string) map[string]string {
	found := map[string]string{}
	for _, r := range reasons {
		if r.Code == code {
			found[r.Object.Name] = r.Message
		}
	}
	return found
}

// TestRulesDivided holds that namespaces share the places for texts: who wants few has
// all of them, though others want more, and were there before.
func TestRulesDivided(t *testing.T) {
	const greedy = 12
	var all []*networkingv1.Ingress
	namespaceOf := map[string]string{}
	add := func(namespace, name string, created int) {
		all = append(all, guardedIngress(namespace, name, created, "SecMarker "+name))
		namespaceOf[name] = namespace
	}
	for n := range greedy {
		for k := range 2 * waf.MaxOwn {
			add(fmt.Sprintf("greedy-%d", n), fmt.Sprintf("g%d-%d", n, k), 100*n+k)
		}
	}
	add("victim", "v1", 10000)
	add("victim", "v2", 10001)
	config, _ := byHand()
	table, reasons := guarded(all, Table{}, config)
	refused := refusedBy(reasons, "RulesTooMany")
	places := map[string]int{}
	for name, namespace := range namespaceOf {
		closed := routeOf(table, name).Status == 503
		if _, said := refused[name]; said != closed {
			t.Errorf("%s: closed %t, said %t", name, closed, said)
		}
		if !closed {
			places[namespace]++
		}
	}
	sum := 0
	for namespace, n := range places {
		if sum += n; namespace != "victim" && n != (waf.MaxSets-2)/greedy && n != (waf.MaxSets-2)/greedy+1 {
			t.Errorf("namespace %s has %d places", namespace, n)
		}
	}
	if sum != waf.MaxSets || places["victim"] != 2 {
		t.Errorf("%d places in all, %v", sum, places)
	}
	if text := refused["g0-15"]; !strings.Contains(text, "older Ingresses of namespace greedy-0 have 8") || !strings.Contains(refused["g0-7"], "more than 64") {
		t.Errorf("%q, %q", text, refused["g0-7"])
	}
	// The order plays no part, nor what was there before.
	rng := rand.New(rand.NewPCG(1, 2))
	for range 4 {
		rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		half, _ := guarded(all[:len(all)/2], Table{}, config)
		_, other := guarded(all, half, config)
		if diff := gocmp.Diff(reasons, other); diff != "" {
			t.Fatalf("-one order +another:\n%s", diff)
		}
	}
	// A place that is free again is given to who waits for one.
	_, reasons = guarded([]*networkingv1.Ingress{all[0], all[1], all[2]}, table, config)
	if len(reasons) > 0 {
		t.Errorf("there are places: %v", reasons)
	}
}

// TestRulesChanged holds that a namespace with as many texts as it may have can change
// them, though gateways still have what was before.
func TestRulesChanged(t *testing.T) {
	config, work := byHand()
	var all []*networkingv1.Ingress
	for n := range waf.MaxOwn {
		all = append(all, guardedIngress("a", fmt.Sprintf("i%d", n), n, fmt.Sprintf("SecMarker first%d", n)))
	}
	table, _ := guarded(all, Table{}, config)
	tables := []Table{table}
	for round := range 4 {
		for n := range all {
			all[n] = guardedIngress("a", fmt.Sprintf("i%d", n), n, fmt.Sprintf("SecMarker x%d-%d", round, n))
			work()
			var reasons []desired.Reason
			if table, reasons = guarded(all, table, config); len(reasons) > 0 {
				t.Fatalf("round %d, %d: %v", round, n, reasons)
			}
			tables = append(tables, table)
		}
	}
	work()
	for n := range all {
		if name := fmt.Sprintf("i%d", n); !routeOf(table, name).Filters.ModSecurity.Rules.Ready() {
			t.Errorf("%s: its last text is not compiled", name)
		}
	}
	if len(tables) != 4*waf.MaxOwn+1 { // they are in use until here
		t.Error(len(tables))
	}
}

// TestRulesLater follows the rules of an Ingress through texts: what is not compiled lets
// nothing through, or what was before is in force, and nobody else waits.
func TestRulesLater(t *testing.T) {
	config, work := byHand()
	var table Table
	var reasons []desired.Reason
	apply := func(text string) {
		table, reasons = guarded([]*networkingv1.Ingress{guardedIngress("a", "shop", 1, text), guardedIngress("b", "other", 2, "")}, table, config)
		if r := routeOf(table, "other"); len(r.Backends) != 1 {
			t.Errorf("%q: the other Ingress: %+v", text, r)
		}
	}
	inForce := func() *waf.Rules {
		rules, _ := routeOf(table, "shop").Filters.ModSecurity.InForce()
		return rules
	}
	apply("SecMarker one")
	if inForce() != nil || len(reasons) > 0 {
		t.Errorf("before: %v, %v", inForce(), reasons)
	}
	work()
	first := inForce()
	if first == nil {
		t.Fatal("nothing is in force when it is compiled")
	}
	apply("SecMarker one")
	if inForce() != first || len(table.index.pending) > 0 {
		t.Errorf("again: %v", table.index.pending)
	}
	apply("SecMarker two")
	if inForce() != first {
		t.Error("the former rules are not in force")
	}
	config.HTTP3 = true // nothing of the Table stays
	apply("SecMarker three")
	if inForce() != first {
		t.Error("the former rules are not in force once the Config is another one")
	}
	work()
	third := inForce()
	apply("SecMarker three")
	if m := routeOf(table, "shop").Filters.ModSecurity; third == nil || third == first || inForce() != third || m.Former != nil {
		t.Errorf("the new rules are not in force, or the former are kept: %+v", m)
	}
	apply(`SecRule NOTHING "a" "id:1,deny"`)
	if inForce() != third {
		t.Error("the former rules are not in force while a wrong text waits")
	}
	work()
	if inForce() != nil {
		t.Error("a wrong text lets requests through")
	}
	apply(`SecRule NOTHING "a" "id:1,deny"`)
	if said := refusedBy(reasons, "RulesInvalid")["shop"]; routeOf(table, "shop").Status != 503 || !strings.Contains(said, "line 1: ") {
		t.Errorf("%q, %+v", said, routeOf(table, "shop"))
	}
}

// TestRulesDelayed holds that it is said of an Ingress that its rules could not be
// compiled so far, and what is in force until then.
func TestRulesDelayed(t *testing.T) {
	former, err := waf.Shared().Compile("a", waf.Wanted{Own: "SecMarker former"})
	if err != nil {
		t.Fatal(err)
	}
	source := desired.ParseIngress(guardedIngress("a", "shop", 1, "SecMarker delayed"))
	for _, r := range []ruling{{pending: true, trouble: "it panicked"}, {pending: true, trouble: "it panicked", former: former}} {
		config, _ := byHand()
		i := readIngress(source, ours, &config, r)
		want := "503 until then"
		if r.former != nil {
			want = "the rules of before"
		}
		if said := refusedBy(i.reasons, "RulesDelayed")["shop"]; !strings.Contains(said, "it panicked; it is tried again") || !strings.Contains(said, want) || i.inForce() != r.former {
			t.Errorf("%q, in force %v", said, i.inForce())
		}
	}
}

// TestRulesIncremental changes Ingresses at random and expects the places to be those that
// a Table compiled at once has.
func TestRulesIncremental(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	config, _ := byHand()
	var all []*networkingv1.Ingress
	for n := range 20 * waf.MaxOwn {
		all = append(all, guardedIngress(fmt.Sprintf("ns-%d", rng.IntN(10)), fmt.Sprintf("i%d", n), rng.IntN(100), "SecMarker "+fmt.Sprint(n)))
	}
	table, most := Table{}, 0
	for step := range 60 {
		for range 1 + rng.IntN(5) {
			n := rng.IntN(len(all))
			i, text := all[n], []string{"", "SecMarker x", fmt.Sprintf("SecMarker s%d", step)}[rng.IntN(3)]
			all[n] = guardedIngress(i.Namespace, i.Name, rng.IntN(100), text)
		}
		some := all[:len(all)-rng.IntN(5)]
		var reasons []desired.Reason
		table, reasons = guarded(some, table, config)
		fresh, freshReasons := guarded(some, Table{}, config)
		if diff := gocmp.Diff(freshReasons, reasons); diff != "" {
			t.Fatalf("step %d, -fresh +incremental:\n%s", step, diff)
		}
		if table.index.ruled.Len() != fresh.index.ruled.Len() || len(table.index.pending) != len(fresh.index.pending) {
			t.Fatalf("step %d: something is left over", step)
		}
		most = max(most, len(reasons))
	}
	if most == 0 {
		t.Error("there were places for all")
	}
}
