package nginx

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

func TestParseSnippet(t *testing.T) {
	got, err := parseSnippet("# a comment; with }\nadd_header 'X-A' \"b \\\"c\\\" ; {\" always;\n\nif ($host ~ '^a\\.b$') { return 403; }more_set_headers \"X: ${host}y\" ;")
	if err != nil {
		t.Fatal(err)
	}
	if want := `[{2 [add_header X-A b "c" ; { always] [] false} {4 [if ($host ~ ^a\.b$ )] [{4 [return 403] [] false}] true} {4 [more_set_headers X: ${host}y] [] false}]`; fmt.Sprint(got) != want {
		t.Errorf("%v", got)
	}
	for text, want := range map[string]string{
		"a": "line 1: a semicolon", "\n\na {": "line 3: a brace is not", "}": "closed that was not", "a { b { c; } }": "opened where none", "a 'b": "a quote is not", ";": "no directive",
		"a 'b'c;": "follows a quote", strings.Repeat("a;", 200): "more than 128", strings.Repeat("#", 20000): "octets", "a { b }": "a semicolon", "a \x00;": "null", "{}": "opened where none",
	} {
		if _, err := parseSnippet(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, want %q", text, err, want)
		}
	}
}

// TestSnippets holds which directives are taken, and that all others close the Ingress.
func TestSnippets(t *testing.T) {
	o, problems := Read(annotated("configuration-snippet", `
		add_header X-A "a $host";
		more_set_headers "X-B: b" "X-C:";
		more_clear_headers Server;
		proxy_set_header X-D $remote_addr;
		proxy_set_header Accept-Encoding "";
		more_set_input_headers "X-E: e";
		if ($http_user_agent ~* "bot|crawler") { return 403; }
		rewrite ^/old/(.*)$ /new/$1 permanent;
		`, "server-snippet", `if ($host = "old.example") { return 301 https://new.example$request_uri; } return 200 "all of $uri";`,
		"auth-url", "http://auth", "auth-snippet", "proxy_set_header X-F f;"))
	if len(problems) > 0 || o.Closed {
		t.Fatal(problems)
	}
	s := o.Filters.Snippet
	if len(s.First) != 2 || len(s.Steps) != 2 || len(s.Request) != 3 || len(s.Answer) != 4 || len(o.Filters.Auth.External.Snippet) != 1 {
		t.Errorf("%+v", s)
	}
	for text, want := range map[string]string{
		"deny all;":                                          "use annotation denylist",
		"lua_need_request_body on;":                          "line 1: lua_need_request_body is not supported",
		"\nproxy_pass http://kubernetes.default;":            "line 2: proxy_pass is not supported",
		"location /x { return 200; }":                        "nor is any block but if",
		"if ($host = a) { proxy_set_header A b; }":           "only return and rewrite",
		"if ($host = a) { return 403; deny all; }":           "line 1: deny is not supported within if",
		"if (-f /etc/passwd) { return 403; }":                "not ($variable OPERATOR TEXT)",
		"if ($host = $http_x) { return 403; }":               "compares with a variable",
		"if ($host > a) { return 403; }":                     "operator \">\"",
		"if ($host ~ \"(\") { return 403; }":                 "no regular expression",
		"if ($host ~ \"(abcdefghij){101}\") { return 403; }": "at most 200",
		"if $host { return 403; }":                           "no condition in parentheses",
		"if ($host = a);":                                    "has no block",
		"add_header X \"$pid\";":                             "$pid, which is not supported",
		"add_header X \"a\tb\";":                             "must not have",
		"add_header Content-Length 5;":                       "no name of a field",
		"proxy_set_header Host x;":                           "upstream-vhost",
		"proxy_set_header Transfer-Encoding chunked;":        "no name of a field",
		"more_set_headers -s 404 'X: y';":                    "option -s",
		"return 444;":                                        "neither STATUS",
		"return 301 javascript:alert(1);":                    "begins with none of",
		"return 302 $arg_to;":                                "begins with none of",
		"rewrite ^/a$ /b last;":                              "rewrite-target",
		"rewrite ^/a$ /b;":                                   "rewrite-target",
		"add_header X y":                                     "a semicolon is missing",
		"set $x y;":                                          "set is not supported",
		"include /etc/passwd;":                               "include is not supported",
	} {
		for _, annotation := range []string{"configuration-snippet", "server-snippet", "auth-snippet"} {
			if o, problems := Read(annotated(annotation, text)); !o.Closed || len(problems) != 1 || !strings.Contains(problems[0].Message, want) {
				t.Errorf("%s %q: closed %t, %v; want %q", annotation, text, o.Closed, problems, want)
			}
		}
	}
}

// shop is a request to shop.example.
func shop(v filter.Variable, _ string) string {
	switch v {
	case filter.Host:
		return "shop.example"
	case filter.URI:
		return "/old/a b/c?"
	case filter.Args:
		return "x=y"
	case filter.RequestURI:
		return "/old/a%20b/c%3F?x=y"
	}
	return ""
}

// TestSteps holds what steps answer.
func TestSteps(t *testing.T) {
	for text, want := range map[string]string{
		"return 403;":                                             "403 ",
		"return 200 'at $host';":                                  "200 at shop.example",
		"return https://a$request_uri;":                           "302 https://a/old/a%20b/c%3F?x=y",
		"if ($host = shop.example) { return 410; }":               "410 ",
		"if ($host = 'shop.example') { return 410; }":             "410 ",
		"if ( $host = shop.example ) { return 410; }":             "410 ",
		"if ($host != shop.example) { return 410; }":              "",
		"if ($host ~ ^SHOP) { return 410; }":                      "",
		"if ($host ~* ^SHOP) { return 410; }":                     "410 ",
		"if ($host !~* ^SHOP) { return 410; } return 200;":        "200 ",
		"if ($http_x) { return 410; }":                            "",
		"if ($http_x = \"\") { return 410; }":                     "410 ",
		"if ($host) { return 410; } return 200;":                  "410 ",
		"rewrite ^/old/(.*)$ /new/$1 permanent;":                  "301 /new/a%20b/c%3F?x=y",
		"rewrite ^/old/([^/]*)/.* https://$host/$1?z=1 redirect;": "302 https://shop.example/a%20b?z=1&x=y",
		"rewrite ^/old/.* https://other.example/?;":               "302 https://other.example/",
		"rewrite ^/other/(.*)$ /new/$1 permanent;":                "",
	} {
		o, problems := Read(annotated("configuration-snippet", text))
		got := ""
		if len(problems) > 0 {
			t.Errorf("%q: %v", text, problems)
			continue
		}
		for _, step := range o.Filters.Snippet.Steps {
			if answer, ok := step.Answers(shop); ok {
				got = fmt.Sprintf("%d %s", step.Status, answer)
				break
			}
		}
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func FuzzSnippet(f *testing.F) {
	f.Add("add_header X \"a $host\" always;\nif ($http_x ~* 'a\\'b') { return 301 https://x$request_uri; }")
	f.Add("rewrite ^/(a|b)$ /$1 permanent; more_set_headers 'X: y' \"Z:\"; proxy_set_header A ''; # c")
	f.Fuzz(func(t *testing.T, text string) {
		o, problems := Read(annotated("configuration-snippet", text))
		if o.Closed != (len(problems) > 0) {
			t.Errorf("closed %t, %v", o.Closed, problems)
		}
		s := o.Filters.Snippet
		if s == nil {
			return
		}
		for _, f := range s.Request {
			if !filter.FieldName(f.Name) || strings.ContainsAny(f.Value.String(), "\r\n\x00") {
				t.Errorf("%+v", f)
			}
		}
		for _, f := range s.Answer {
			if !filter.FieldName(f.Name) || strings.ContainsAny(f.Value.String(), "\r\n\x00") {
				t.Errorf("%+v", f)
			}
		}
		for _, step := range s.Steps {
			if answer, ok := step.Answers(shop); ok && redirects(step.Status) && strings.ContainsAny(answer, "\r\n ") {
				t.Errorf("redirects to %q", answer)
			}
		}
	})
}
