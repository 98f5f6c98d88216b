package filter

import "time"

// Auth says which requests are let in by who sends them.
type Auth struct {
	// Any: it is enough that one of Basic, External and the Route's Access lets a request
	// in (nginx's satisfy any); else all have to.
	Any      bool
	Basic    *Basic
	External *External
}

// Basic asks for a name and a password (RFC 7617).
type Basic struct {
	Users Reference
	Realm string
}

// External asks another server about each request, which answers 2xx if it is to be
// let in, 401 or 403 if not.
type External struct {
	// URL is of http or https. Method is empty for GET.
	URL    Template
	Method string
	// SignIn is where clients without authority are redirected to; the empty Template:
	// they get 401.
	SignIn Template
	// AnswerFields are those of the server's answer, in lower case, that backends get.
	AnswerFields []string
	// Redirect is the X-Auth-Request-Redirect that the server gets; the empty Template:
	// the URI.
	Redirect Template
	// Fields are more that the server gets; the zero Reference: none.
	Fields Reference
	// CacheKey names the decision, by which it is used again; the empty Template: none
	// is. Cached are for how long.
	CacheKey Template
	Cached   []CacheFor
	// AlwaysSetCookie gives clients the server's cookies also with answers of backends
	// that are errors.
	AlwaysSetCookie bool
	// Fields of the server's request that a snippet sets.
	Snippet []FieldTemplate
}

// FieldTemplate is a field of a header, with variables.
type FieldTemplate struct {
	Name  string
	Value Template
}

// CacheFor is how long an answer with one of the statuses is used again.
type CacheFor struct {
	Statuses []int
	For      time.Duration
}

// Lifetime returns how long an answer may be used again; 0: not at all.
func (e *External) Lifetime(status int) time.Duration {
	for _, c := range e.Cached {
		for _, s := range c.Statuses {
			if s == status {
				return c.For
			}
		}
	}
	return 0
}
