package filter

import (
	"strings"
	"testing"
)

// shown gives each variable a value that shows what was asked for.
func shown(v Variable, argument string) string {
	switch v {
	case Host:
		return "shop.example"
	case RequestURI:
		return "/a?b=c"
	case Header, Cookie, Argument:
		return "<" + argument + ">"
	}
	return "$host"
}

func TestTemplate(t *testing.T) {
	for text, want := range map[string]string{
		"":                       "",
		"plain":                  "plain",
		"https://$host/x":        "https://shop.example/x",
		"${host}name$host.":      "shop.examplenameshop.example.",
		"$http_X_User_id-1":      "<x-user-id>-1",
		"$cookie_Session":        "<Session>",
		"$arg_a$request_uri":     "<a>/a?b=c",
		"$request_method ${uri}": "$host $host",
	} {
		made, err := ParseTemplate(text)
		if got := string(made.Append(nil, shown)); err != nil || got != want || made.String() != text {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"$":                         "no name of a variable",
		"a$1":                       "no name of a variable",
		"$pid":                      "$pid, which is not supported",
		"${host":                    "without a name",
		"${ho-st}":                  "without a name",
		"$http_":                    "$http_, which is not supported",
		strings.Repeat("$host", 90): "more than 32",
		strings.Repeat("x", 3000):   "more than 2048",
	} {
		if _, err := ParseTemplate(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, want %q", text, err, want)
		}
	}
	if got := string(AppendEscaped(nil, "/a b?c=d&e~")); got != "%2Fa%20b%3Fc%3Dd%26e~" {
		t.Error(got)
	}
	made, _ := ParseTemplate("https://x/<>?$http_a b")
	if got := string(made.AppendURL(nil, shown)); got != "https://x/<>?%3Ca%3E b" {
		t.Error(got)
	}
}

func FuzzTemplate(f *testing.F) {
	f.Add("https://$host/${uri}?$http_x")
	f.Fuzz(func(t *testing.T, text string) {
		made, err := ParseTemplate(text)
		if err != nil {
			return
		}
		if made.Plain() && string(made.Append(nil, shown)) != text {
			t.Errorf("%q changes", text)
		}
		for _, c := range made.AppendURL(nil, shown) {
			if c <= ' ' && strings.IndexByte(text, c) < 0 {
				t.Errorf("%q makes %q", text, c)
			}
		}
	})
}
