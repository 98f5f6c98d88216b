package filter

import "testing"

func TestAnswer(t *testing.T) {
	host, _ := ParseTemplate("https://$host/")
	a := Answer{
		Redirects:     []Replacement{{"http://inner/", host}, {"/", Literal("/shop/")}},
		CookieDomains: []Replacement{{"inner.example", Literal("shop.example")}},
		CookiePaths:   []Replacement{{"/two/", Literal("/")}, {"/", Literal("/; SameSite=None")}},
	}
	for text, want := range map[string]string{
		"http://inner/a?b": "https://shop.example/a?b", "/x": "/shop/x", "https://other/": "https://other/", "": "",
	} {
		if got := a.Redirect(text, shown); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]string{"5; url=/x": "5; url=/shop/x", "5;URL=http://inner/": "5;URL=https://shop.example/", "5": "5"} {
		if got := a.Refresh(text, shown); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"a=b; Domain=.Inner.example; Path=/two/three": "a=b; Domain=shop.example; Path=/three",
		"a=b;path=/x;Secure":                          "a=b;path=/; SameSite=Nonex;Secure",
		"path=/two/; Domain=other.example":            "path=/two/; Domain=other.example",
		"a=b":                                         "a=b",
	} {
		if got := a.Cookie(text, shown); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
