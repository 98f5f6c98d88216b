package l7

import (
	"fmt"
	"strings"
	"testing"
	"time"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7/nginx"
)

// expressions returns an Ingress whose paths, all at one host, are regular expressions.
func expressions(namespace, name string, created int, paths ...string) *networkingv1.Ingress {
	var all []testPath
	for _, path := range paths {
		all = append(all, testPath{"shop.example.com", path, "ImplementationSpecific", "x"})
	}
	o := testIngress(namespace, name, created, all...)
	o.Annotations = map[string]string{nginx.Prefix + "use-regex": "true"}
	return o
}

// tableOf compiles Ingresses, and returns who has had paths left out as too costly.
func tableOf(t *testing.T, all ...*networkingv1.Ingress) (*Routes, map[string]int) {
	t.Helper()
	o := desired.Objects{Synced: true}
	o.IngressClasses = o.IngressClasses.Set("fairlead", testClass("fairlead", Controller))
	state, _ := desired.Build(withIngresses(o, all), desired.Node{}, nil)
	table, reasons := Compile(state, Table{}, Config{})
	refused := map[string]int{}
	for _, r := range reasons {
		if r.Code == "ExpressionsTooMany" {
			refused[r.Object.Namespace+"/"+r.Object.Name]++
		}
	}
	return table.Listeners[ListenerHTTP].Routes, refused
}

// bombs are n expressions that cost much, each for every path.
func bombs(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("/.*%s%d", strings.Repeat("a?", 10), i))
	}
	return all
}

// TestExpressionShares holds that no namespace's expressions leave less room for
// another's at a host, and that what has no room is said at its Ingress.
func TestExpressionShares(t *testing.T) {
	var usual []string
	for i := range 300 {
		usual = append(usual, fmt.Sprintf("/service-%d(/|$)(.*)", i))
	}
	routes, refused := tableOf(t,
		expressions("evil", "first", 2, bombs(100)...), expressions("evil", "second", 3, bombs(100)...),
		expressions("owner", "oldest", 1, "/own"), expressions("owner", "youngest", 9, usual...), expressions("guest", "usual", 10, "/guest(/|$)(.*)"),
	)
	if refused["evil/first"] < 90 || refused["evil/second"] < 90 || refused["owner/youngest"] != 0 || refused["guest/usual"] != 0 {
		t.Errorf("left out: %v", refused)
	}
	h := routes.host("shop.example.com")
	if h.longest < 4000 || h.longestOfGuests < 1000 {
		t.Errorf("paths up to %d octets, for guests %d", h.longest, h.longestOfGuests)
	}
	for path, want := range map[string]string{"/service-7/x": "youngest", "/guest/x": "usual", "/service-7/" + strings.Repeat("x", 3000): "youngest"} {
		if got := routes.Match(&Request{Host: "shop.example.com", Path: path}); got == nil || got.Source.Name != want {
			t.Errorf("%.20s: %v, want %s", path, got, want)
		}
	}
	// What guests cost shuts out no request of the owners.
	long := "/guest/" + strings.Repeat("x", h.longestOfGuests)
	if got := routes.Match(&Request{Host: "shop.example.com", Path: long}); got != &tooLong {
		t.Errorf("%v for a long path", got)
	}
	withDefault := expressions("owner", "oldest", 1, "/own")
	withDefault.Spec.DefaultBackend = &networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: "x", Port: networkingv1.ServiceBackendPort{Number: 80}}}
	routes, _ = tableOf(t, withDefault, expressions("evil", "first", 2, bombs(100)...))
	if got := routes.Match(&Request{Host: "shop.example.com", Path: long}); got == nil || got.Rule != "defaultBackend" {
		t.Errorf("%v for a long path, want the owner's default", got)
	}
}

// TestManyExpressions holds that also cheap ones are bounded in number, and in what it
// takes to find that out.
func TestManyExpressions(t *testing.T) {
	var many []string
	for i := range 3000 {
		many = append(many, fmt.Sprintf("/p%d", i))
	}
	start := time.Now()
	_, refused := tableOf(t, expressions("owner", "oldest", 1, many...), expressions("guest", "many", 2, append(many, "/x.")...))
	if refused["owner/oldest"] != 3000-maxPaths || refused["guest/many"] < 3001-maxGuestPaths-1 {
		t.Errorf("left out: %v", refused)
	}
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("%s to compile", d)
	}
}

// TestBudget compares what is counted as expressions come in with the sum over each
// path.
func TestBudget(t *testing.T) {
	b := budget{maxWidth: 1 << 30, maxPaths: 1 << 30}
	var in []*expression
	for i, prefix := range []string{"/a", "/ab", "/", "/b", "/abc", "/a", "", "/abd", "/b", "/"} {
		e := &expression{prefix: prefix, width: 1 << i}
		in = append(in, e)
		b.add(e)
		want := 0
		for _, at := range in {
			sum := 0
			for _, other := range in {
				if strings.HasPrefix(at.prefix, other.prefix) {
					sum += other.width
				}
			}
			want = max(want, sum)
		}
		if b.width != want {
			t.Errorf("with %q: %d, want %d", prefix, b.width, want)
		}
	}
}

func TestTextBegin(t *testing.T) {
	for text, want := range map[string]string{
		"/API/(.*)": "/api/", "/a|/b": "/", "/ab|/ac": "/a", "/x?y": "/", "/x{2}": "/", "x*": "", "(/a)": "", "[/]a": "/a", "/caf\u00e9/x": "/caf", "/a.b": "/a", `/a\.b(`: "-", "/kiss": "/kiss",
		"/a)|(?:/b": "-",
	} {
		e, err := parseExpression(text)
		if got := "-"; want == "-" != (err != nil) || err == nil && e.prefix != want {
			if err == nil {
				got = e.prefix
			}
			t.Errorf("%s: %q, %v, want %q", text, got, err, want)
		}
	}
	for path, want := range map[string]bool{"/kiss": true, "/KISSes": true, "/\u212ai\u017f\u017f": true, "/kis": false, "/kisx": false, "": false} {
		if got := begins(path, "/kiss"); got != want {
			t.Errorf("%s: %t", path, got)
		}
	}
}

// FuzzExpression holds that looking at how a path begins first leaves no match out.
func FuzzExpression(f *testing.F) {
	for _, seed := range [][2]string{{"/a|/b", "/B"}, {"/k.", "/\u212ax"}, {"(?-i:/A)b", "/Ab"}, {"/x?y", "/y"}, {"^/a", "/a"}, {"(?m)^/a", "/a"}, {"(?s).*/a$", "x\n/a"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, text, path string) {
		e, err := parseExpression(text)
		if err == nil && e.re != nil && e.re.MatchString(path) != e.matches(path) {
			t.Fatalf("%q on %q: %t, with the text %q in front", text, path, e.matches(path), e.prefix)
		}
	})
}
