package nginx

import (
	"maps"
	"slices"
	"strings"
)

// Standing says what becomes of an annotation here.
type Standing string

// The standings. A value that cannot be read is another matter: Read says so.
const (
	// Followed: it does what it does in ingress-nginx.
	Followed Standing = "followed"
	// Differs: it is followed, or left to the administrator, but not in all as there.
	Differs Standing = "differs"
	// Needless: there is nothing to do for it.
	Needless Standing = "without effect"
	// LeftOut: the Ingress is served without it.
	LeftOut Standing = "left out"
	// Refused: the Ingress answers 503, as it would let in more than it says.
	Refused Standing = "refused"
)

// Annotation is what is known about one of ingress-nginx's.
type Annotation struct {
	// Name is without Prefix.
	Name     string
	Standing Standing
	// Note says how it differs, why it has no effect, or what its values may be; it may
	// be empty.
	Note string
}

// Annotations lists all that ingress-nginx has, and all that Read knows, by name.
func Annotations() []Annotation {
	names := map[string]bool{}
	for name := range strings.FieldsSeq(published) {
		names[name] = true
	}
	for name := range readers() {
		names[name] = true
	}
	for name := range withoutEffect() {
		names[name] = true
	}
	for _, name := range guarding() {
		names[name] = true
	}
	var all []Annotation
	for _, name := range slices.Sorted(maps.Keys(names)) {
		all = append(all, About(name))
	}
	return all
}

// About says what becomes of an annotation, by the same tables that Read follows.
func About(name string) Annotation {
	a := Annotation{Name: name, Standing: LeftOut, Note: details()[name]}
	_, follows := readers()[name]
	why := withoutEffect()[name]
	switch {
	case follows:
		a.Standing = Followed
	case why != "":
		a.Standing, a.Note = Needless, why
	case slices.Contains(guarding(), name):
		a.Standing, a.Note = Refused, "its Ingress answers 503 unless the value is false, as without it more would be let in"
	}
	if how := differences()[name]; how != "" && follows {
		a.Standing, a.Note = Differs, how
	}
	if why != "" && slices.Contains(missed(), name) {
		a.Standing = Differs
	}
	return a
}

// missed are annotations without effect here whose effect in ingress-nginx somebody may
// miss.
func missed() []string {
	return []string{
		"enable-access-log", "enable-opentelemetry", "opentelemetry-trust-incoming-span", "opentelemetry-operation-name", "enable-opentracing", "opentracing-trust-incoming-span",
		"ssl-ciphers", "ssl-prefer-server-ciphers", "proxy-ssl-ciphers", "relative-redirects", "use-port-in-redirects",
	}
}

// differences says of annotations that are followed, whatever their value, which of
// their effects is another one here.
func differences() map[string]string {
	all := map[string]string{}
	for how, names := range map[string][]string{
		"a client with IPv6 is its network of 64 bits, so that nobody has more than one share":                                                                                                     {"limit-rps", "limit-rpm", "limit-connections"},
		"only where the configuration allows it; also for wildcards; without path / in the same namespace the Ingress is closed; whitelists count; other requests within TLS for the host get 421": {"ssl-passthrough"},
		"needs gateway.modSecurity; Go's expressions, no files, no collections but tx, bodies up to 128 KB":                                                                                        {"enable-modsecurity", "enable-owasp-core-rules", "modsecurity-snippet"},
		"an endpoint has other hashes here, so clients change it once":                                                                                                                             {"upstream-hash-by"},
	} {
		for _, name := range names {
			all[name] = how
		}
	}
	return all
}

// details says what values cannot be followed; Read refuses them.
func details() map[string]string {
	all := map[string]string{}
	for what, names := range map[string][]string{
		"Go's expressions: no look-around, no backreferences; the same for the paths":    {"use-regex", "canary-by-header-pattern"},
		"$1 to $9 are the only variables; a group that leads out of the target gets 400": {"rewrite-target"},
		"objects of the Ingress's own namespace only":                                    {"auth-secret", "auth-proxy-set-headers", "custom-headers"},
		"basic; digest is refused, as its hashes are of MD5":                             {"auth-type"},
		"HTTP, HTTPS, GRPC, GRPCS and AUTO_HTTP; not FCGI":                               {"backend-protocol"},
		"a host without variables":                                                       {"upstream-vhost"},
		"$request_uri at the end is the only variable":                                   {"permanent-redirect", "temporal-redirect"},
		"a path; where the root is another namespace's it is left out":                   {"app-root"},
		"for Ingresses of one namespace":                                                 {"canary"},
		"texts without expressions":                                                      {"proxy-redirect-from", "proxy-cookie-domain", "proxy-cookie-path"},
		"up to 16 tries":                                                                 {"proxy-next-upstream-tries"},
		"cookie":                                                                         {"affinity"},
	} {
		for _, name := range names {
			all[name] = what
		}
	}
	return all
}

// published are the annotations of ingress-nginx 1.15, its last version, and those of
// earlier ones that are still found (whitelist-source-range, limit-whitelist).
const published = `
affinity affinity-canary-behavior affinity-mode allowlist-source-range app-root auth-always-set-cookie auth-cache-duration
auth-cache-key auth-keepalive auth-keepalive-requests auth-keepalive-share-vars auth-keepalive-timeout auth-method
auth-proxy-set-headers auth-realm auth-request-redirect auth-response-headers auth-secret auth-secret-type auth-signin
auth-signin-redirect-param auth-snippet auth-tls-error-page auth-tls-match-cn auth-tls-pass-certificate-to-upstream
auth-tls-secret auth-tls-verify-client auth-tls-verify-depth auth-type auth-url backend-protocol canary canary-by-cookie
canary-by-header canary-by-header-pattern canary-by-header-value canary-weight canary-weight-total client-body-buffer-size
configuration-snippet connection-proxy-header cors-allow-credentials cors-allow-headers cors-allow-methods cors-allow-origin
cors-expose-headers cors-max-age custom-headers custom-http-errors default-backend denylist-source-range
disable-proxy-intercept-errors enable-access-log enable-cors enable-global-auth enable-modsecurity enable-opentelemetry
enable-owasp-core-rules enable-rewrite-log fastcgi-index fastcgi-params-configmap force-ssl-redirect from-to-www-redirect
http2-push-preload limit-allowlist limit-burst-multiplier limit-connections limit-rate limit-rate-after limit-rpm limit-rps
limit-whitelist load-balance mirror-host mirror-request-body mirror-target modsecurity-snippet modsecurity-transaction-id
opentelemetry-operation-name opentelemetry-trust-incoming-span permanent-redirect permanent-redirect-code
preserve-trailing-slash proxy-body-size proxy-buffer-size proxy-buffering proxy-buffers-number proxy-busy-buffers-size
proxy-connect-timeout proxy-cookie-domain proxy-cookie-path proxy-http-version proxy-max-temp-file-size proxy-next-upstream
proxy-next-upstream-timeout proxy-next-upstream-tries proxy-read-timeout proxy-redirect-from proxy-redirect-to
proxy-request-buffering proxy-send-timeout proxy-ssl-ciphers proxy-ssl-name proxy-ssl-protocols proxy-ssl-secret
proxy-ssl-server-name proxy-ssl-verify proxy-ssl-verify-depth relative-redirects rewrite-target satisfy server-alias
server-snippet service-upstream session-cookie-change-on-failure session-cookie-conditional-samesite-none
session-cookie-domain session-cookie-expires session-cookie-max-age session-cookie-name session-cookie-partitioned
session-cookie-path session-cookie-samesite session-cookie-secure ssl-ciphers ssl-passthrough ssl-prefer-server-ciphers
ssl-redirect stream-snippet temporal-redirect temporal-redirect-code upstream-hash-by upstream-hash-by-subset
upstream-hash-by-subset-size upstream-vhost use-port-in-redirects use-regex whitelist-source-range x-forwarded-prefix
`
