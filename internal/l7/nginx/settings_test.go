package nginx

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestReadSettings(t *testing.T) {
	s, problems := ReadSettings(map[string]string{
		"proxy-body-size": "8m", "ssl-redirect": "false", "hsts-max-age": "60", "hsts-preload": "true", "http-redirect-code": "301", "limit-req-status-code": "429",
		"no-auth-locations": "/health, /.well-known/", "proxy-set-headers": "ops/fields", "hide-headers": "Server, X-Powered-By", "block-cidrs": "192.0.2.0/24",
		"block-user-agents": "curl/1,~*bot", "use-forwarded-headers": "true", "proxy-real-ip-cidr": "10.0.0.0/8", "keep-alive": "10", "ssl-protocols": "TLSv1.3",
		"global-auth-url": "http://auth", "global-auth-signin": "http://auth/start",
	})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if s.HSTS != "max-age=60; includeSubDomains; preload" || s.RedirectStatus != 301 || s.LimitStatus != 429 || fmt.Sprint(s.NoAuth) != "[/health /.well-known/]" ||
		s.RequestFields.String() != "ConfigMap ops/fields" || len(s.Hide) != 2 || len(s.Deny) != 1 || len(s.Blocked) != 2 || fmt.Sprint(s.Engine.Trusted) != "[10.0.0.0/8]" ||
		s.Engine.IdleTimeout != 10*time.Second || !s.Engine.TLS13 || len(s.Defaults) != 2 || len(s.GlobalAuth) != 2 {
		t.Errorf("%+v", s)
	}
	o, problems := ReadWith(annotated("proxy-body-size", "1m"), s)
	if len(problems) > 0 || o.MaxBody != 1<<20 || o.SSLRedirect || o.Filters.Auth.External.URL.String() != "http://auth" {
		t.Errorf("%+v %v", o, problems)
	}
	for _, own := range [][2]string{{"enable-global-auth", "false"}, {"auth-url", "http://own"}} {
		o, _ := ReadWith(annotated(own[0], own[1]), s)
		if a := o.Filters.Auth; a != nil && a.External.URL.String() != "http://own" {
			t.Errorf("%v: %+v", own, a.External)
		}
	}
	for text, want := range map[string]string{
		"proxy-body-size=big": "is not a size", "hsts-max-age=x": "no whole number", "http-redirect-code=200": "no status", "no-auth-locations=a": "no list of paths", "proxy-set-headers=x": "NAMESPACE/NAME",
		"hide-headers=a b": "no list of header", "block-cidrs=x": "neither ADDRESS", "block-user-agents=~(": "no regular", "use-forwarded-headers=y!": "not true", "keep-alive=x": "no time",
		"worker-processes=4": "has no workers", "lua-shared-dicts=x": "not supported", "server-snippet=x": "not supported", "global-auth-url=ftp://x": "get 503 until",
	} {
		key, value, _ := strings.Cut(text, "=")
		if s, problems := ReadSettings(map[string]string{key: value}); len(problems) != 1 || !strings.Contains(problems[0].Message, want) || len(s.Defaults) > 0 {
			t.Errorf("%s: %v", text, problems)
		}
	}
	if s, _ := ReadSettings(map[string]string{"hsts": "false"}); s.HSTS != "" {
		t.Error("hsts is on")
	}
	if o, _ := ReadWith(nil, func() *Settings { s, _ := ReadSettings(map[string]string{"global-auth-url": "ftp://x"}); return s }()); !o.Closed {
		t.Error("a wrong global-auth-url lets in")
	}
}
