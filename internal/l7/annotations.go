package l7

import (
	"cmp"
	"slices"
	"strings"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7/nginx"
)

// nginxMaxBody is what ingress-nginx lets through if nothing says otherwise.
const nginxMaxBody = 1 << 20

// redirectStatus is that of redirects to another scheme or host.
func (i *ingress) redirectStatus() int { return cmp.Or(i.settings.RedirectStatus, 308) }

// isBelow tells whether a path begins as one of a list. Without a list it is where
// certificate authorities ask without TLS (RFC 8555, section 8.3).
func isBelow(path string, list []string) bool {
	if list == nil {
		return strings.HasPrefix(path, nginx.ACME)
	}
	return slices.ContainsFunc(list, func(begin string) bool { return strings.HasPrefix(path, begin) })
}

// readOptions reads ingress-nginx's annotations, which Ingresses of every class that
// is served may have.
func (i *ingress) readOptions(c *Config, r ruling) {
	i.settings = &nginx.Settings{}
	if c.Nginx != nil && i.standing == oursNginx {
		i.settings = c.Nginx
	}
	options, problems := nginx.ReadWith(i.source.Annotations, i.settings)
	i.options = options
	for _, p := range problems {
		i.reasons = append(i.reasons, desired.Reason{Object: i.source.Ref(), Code: p.Code, Message: p.Message})
	}
	if i.standing == oursNginx && !options.HasMaxBody {
		i.options.MaxBody = nginxMaxBody
	}
	i.readFilters()
	i.setRules(c, r)
	i.readPassthrough(c)
}

// apply sets what of the options concerns every Route of the Ingress, at whatever
// host.
func (i *ingress) apply(r *Route) {
	o := &i.options
	if o.Closed {
		r.Backends, r.Status = nil, 503
		return
	}
	if len(o.Allow)+len(o.Deny) > 0 {
		r.Access = &Access{Allow: o.Allow, Deny: o.Deny}
	}
	if o.Redirect != nil {
		r.Redirect = &Redirect{Status: o.Redirect.Status, Location: o.Redirect.Location, AppendURI: o.Redirect.AppendURI}
	}
	if r.MaxBody = o.MaxBody; o.HasMaxBody && o.MaxBody == 0 {
		r.MaxBody = -1
	}
	r.Filters, r.Errors = i.filters, i.errors
	if o.UpstreamHost != "" {
		r.Rewrite = &Rewrite{Host: o.UpstreamHost}
	}
	r.Upstream = Upstream{Connect: o.Connect, Send: o.Send, Read: o.Read}
	if t := &o.TLS; *t != (nginx.ProxyTLS{}) {
		r.Upstream.TLS = UpstreamTLS{
			Verify: t.Verify, Depth: t.Depth, Name: t.Name, SendName: t.SendName, TLS12: t.TLS12, TLS13: t.TLS13,
			Secret: CertificateID{Namespace: t.Secret.Namespace, Name: t.Secret.Name},
		}
	}
	for p := UpstreamHTTP; p <= UpstreamAuto; p++ {
		if p.String() == o.Protocol {
			r.Upstream.Protocol = p
		}
	}
}

// needsRegex tells whether a rule makes its host one of regular expressions, as it
// does in ingress-nginx (needsRewrite).
func (i *ingress) needsRegex(r rule) bool {
	return i.options.UseRegex || i.rewrites(r)
}

// rewrites tells whether a rule's path is rewritten: a target that is the path itself
// rewrites nothing.
func (i *ingress) rewrites(r rule) bool {
	return i.options.RewriteTarget != "" && i.options.RewriteTarget != r.written && r.kind != fallback
}

// at returns a rule's Route at a host: the one that was made for every host, or a copy
// with what depends on the host.
func (i *ingress) at(r rule, secured bool) *Route {
	o, route := &i.options, r.route
	https := (o.ForceSSLRedirect || o.SSLRedirect && secured) && !isBelow(r.path, i.settings.NoTLSRedirect)
	open := isBelow(r.path, i.settings.NoAuth)
	challenges := strings.HasPrefix(r.path, nginx.ACME)
	rewrites := i.rewrites(r) && !o.Closed
	session := cookiePath(route.Filters, r)
	if !https && !rewrites && !open && !challenges && session == route.Filters {
		return route
	}
	made := *route
	made.Filters = session
	if open {
		made.Filters = withoutAuth(session) // as ingress-nginx has it: no-auth-locations
	}
	if f := made.Filters; challenges && f != nil && f.ClientTLS != nil {
		without := *f
		without.ClientTLS = nil
		made.Filters = &without
	}
	if https {
		made.HTTPSRedirect = &Redirect{Status: i.redirectStatus(), Scheme: "https"}
	}
	if rewrites {
		rewrite := Rewrite{Prefix: o.ForwardedPrefix, Path: &PathRewrite{Target: o.RewriteTarget, expr: r.expr}}
		if made.Rewrite != nil {
			rewrite.Host = made.Rewrite.Host
		}
		made.Rewrite = &rewrite
	}
	return &made
}
