package proxy

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/nginx"
)

// rewriting returns the Route that l7 makes of an Ingress with annotations.
func rewriting(t *testing.T, path string, annotations map[string]string) router {
	t.Helper()
	class, kind := "fairlead", networkingv1.PathTypeImplementationSpecific
	o := &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", Annotations: map[string]string{}}}
	for name, value := range annotations {
		o.Annotations[nginx.Prefix+name] = value
	}
	o.Annotations[desired.AnnotationIngressClass] = class
	o.Spec.Rules = []networkingv1.IngressRule{{IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{
		Paths: []networkingv1.HTTPIngressPath{{Path: path, PathType: &kind, Backend: networkingv1.IngressBackend{
			Service: &networkingv1.IngressServiceBackend{Name: "web", Port: networkingv1.ServiceBackendPort{Name: "http"}},
		}}},
	}}}}
	var objects desired.Objects
	objects.Ingresses = objects.Ingresses.Set(desired.Name{Namespace: "shop", Name: "web"}, desired.ParseIngress(o))
	state, _ := desired.Build(objects, desired.Node{}, nil)
	table, reasons := l7.Compile(state, l7.Table{}, l7.Config{})
	for _, r := range reasons {
		if r.Code != "ServiceNotFound" {
			t.Fatal(r)
		}
	}
	return table.Listeners[l7.ListenerHTTP].Routes.Match
}

// TestRewrite holds what a backend gets of a request that is rewritten, and that
// nothing that a client sends leads out of where the rewrite leads.
func TestRewrite(t *testing.T) {
	var seen atomic.Pointer[http.Request]
	up := serveHTTP(t, func(_ http.ResponseWriter, r *http.Request) { seen.Store(r) })
	route := rewriting(t, "/api(/?)(.*)", map[string]string{"rewrite-target": "/in/$2", "upstream-vhost": "Inner.example:81", "x-forwarded-prefix": "/api"})
	p := start(t, Config{}, tableFor(up), route)
	for target, want := range map[string]string{
		"/api/x":                     "/in/x",
		"/api":                       "/in/",
		"/api?a=b?c":                 "/in/?a=b?c",
		"/api/x?":                    "/in/x?",
		"/api/very/long/x?q=%20":     "/in/very/long/x?q=%20",
		"/a/../api/x/./y//z?q":       "/in/x/y/z?q",
		"/api/%41%20b%3f%23%22?q":    "/in/A%20b%3F%23%22?q",
		"/api/a%2fb%25":              "/in/a%2Fb%25",
		"http://shop.example/api/x?": "/in/x?",
		"/api..":                     "",
		"/api..%3bx/y":               "",
		"/api.":                      "",
		"/api/x%0d%0aA:%20b":         "",
		"/api/%00":                   "",
	} {
		seen.Store(nil)
		answer := talk(t, p, "GET "+target+" HTTP/1.1\r\nHost: shop.example\r\nX-Forwarded-Prefix: /evil\r\n\r\n")
		got := seen.Load()
		if want == "" {
			if got != nil || !strings.HasPrefix(answer, "HTTP/1.1 400") {
				t.Errorf("%s: sent as %v, %.60q", target, got, answer)
			}
			continue
		}
		if got == nil || got.RequestURI != want || got.Host != "Inner.example:81" {
			t.Errorf("%s: sent as %v, want %s; %.60q", target, got, want, answer)
			continue
		}
		if h := got.Header; h.Get("X-Forwarded-Host") != "shop.example" || strings.Join(h["X-Forwarded-Prefix"], "|") != "/api" {
			t.Errorf("%s: %v", target, h)
		}
	}
}

// TestRequestURI holds that $request_uri is what the client sent, whatever becomes of that,
// and that who decides about the request is told what the Route goes by.
func TestRequestURI(t *testing.T) {
	var seen, asked atomic.Pointer[http.Request]
	up := serveHTTP(t, func(_ http.ResponseWriter, r *http.Request) { seen.Store(r) })
	decider := serveHTTP(t, func(_ http.ResponseWriter, r *http.Request) { asked.Store(r) })
	route := rewriting(t, "/api/(.*)", map[string]string{
		"rewrite-target": "/in/$1", "auth-url": "http://" + decider.String() + "/?sent=$escaped_request_uri",
		"configuration-snippet": "proxy_set_header X-Sent $request_uri; add_header X-Sent $request_uri;",
	})
	p := startChanged(t, Config{}, tableFor(up), route, reachAll)
	const sent = "/a/../api/./x%41?q=%20"
	answer := talk(t, p, "GET "+sent+" HTTP/1.1\r\nHost: shop.example\r\n\r\n")
	if got := seen.Load(); got == nil || got.RequestURI != "/in/xA?q=%20" || got.Header.Get("X-Sent") != sent {
		t.Fatalf("the backend gets %v; %q", got, answer)
	}
	if !strings.Contains(answer, "\r\nX-Sent: "+sent+"\r\n") {
		t.Errorf("the client gets %q", answer)
	}
	const decided = "/api/xA?q=%20" // reads as what the backend gets
	if got := asked.Load(); got.URL.Query().Get("sent") != decided || got.Header.Get("X-Original-URI") != decided {
		t.Errorf("who decides is asked %s with %v", got.URL, got.Header)
	}
}
