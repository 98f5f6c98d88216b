package migrate

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"strings"

	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7"
)

// made writes down a rule. What guards and has no equivalent leaves the rule without
// backends, so that nobody gets in who could not before; anything else is left out. Both
// are noted.
func (c *converter) made(p *part, r l7.Rule) (gateway.HTTPRouteRule, bool) {
	at := p.place(r)
	m, ok := p.match(r, at)
	if !ok {
		return gateway.HTTPRouteRule{}, false
	}
	made := gateway.HTTPRouteRule{Matches: []gateway.HTTPRouteMatch{m}}
	route := r.Route
	closed := p.guarded(r) || at.closed
	if route.Redirect != nil && !closed {
		f, ok := p.redirect(r, at, route.Redirect)
		if ok {
			made.Filters = append(made.Filters, f)
		}
		return made, true
	}
	if len(route.Backends) == 0 {
		p.note("path %s answers %d here and an error there, as nothing is sent to a backend", hostPath(r.Path), cmp.Or(route.Status, 503))
	}
	if closed || len(route.Backends) == 0 {
		return made, true
	}
	p.filters(c, route, at, &made)
	for _, w := range route.Backends {
		if ref, ok := c.backend(p, w); ok {
			made.BackendRefs = append(made.BackendRefs, ref)
		}
	}
	p.upstream(route, &made)
	return made, true
}

// guarded notes what says who is let in; nothing of it has an equivalent.
func (p *part) guarded(r l7.Rule) bool {
	is := false
	closes := func(what string) {
		is = true
		p.note("path %s: %s has no equivalent, so its requests get an error; remove it, or add a policy of the implementation and backendRefs", hostPath(r.Path), what)
	}
	if a := r.Route.Access; a != nil {
		closes("a list of addresses that are let in or not")
	}
	if f := r.Route.Filters; f != nil && f.Snippet != nil && len(f.Snippet.First)+len(f.Snippet.Steps) > 0 {
		closes("a snippet that answers requests")
	}
	if f := r.Route.Filters; f != nil && f.Auth != nil {
		if f.Auth.Basic != nil {
			closes("basic authentication")
		}
		if f.Auth.External != nil {
			closes("asking " + f.Auth.External.URL.String() + " who is let in (filter ExternalAuth of the experimental channel)")
		}
	}
	return is
}

func hostPath(path string) string {
	if path == "" {
		return "/"
	}
	return path
}

// redirect writes down a redirect; false if it cannot be.
func (p *part) redirect(r l7.Rule, at place, to *l7.Redirect) (gateway.HTTPRouteFilter, bool) {
	made := gateway.HTTPRequestRedirectFilter{}
	wrong := func(why string) (gateway.HTTPRouteFilter, bool) {
		p.note("path %s: the redirect to %s%s has no equivalent (%s), so its requests get an error", hostPath(r.Path), to.Location, to.Path, why)
		return gateway.HTTPRouteFilter{}, false
	}
	if !slices.Contains([]int{301, 302, 303, 307, 308}, to.Status) {
		return wrong("status " + strconv.Itoa(to.Status))
	}
	made.StatusCode = ptr(to.Status)
	path := to.Path
	if to.Location != "" || to.AppendURI {
		u, err := url.Parse(to.Location)
		if err != nil || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
			return wrong("a query or a fragment")
		}
		if u.Host != "" {
			if made.Scheme, made.Hostname = ptr(u.Scheme), precise(u.Hostname()); made.Hostname == nil {
				return wrong("a host that is no DNS name")
			}
			if port, err := strconv.Atoi(u.Port()); u.Port() != "" {
				if err != nil || port < 1 || port > 65535 {
					return wrong("a port that is none")
				}
				made.Port = ptr(gateway.PortNumber(port))
			}
		}
		path = u.EscapedPath()
	}
	switch {
	case to.AppendURI && strings.Trim(path, "/") != "":
		if at.kind != gateway.PathMatchPathPrefix || at.value != "/" {
			return wrong("a path in front of the request's")
		}
		made.Path = &gateway.HTTPPathModifier{Type: gateway.PrefixMatchHTTPPathModifier, ReplacePrefixMatch: ptr(path)}
	case !to.AppendURI && (path != "" || to.Location != ""):
		made.Path = &gateway.HTTPPathModifier{Type: gateway.FullPathHTTPPathModifier, ReplaceFullPath: ptr(absolute(path))}
		if to.Location != "" {
			p.note("a redirect to %s keeps the query of the request, which ingress-nginx drops", to.Location)
		}
	}
	return gateway.HTTPRouteFilter{Type: gateway.HTTPRouteFilterRequestRedirect, RequestRedirect: &made}, true
}

// backend writes down a backend; false if its port is not known.
func (c *converter) backend(p *part, w l7.Weighted) (gateway.HTTPBackendRef, bool) {
	number, _ := strconv.Atoi(w.Backend.Port)
	service, _ := c.in.State.Services.Get(w.Backend.Service)
	switch {
	case service != nil && service.Type == desired.ExternalName:
		p.note("Service %s is of type ExternalName, which implementations need not take for a backend", w.Backend.Service)
	case service != nil:
		if port, ok := l7.ServicePort(service, w.Backend); ok {
			number = int(port.Port)
		}
	}
	if number == 0 {
		p.note("Service %s: the number of port %q is not known, as the Service is not there, so its requests get an error", w.Backend.Service, w.Backend.Port)
		return gateway.HTTPBackendRef{}, false
	}
	ref := gateway.HTTPBackendRef{}
	ref.Name, ref.Port, ref.Weight = gateway.ObjectName(w.Backend.Service.Name), ptr(gateway.PortNumber(number)), ptr(int32(w.Weight))
	if w.Weight > 1_000_000 {
		p.note("weights are at most 1000000, so that of Service %s is another one", w.Backend.Service)
		ref.Weight = ptr(int32(1_000_000))
	}
	return ref, true
}
