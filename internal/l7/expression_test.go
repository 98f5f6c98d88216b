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
			t.Errorf("%.40s: %d steps", text, e.size)
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
		{"/x(.)(.)(.*)", "/$1$2$3", "/x../etc", "/"},
		{"/foo", "/bar", "/foo/baz", "/bar"},
		{"/(.*)", "/$1", "/a%2Fb", "/a%2Fb"},
		{"/a(..)", "/$1", "/a%2Fb", "/"},
		{"/a(.*)b(.*)", "/$1$2", "/a%2Fb../c", "/"},
	} {
		e, err := parseExpression(c.expr)
		if err != nil {
			t.Fatal(err)
		}
		got := (&PathRewrite{Target: c.target, expr: e}).Apply(c.path)
		if match, _, err := Normalize(Encode(got)); got != c.want || err != nil || match != got {
			t.Errorf("%+v: %s, sent as %s, %v", c, got, Encode(got), err)
		}
	}
}

// TestLongValue holds that what a value may cost is bounded: a long one is not compared.
func TestLongValue(t *testing.T) {
	m := FieldMatch{Name: "x", Regexp: regexp.MustCompile("a")}
	if !m.value(strings.Repeat("a", maxMatched)) || m.value(strings.Repeat("a", maxMatched+1)) {
		t.Error("not bounded where it should be")
	}
}
