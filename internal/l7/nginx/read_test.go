package nginx

import (
	"strings"
	"testing"
	"time"
)

// annotated puts the prefix in front of the names.
func annotated(pairs ...string) map[string]string {
	all := map[string]string{"example.com/other": "x"}
	for i := 0; i < len(pairs); i += 2 {
		all[Prefix+pairs[i]] = pairs[i+1]
	}
	return all
}

func TestRead(t *testing.T) {
	o, problems := Read(annotated(
		"use-regex", "true", "rewrite-target", "/$2/x", "app-root", "/home", "ssl-redirect", "false", "force-ssl-redirect", "true",
		"upstream-vhost", "inner.example.com:80", "x-forwarded-prefix", "/api", "backend-protocol", "grpcs",
		"proxy-connect-timeout", "5", "proxy-send-timeout", "60s", "proxy-read-timeout", "3600", "proxy-body-size", "8m",
		"whitelist-source-range", "10.0.0.0/8, 192.0.2.1", "denylist-source-range", "::ffff:10.9.0.0/112",
		"permanent-redirect", "https://example.com$request_uri", "permanent-redirect-code", "308",
		"canary", "true", "canary-by-header", "X-Canary", "canary-by-header-value", "yes", "canary-by-cookie", "c", "canary-weight", "30", "canary-weight-total", "200",
	))
	if len(problems) > 0 || o.Closed {
		t.Fatalf("%v %v", problems, o.Closed)
	}
	if !o.UseRegex || o.RewriteTarget != "/$2/x" || o.AppRoot != "/home" || o.SSLRedirect || !o.ForceSSLRedirect || o.UpstreamHost != "inner.example.com:80" ||
		o.ForwardedPrefix != "/api" || o.Protocol != "GRPCS" || o.Connect != 5*time.Second || o.Send != time.Minute || o.Read != time.Hour || o.MaxBody != 8<<20 || !o.HasMaxBody {
		t.Errorf("%+v", o)
	}
	if len(o.Allow) != 2 || o.Allow[1].String() != "192.0.2.1/32" || len(o.Deny) != 1 || o.Deny[0].String() != "10.9.0.0/16" {
		t.Errorf("%v %v", o.Allow, o.Deny)
	}
	if r := o.Redirect; r == nil || r.Status != 308 || r.Location != "https://example.com" || !r.AppendURI {
		t.Errorf("%+v", r)
	}
	if c := o.Canary; c == nil || c.Header != "x-canary" || c.HeaderValue != "yes" || c.Cookie != "c" || c.Weight != 30 || c.Total != 200 {
		t.Errorf("%+v", c)
	}
	if o, problems = Read(nil); !o.SSLRedirect || o.Closed || len(problems) > 0 {
		t.Errorf("without annotations: %+v %v", o, problems)
	}
	if o, _ = Read(annotated("temporal-redirect", "https://a/", "permanent-redirect", "https://b/")); o.Redirect.Location != "https://a/" || o.Redirect.Status != 302 {
		t.Errorf("%+v", o.Redirect)
	}
}

// TestWrongValues: what guards closes the Ingress, the rest is left out; each says
// what is wrong with it.
func TestWrongValues(t *testing.T) {
	for annotation, want := range map[string]struct {
		closes bool
		text   string
	}{
		"use-regex=maybe":                              {true, "is not true or false"},
		"rewrite-target=/a?b":                          {true, `has '?'`},
		"rewrite-target=/$host":                        {true, "has a $ that no digit"},
		"rewrite-target=https://a":                     {true, "does not begin with / or $"},
		"rewrite-target=/a;} location / {":             {true, `has ';'`},
		"app-root=//evil.example.com":                  {false, "begins with one slash"},
		"app-root=/a\r\nSet-Cookie: x":                 {false, "which a URL must not have"},
		"upstream-vhost=$http_x":                       {true, `has '$'`},
		"backend-protocol=FCGI":                        {true, "is none of HTTP"},
		"proxy-read-timeout=soon":                      {false, "number of seconds"},
		"proxy-body-size=big":                          {false, "is not a size"},
		"proxy-body-size=-1":                           {false, "is not a size"},
		"proxy-body-size=99999999g":                    {false, "is not a size"},
		"whitelist-source-range=10.0.0.0/8,office":     {true, `has "office"`},
		"denylist-source-range=::ffff:0.0.0.0/90":      {true, "write two ranges"},
		"whitelist-source-range=":                      {true, "names no range"},
		"permanent-redirect=javascript:alert(1)":       {true, "does not begin with"},
		"permanent-redirect=https://$host$request_uri": {true, `has '$'`},
		"auth-url=ftp://auth":                          {true, "is no URL of http or https"},
		"auth-url=https://auth/$pid":                   {true, "$pid, which is not supported"},
		"auth-type=digest":                             {true, "is not supported"},
		"auth-secret=users":                            {true, "is not basic"},
		"satisfy=some":                                 {true, "neither any nor all"},
		"auth-keepalive=3":                             {false, "has no effect here"},
		"auth-signin=https://a":                        {false, "no effect without auth-url"},
		"stream-snippet=deny all;":                     {true, "not supported yet"},
		"enable-global-auth=no!":                       {true, "is not true or false"},
		"ssl-redirct=true":                             {false, "did you mean ssl-redirect?"},
		"limit-rps=many":                               {true, "no whole number"},
		"limit-whitelist=office":                       {true, "neither ADDRESS"},
		"fastcgi-index=index.php":                      {false, "nothing speaks FastCGI"},
		"fastcgi-indices=index.php":                    {false, "not supported and is left out"},
		"canary=yes!":                                  {true, "is not true or false"},
	} {
		name, value, _ := strings.Cut(annotation, "=")
		o, problems := Read(annotated(name, value))
		if o.Closed != want.closes || len(problems) != 1 || !strings.Contains(problems[0].Message, want.text) {
			t.Errorf("%s: closed %t, %v; want %+v", annotation, o.Closed, problems, want)
		}
	}
	for _, pair := range [][2]string{
		{"canary-by-header", "a b"}, {"canary-by-header-pattern", "("}, {"canary-by-header-pattern", "((a{100}){100}){100}"}, {"canary-by-header-pattern", "(abcdefghij){101}"}, {"canary-by-cookie", "a;b"}, {"canary-weight", "half"},
	} {
		if o, problems := Read(annotated("canary", "true", pair[0], pair[1])); !o.Closed || len(problems) != 1 {
			t.Errorf("%v: closed %t, %v", pair, o.Closed, problems)
		}
	}
}

// FuzzRead: nothing breaks it, and what gets through has no character that ends a
// header or begins a variable.
func FuzzRead(f *testing.F) {
	f.Add("rewrite-target", "/$1", "app-root", "/x")
	f.Add("permanent-redirect", "https://a$request_uri", "permanent-redirect-code", "307")
	f.Add("canary", "true", "canary-by-header-pattern", "(a|b){2,9}")
	f.Add("proxy-body-size", "1G", "whitelist-source-range", "::1,10.0.0.0/8")
	f.Fuzz(func(t *testing.T, a, x, b, y string) {
		o, problems := Read(annotated(a, x, b, y))
		texts := []string{o.AppRoot, o.UpstreamHost, o.ForwardedPrefix}
		if o.Redirect != nil {
			texts = append(texts, o.Redirect.Location)
		}
		for _, text := range texts {
			if strings.ContainsAny(text, "\r\n\x00 $\"") {
				t.Errorf("%q got through", text)
			}
		}
		if o.MaxBody < 0 || o.Canary != nil && o.Canary.Weight > o.Canary.Total {
			t.Errorf("%+v", o)
		}
		for _, p := range problems {
			if p.Code == "" || p.Message == "" {
				t.Errorf("%+v", p)
			}
		}
	})
}
