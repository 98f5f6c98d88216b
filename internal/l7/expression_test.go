package l7

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestExpressionsAreBounded: none that would cost much is compiled, and finding that
// out costs little.
func TestExpressionsAreBounded(t *testing.T) {
	for _, text := range []string{
		"/(a{500}){500}", "/((((a{30}){30}){30}){30})", "/" + strings.Repeat("a?", 600), "/" + strings.Repeat("x", 2000), "/(", "/a**", `/(?P<n`, "/[z-a]",
		"/" + strings.Repeat("(a|b){9}", 100),
	} {
		if e, err := parseExpression(text); err == nil {
			t.Errorf("%.40s: %d steps", text, e.width)
		}
	}
	e, err := parseExpression("/(a+)+(b|[^/]*)*$")
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	e.matches("/" + strings.Repeat("a", 8000) + "!/")
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("%s for one path", d)
	}
}

func TestExpressionMatches(t *testing.T) {
	for _, c := range []struct {
		text, path string
		want       bool
	}{
		{"/foo", "/FOObar", true}, {"/foo", "/fo", false}, {"/foo", "/x/foo", false}, {"/foo$", "/foo", true}, {"/foo$", "/foo/", false},
		{"/a|/b", "/b", true}, {"/a|/b", "/x/b", false}, {"/a.c", "/aXc", true}, {"/api(/|$)(.*)", "/API/x", true}, {"/api(/|$)(.*)", "/apis", false},
	} {
		e, err := parseExpression(c.text)
		if err != nil || e.matches(c.path) != c.want {
			t.Errorf("%s on %s: %v, not %t", c.text, c.path, err, c.want)
		}
	}
}

func TestPathRewrite(t *testing.T) {
	for _, c := range []struct{ expr, target, path, want string }{
		{"/api(/|$)(.*)", "/$2", "/api/v1/x", "/v1/x"},
		{"/api(/|$)(.*)", "/$2", "/api", "/"},
		{"/api(.*)", "/new/$1", "/api/x", "/new/x"},
		{"/api(.*)", "$1", "/apix", "/x"},
		{"/(.*)", "/$1/$9/$1", "/a", "/a/a"},
		{"/foo", "/bar", "/foo/baz", "/bar"},
		{"/(.*)", "/$1", "/a%2Fb", "/a%2Fb"},
		{"/(.*)", "/in/$1", "/a b?\"/", "/in/a b?\"/"},
		{"/(.*)", "/in//$1", "/", "/in/"},
		// What would lead elsewhere than the target says is refused.
		{"/x(.)(.)(.*)", "/$1$2$3", "/x../etc", ""},
		{"/x(.*)", "/in/$1", "/x..", ""},
		{"/x(.*)", "/in/$1", "/x.", ""},
		{"/x(.*)", "/in/$1", "/x..;a/b", ""},
		{"/x(.*)", "/in/$1", `/x..\b`, ""},
		{"/a(..)", "/$1", "/a%2Fb", ""},
		{"/a(..).*", "/in/$1e$1e/b", "/a%2Fb", ""},
		{"/a(.*)b(.*)", "/$1$2", "/a%2Fb../c", ""},
	} {
		e, err := parseExpression(c.expr)
		if err != nil {
			t.Fatal(err)
		}
		got, err := (&PathRewrite{Target: c.target, expr: e}).Apply(c.path)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%+v: %s, %v", c, got, err)
		}
	}
}

// FuzzPathRewrite holds that whatever a rewrite makes of a path is sent as what it is,
// and is below what the target begins with.
func FuzzPathRewrite(f *testing.F) {
	for _, seed := range []string{"/x../etc", "/a%2Fb../c", "/x%252e", "/x/..;/", `/x%5c`, "/x%0d%0a", "/caf\xc3\xa9", "/x%c0%ae"} {
		f.Add("/(.)(.?.?)(.*)", "$2$1$3", seed)
		f.Add("/x(.*)", "$1/$1", seed)
	}
	f.Fuzz(func(t *testing.T, expr, target, path string) {
		e, err := parseExpression(expr)
		match, _, invalid := Normalize(path)
		if err != nil || invalid != nil {
			return
		}
		got, err := (&PathRewrite{Target: "/in/" + target, expr: e}).Apply(match)
		if err != nil {
			return
		}
		read, wire, err := Normalize(Encode(got))
		if err != nil || read != got || wire != Encode(got) && len(wire) > len(Encode(got)) {
			t.Fatalf("%q: %q is sent as %q, which reads %q, %v", match, got, Encode(got), read, err)
		}
		if !strings.HasPrefix(got, "/in/") {
			t.Fatalf("%q leads to %q", match, got)
		}
		for i := range len(wire) {
			if wire[i] <= ' ' || wire[i] >= 0x7f {
				t.Fatalf("%q: sends octet %#x", match, wire[i])
			}
		}
	})
}

// TestLongValue holds that what a value may cost is bounded: a long one is not compared.
func TestLongValue(t *testing.T) {
	m := FieldMatch{Name: "x", Regexp: regexp.MustCompile("a")}
	if !m.value(strings.Repeat("a", maxMatched)) || m.value(strings.Repeat("a", maxMatched+1)) {
		t.Error("not bounded where it should be")
	}
}
