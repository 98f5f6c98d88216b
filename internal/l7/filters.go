package l7

import (
	"slices"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7/filter"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// Users are the Ingresses that name an object.
type Users = pmap.Map[desired.Name, struct{}]

// readFilters finds out which Filters the Routes of an Ingress have, and which objects
// they need. An object of another namespace is nobody's to name: it closes the Ingress.
func (i *ingress) readFilters() {
	f := i.options.Filters
	i.references = map[filter.Reference]bool{}
	if f.Auth != nil {
		made := *f.Auth
		if made.Basic != nil {
			basic := *made.Basic
			i.refer(&basic.Users, "auth-secret")
			made.Basic = &basic
		}
		if made.External != nil {
			external := *made.External
			i.refer(&external.Fields, "auth-proxy-set-headers")
			made.External = &external
		}
		f.Auth = &made
	}
	i.refer(&i.options.TLS.Secret, "proxy-ssl-secret")
	if f.Headers != nil {
		made := *f.Headers
		i.refer(&made.Answer, "custom-headers")
		f.Headers = &made
	}
	if f.ClientTLS != nil {
		made := *f.ClientTLS
		i.refer(&made.Authorities, "auth-tls-secret")
		f.ClientTLS = &made
	}
	i.addSettings(&f)
	if f != (filter.Filters{}) {
		i.filters = &f
	}
}

// addSettings adds what the administrator wants of all Ingresses of ingress-nginx's.
func (i *ingress) addSettings(f *filter.Filters) {
	s := i.settings
	if s.HSTS != "" || len(s.Hide) > 0 || s.RequestFields.Name != "" || s.AnswerFields.Name != "" {
		if f.Headers == nil {
			f.Headers = &filter.Headers{}
		}
		f.Headers.HTTPS, f.Headers.Hide, f.Headers.All, f.Headers.Backends = s.HSTS, s.Hide, s.AnswerFields, s.RequestFields
		for _, r := range []filter.Reference{s.RequestFields, s.AnswerFields} {
			if r.Name != "" {
				i.references[r] = true // the administrator may name any
			}
		}
	}
	if f.Limits != nil {
		made := *f.Limits
		made.Status, made.ConnectionStatus = s.LimitStatus, s.ConnectionStatus
		f.Limits = &made
	}
	if len(s.Blocked) > 0 {
		made := filter.Snippet{}
		if f.Snippet != nil {
			made = *f.Snippet
		}
		made.First = append(slices.Clone(s.Blocked), made.First...)
		f.Snippet = &made
	}
	i.options.Deny = append(slices.Clone(i.options.Deny), s.Deny...)
}

// refer completes the name of an object that an annotation has.
func (i *ingress) refer(r *filter.Reference, annotation string) {
	own := i.source.Name.Namespace
	switch {
	case r.Name == "":
		return
	case r.Namespace == "":
		r.Namespace = own
	case r.Namespace != own:
		i.options.Closed = true
		i.reasons = append(i.reasons, i.reason("ReferenceForbidden", "annotation %s names %s of another namespace, which is not allowed; the Ingress gets 503, name one of namespace %s", annotation, *r, own))
		return
	}
	i.references[*r] = true
}

// withClientTLS returns a Route that asks clients for a certificate as another Ingress of
// the host does, unless it does so itself.
func withClientTLS(route *Route, c *filter.ClientTLS) *Route {
	if c == nil || route.Filters != nil && route.Filters.ClientTLS != nil {
		return route
	}
	made, filters := *route, filter.Filters{}
	if route.Filters != nil {
		filters = *route.Filters
	}
	filters.ClientTLS = c
	made.Filters = &filters
	return &made
}

// withoutAuth returns Filters that ask nobody who he is.
func withoutAuth(f *filter.Filters) *filter.Filters {
	if f == nil || f.Auth == nil {
		return f
	}
	made := *f
	made.Auth = nil
	return &made
}

// cookiePath returns Filters whose session's cookie is for the path of a rule, which is
// ingress-nginx's default; that of an expression is none, so all paths are meant.
func cookiePath(f *filter.Filters, r rule) *filter.Filters {
	if f == nil || f.Balance == nil || f.Balance.Session == nil || f.Balance.Session.Path != "" || r.expr != nil || r.path == "" || r.path == "/" {
		return f
	}
	made, balance, session := *f, *f.Balance, *f.Balance.Session
	session.Path = Encode(r.path)
	balance.Session, made.Balance = &session, &balance
	return &made
}

// refer notes which objects an Ingress names now; old and now may be nil.
func (b *builder) refer(name desired.Name, old, now *ingress) {
	if old != nil {
		for r := range old.references {
			if now != nil && now.references[r] {
				continue
			}
			users, _ := b.references.Get(r)
			if users = users.Delete(name); users.Len() > 0 {
				b.references.Set(r, users)
			} else {
				b.references.Delete(r)
			}
		}
	}
	if now != nil {
		for r := range now.references {
			if old == nil || !old.references[r] {
				users, _ := b.references.Get(r)
				b.references.Set(r, users.Set(name, struct{}{}))
			}
		}
	}
}
