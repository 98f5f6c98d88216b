package l7

import (
	"strings"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7/nginx"
)

// nginxMaxBody is what ingress-nginx lets through if nothing says otherwise.
const nginxMaxBody = 1 << 20

// acmeChallenges is where certificate authorities ask without TLS (RFC 8555, section
// 8.3); ingress-nginx does not redirect what is below it.
const acmeChallenges = "/.well-known/acme-challenge"

// readOptions reads ingress-nginx's annotations, which Ingresses of every class that
// is served may have.
func (i *ingress) readOptions() {
	options, problems := nginx.Read(i.source.Annotations)
	i.options = options
	for _, p := range problems {
		i.reasons = append(i.reasons, desired.Reason{Object: i.source.Ref(), Code: p.Code, Message: p.Message})
	}
	if i.standing == oursNginx && !options.HasMaxBody {
		i.options.MaxBody = nginxMaxBody
	}
	i.readFilters()
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
	challenges := strings.HasPrefix(r.path, acmeChallenges)
	https := (o.ForceSSLRedirect || o.SSLRedirect && secured) && !challenges
	rewrites := i.rewrites(r) && !o.Closed
	session := cookiePath(route.Filters, r)
	if !https && !rewrites && !challenges && session == route.Filters {
		return route
	}
	made := *route
	made.Filters = session
	if challenges {
		made.Filters = withoutAuth(session) // as ingress-nginx has it: no-auth-locations
	}
	if https {
		made.HTTPSRedirect = &Redirect{Status: 308, Scheme: "https"}
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
