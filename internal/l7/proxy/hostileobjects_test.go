package proxy

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// attack is what objects of the tenant are, and the statuses that requests to his own host
// may get.
type attack struct {
	objects func(w *tenants) string
	want    []int
}

type attacks map[string]attack

// own is an Ingress for the tenant's host, with annotations.
func own(annotations map[string]string) func(w *tenants) string {
	return func(w *tenants) string {
		return evil("own", "evil.example", "/", "Prefix", annotations) + evilService(w.up, "")
	}
}

// leadsTo has the tenant's host lead to a name, at the port that nobody may reach.
func leadsTo(name string) func(w *tenants) string {
	return func(w *tenants) string {
		return strings.ReplaceAll(evil("own", "evil.example", "/", "Prefix", nil), `"number":80`, fmt.Sprintf(`"number":%d`, w.internal.Port())) + evilService(netip.AddrPort{}, name)
	}
}

// asks has a URL in an annotation, in which PORT is that port.
func asks(annotation, url string) func(w *tenants) string {
	return func(w *tenants) string {
		return own(map[string]string{annotation: strings.ReplaceAll(url, "PORT", fmt.Sprint(w.internal.Port()))})(w)
	}
}

// hosts claims those of the victim, or too many, or has what takes long.
func (a attacks) hosts() {
	maps.Copy(a, attacks{
		"host, same path": {func(w *tenants) string {
			return evil("a", "plain.victim.example", "/", "Prefix", nil) + evil("b", "plain.victim.example", "/", "Exact", nil) +
				evil("c", "plain.victim.example", "/admin/", "ImplementationSpecific", nil) + evilService(w.up, "")
		}, []int{404}},
		"host, expressions": {func(w *tenants) string {
			return evil("a", "plain.victim.example", "/.*", "ImplementationSpecific", map[string]string{"use-regex": "true", "rewrite-target": "/x"}) +
				evil("b", "PLAIN.victim.example.", "/", "Prefix", nil) + evilService(w.up, "")
		}, []int{404}},
		"host, root": {func(w *tenants) string {
			return evil("a", "plain.victim.example", "/evil", "Prefix", map[string]string{"app-root": "/evil", "server-alias": "secure.victim.example,members.victim.example"}) + evilService(w.up, "")
		}, []int{404}},
		"host, canary": {func(w *tenants) string {
			return evil("a", "plain.victim.example", "/", "Prefix", map[string]string{"canary": "true", "canary-weight": "100"}) + evilService(w.up, "")
		}, []int{404}},
		"host, any": {func(w *tenants) string {
			return evil("a", "*.victim.example", "/", "Prefix", map[string]string{"force-ssl-redirect": "true"}) + evil("b", "", "/", "Prefix", nil) + evilService(w.up, "")
		}, []int{200}},
		"host, certificate": {func(w *tenants) string {
			return strings.ReplaceAll(evil("a", "secure.victim.example", "/evil", "Prefix", nil)+evil("b", "evil.example", "/", "Prefix", nil), `"spec":{`,
				`"spec":{"tls":[{"hosts":["secure.victim.example","plain.victim.example","*.victim.example",""],"secretName":"cert"}],`) + evilService(w.up, "")
		}, []int{200, 308}},
		"hosts, many": {func(w *tenants) string {
			var b strings.Builder
			for i := range 300 {
				b.WriteString(evil(fmt.Sprint("i", i), fmt.Sprintf("%s%d.evil.example", strings.Repeat("x.", i%100), i), "/"+strings.Repeat("x", i*10), "ImplementationSpecific", nil))
			}
			return b.String() + evilService(w.up, "")
		}, []int{404}},
		"expressions": {func(w *tenants) string {
			var b strings.Builder
			for i, text := range []string{"/(a*)*b", "/(.*a){25}", "/" + strings.Repeat("(a?){50}", 20), "/((((.*)*)*)*)*x", "/(x+x+)+y", "/" + strings.Repeat("(", 1000), "/.{1000}.{1000}"} {
				for j, host := range []string{"evil.example", "plain.victim.example"} {
					b.WriteString(evil(fmt.Sprint("i", i, j), host, text, "ImplementationSpecific", map[string]string{"use-regex": "true"}))
				}
			}
			return b.String() + evilService(w.up, "")
		}, []int{404, 414}},
	})
}

// references names objects of the victim.
func (a attacks) references() {
	for _, secret := range []string{"victim/users", "../victim/users", "victim%2Fusers", "/victim/users", "victim/users\n", "evil/../victim/users"} {
		for _, with := range []map[string]string{
			{"auth-type": "basic", "auth-secret": secret}, {"auth-tls-secret": secret}, {"auth-tls-secret": secret, "auth-tls-verify-client": "optional_no_ca"},
			{"proxy-ssl-secret": secret, "backend-protocol": "HTTPS"}, {"auth-url": "http://loop.evil.example/", "auth-proxy-set-headers": secret},
		} {
			a[fmt.Sprintf("Secret %q", with)] = attack{own(with), []int{503}}
		}
	}
	for _, name := range []string{"victim/fields", "victim/users"} {
		a["ConfigMap "+name] = attack{own(map[string]string{"custom-headers": name}), []int{503}}
	}
}

// addresses leads to those that nobody may reach.
func (a attacks) addresses() {
	for _, at := range []string{"127.0.0.2", "169.254.169.254", "0.0.0.0", "224.0.0.1"} {
		a["EndpointSlice "+at] = attack{func(w *tenants) string {
			return evil("own", "evil.example", "/", "Prefix", nil) + evilService(netip.AddrPortFrom(netip.MustParseAddr(at), w.internal.Port()), "")
		}, []int{503}}
	}
	for _, name := range []string{"lo", "meta", "own", "node", "link", "mapped", "any"} {
		a["ExternalName "+name] = attack{leadsTo(name + ".evil.example"), []int{502}}
		a["auth-url "+name] = attack{asks("auth-url", "http://"+name+".evil.example:PORT/"), []int{500}}
		a["mirror "+name] = attack{asks("mirror-target", "http://"+name+".evil.example:PORT$request_uri"), []int{200}}
	}
	for _, host := range []string{"127.0.0.1", "localhost", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "127.1", "0", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "169.254.169.254", "[fe80::1%25lo]", "198.51.100.7", "192.0.2.1"} {
		a["ExternalName "+host] = attack{leadsTo(strings.Trim(host, "[]")), []int{502, 503}}
		a["auth-url "+host] = attack{asks("auth-url", "http://"+host+":PORT/"), []int{500, 503}}
		a["mirror "+host] = attack{asks("mirror-target", "http://"+host+":PORT/"), []int{200}}
	}
}

// texts are written to be taken for something else.
func (a attacks) texts() {
	for _, text := range []string{"x\r\nX-Evil: 1", "/x; } location / { return 200; }", "/x\"; lua_need_request_body on;", "$(id)", "\x00", "{{ .Secrets }}", "/\u2028\u0085", strings.Repeat("/x", 100_000)} {
		for _, annotation := range []string{"rewrite-target", "configuration-snippet", "server-snippet", "auth-realm", "upstream-vhost", "x-forwarded-prefix", "permanent-redirect", "server-alias", "proxy-redirect-to", "upstream-hash-by", "session-cookie-name", "cors-allow-origin", "auth-signin"} {
			with := map[string]string{annotation: text, "affinity": "cookie", "enable-cors": "true"}
			if strings.HasPrefix(annotation, "auth-") {
				with["auth-type"], with["auth-secret"], with["auth-url"] = "basic", "users", "http://lo.evil.example/"
			}
			a[fmt.Sprintf("%s %.20q", annotation, text)] = attack{own(with), []int{200, 302, 301, 401, 500, 503}}
		}
	}
}

// TestHostileObjects has a tenant with full rights in his own namespace write what he likes
// into it. For each: the victim's requests go on being answered by the victim, and those to
// the tenant's own host get a status of those given, and nothing that is the victim's.
func TestHostileObjects(t *testing.T) {
	all := attacks{}
	all.hosts()
	all.references()
	all.addresses()
	all.texts()
	for name, a := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := startTenants(t, Config{ConnectTimeout: time.Second}, a.objects)
			w.unharmed("before")
			for _, path := range []string{"/", "/" + strings.Repeat("a", 7000)} {
				for _, protocol := range []string{"http", "h2"} {
					status, said := w.get("127.0.0.2", protocol, "evil.example", path, "Origin: http://evil.example")
					if protocol == "http" && !slices.Contains(a.want, status) || strings.Contains(said, canary) || strings.Contains(said, "of the victim") || strings.Contains(said, "X-Evil") {
						t.Errorf("the tenant gets %d %.300s, want %d; reasons %.1000v", status, said, a.want, w.reasons)
					}
				}
			}
			w.unharmed("after")
		})
	}
}
