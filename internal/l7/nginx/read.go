package nginx

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// reader reads one annotation into Options. A wrong value is an error, which says
// what is wrong with it.
type reader struct {
	read func(value string, o *Options) error
	// guards: the Ingress is closed if the value is wrong.
	guards bool
}

// readers are the annotations that are followed.
func readers() map[string]reader {
	all := routeReaders()
	for _, more := range []map[string]reader{authReaders(), balanceReaders(), limitReaders(), corsReaders(), answerReaders(), snippetReaders(), tlsReaders(), mirrorReaders(), clientTLSReaders(), modSecurityReaders()} {
		maps.Copy(all, more)
	}
	return all
}

// routeReaders are those that say where requests go.
func routeReaders() map[string]reader {
	return map[string]reader{
		"use-regex":                {flag(func(o *Options) *bool { return &o.UseRegex }), true},
		"rewrite-target":           {readRewriteTarget, true},
		"app-root":                 {readAppRoot, false},
		"ssl-redirect":             {flag(func(o *Options) *bool { return &o.SSLRedirect }), false},
		"force-ssl-redirect":       {flag(func(o *Options) *bool { return &o.ForceSSLRedirect }), true},
		"upstream-vhost":           {readHost, true},
		"x-forwarded-prefix":       {readForwardedPrefix, false},
		"backend-protocol":         {readProtocol, true},
		"proxy-connect-timeout":    {seconds(func(o *Options) *duration { return &o.Connect }), false},
		"proxy-send-timeout":       {seconds(func(o *Options) *duration { return &o.Send }), false},
		"proxy-read-timeout":       {seconds(func(o *Options) *duration { return &o.Read }), false},
		"proxy-body-size":          {readBodySize, false},
		"server-alias":             {readAliases, false},
		"from-to-www-redirect":     {flag(func(o *Options) *bool { return &o.WWWRedirect }), false},
		"service-upstream":         {flag(func(o *Options) *bool { return &o.ServiceUpstream }), false},
		"ssl-passthrough":          {flag(func(o *Options) *bool { return &o.Passthrough }), true},
		"enable-access-log":        {readAccessLog, false},
		"whitelist-source-range":   {readAllow, true},
		"allowlist-source-range":   {readAllow, true},
		"denylist-source-range":    {readDeny, true},
		"permanent-redirect":       {nothing, true}, // read together
		"permanent-redirect-code":  {nothing, true},
		"temporal-redirect":        {nothing, true},
		"temporal-redirect-code":   {nothing, true},
		"canary":                   {nothing, true},
		"canary-by-header":         {nothing, true},
		"canary-by-header-value":   {nothing, true},
		"canary-by-header-pattern": {nothing, true},
		"canary-by-cookie":         {nothing, true},
		"canary-weight":            {nothing, true},
		"canary-weight-total":      {nothing, true},
	}
}

func nothing(string, *Options) error { return nil }

// guarding are annotations that are not followed yet and without which a request
// would reach what its author closed.
func guarding() []string {
	return []string{
		"stream-snippet",
	}
}

// Read reads the annotations with Prefix among all of an Ingress. Without any, an
// Ingress has ingress-nginx's defaults: requests without TLS are redirected where
// there is a certificate.
func Read(annotations map[string]string) (Options, []Problem) {
	return ReadWith(annotations, &Settings{})
}

// ReadWith does the same, with an administrator's settings for what the Ingress does not
// say itself.
func ReadWith(annotations map[string]string, s *Settings) (Options, []Problem) {
	annotations = s.complete(annotations)
	o := Options{SSLRedirect: true, GlobalAuth: true}
	r := report{options: &o}
	known := readers()
	given := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		name, ok := strings.CutPrefix(key, Prefix)
		if !ok {
			continue
		}
		value := annotations[key]
		how, follows := known[name]
		switch {
		case follows:
			given[name] = value
			if err := how.read(value, &o); err != nil {
				r.wrong(name, value, how.guards, err)
			}
		case withoutEffect()[name] != "":
			r.about(name, false, "AnnotationWithoutEffect", "annotation %s%s has no effect here: %s", Prefix, name, withoutEffect()[name])
		case slices.Contains(guarding(), name) && value != "false":
			o.Closed = true
			r.about(name, true, "AnnotationUnsupported", "annotation %s%s is not supported yet; its Ingress gets 503, as it would let in more than it says; remove the annotation if that is meant", Prefix, name)
		default:
			r.about(name, false, "AnnotationUnsupported", "annotation %s%s is not supported and is left out%s", Prefix, name, suggest(name, known))
		}
	}
	r.redirect(given)
	r.canary(given)
	r.auth(given)
	r.balance(given)
	r.limits(given)
	r.cors(given)
	r.headers(given)
	r.answers(given)
	r.retry(given)
	r.snippets(given)
	r.proxyTLS(given)
	r.mirror(given)
	r.clientTLS(given)
	r.modSecurity(given, &s.ModSecurity)
	return o, r.problems
}

// report collects Problems.
type report struct {
	options  *Options
	problems []Problem
}

// about notes a Problem with an annotation.
func (r *report) about(name string, closes bool, code, format string, args ...any) {
	r.problems = append(r.problems, Problem{Code: code, Message: fmt.Sprintf(format, args...), Annotation: name, Closes: closes})
}

// add notes a Problem with something else, such as a setting.
func (r *report) add(code, format string, args ...any) { r.about("", false, code, format, args...) }

// wrong notes a value that cannot be followed.
func (r *report) wrong(name, value string, guards bool, err error) {
	if guards {
		r.options.Closed = true
		r.about(name, true, "AnnotationInvalid", "annotation %s%s: %q %v; the Ingress gets 503 until it is corrected, as its requests could go where they must not", Prefix, name, value, err)
		return
	}
	r.about(name, false, "AnnotationInvalid", "annotation %s%s: %q %v; it is left out", Prefix, name, value, err)
}

// suggest names an annotation that may have been meant: one that differs in a letter.
func suggest(name string, known map[string]reader) string {
	for _, other := range slices.Sorted(maps.Keys(known)) {
		if len(name) > 0 && len(name) < 64 && oneEdit(name, other) {
			return "; did you mean " + other + "?"
		}
	}
	return ""
}

// oneEdit tells whether two words differ in one letter, there, missing or other.
func oneEdit(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	if a == b || len(b)-len(a) > 1 {
		return false
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	return a[i:] == b[i+1:] || i < len(a) && a[i+1:] == b[i+1:]
}
