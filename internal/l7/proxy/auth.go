package proxy

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7/filter"
	"github.com/fairlead-net/fairlead/internal/l7/htpasswd"
)

// maxPasswords bounds the requests that wait for their passwords to be checked.
const maxPasswords = 64

// passwordTimeout is how long a request waits for its password to be checked.
const passwordTimeout = 5 * time.Second

// verdict is whether a request is let in: allowed, or the answer that it gets. The
// zero verdict has nothing to say.
type verdict struct {
	allowed bool
	status  int
	reason  string
	// challenge is the WWW-Authenticate of a 401, location where a redirect leads.
	challenge, location string
}

// admitted reports whether the request may come in, by its address and by who sends
// it; if not, it has been answered.
func (x *exchange) admitted() bool {
	route := x.route
	if route.Filters != nil && route.Filters.Auth != nil {
		return x.identified(route.Filters.Auth)
	}
	return route.Access == nil || x.address().allowed || x.deny(x.address())
}

// identified does the same where it matters who sends a request. What nginx calls
// satisfy says whether all have to agree or one does.
func (x *exchange) identified(auth *filter.Auth) bool {
	v := x.judge(auth)
	if auth.Basic != nil {
		// The password is this proxy's matter, as ingress-nginx has it.
		x.request.RemoveGiven("authorization")
	}
	x.dropClaims()
	return v.allowed || x.deny(v)
}

// dropClaims takes away what the client says in place of the server that decides who is
// let in, also where that has not been asked. It may have been told: it may be what it
// decides by.
func (x *exchange) dropClaims() {
	if f := x.route.Filters; f != nil && f.Auth != nil && f.Auth.External != nil {
		for _, name := range f.Auth.External.AnswerFields {
			x.request.RemoveGiven(name)
		}
	}
}

// judge asks in turn, until it is clear whether a request is let in.
func (x *exchange) judge(auth *filter.Auth) verdict {
	refused := verdict{}
	for ask := range 3 {
		var v verdict
		switch ask {
		case 0:
			v = x.address()
		case 1:
			v = x.basic(auth.Basic)
		case 2:
			v = x.external(auth.External)
		}
		switch {
		case v.allowed && auth.Any:
			return v
		case v.allowed || v.status == 0:
		case !auth.Any:
			return v
		case refused.status == 0 || refused.status == 403:
			refused = v
		}
	}
	refused.allowed = refused.status == 0
	return refused
}

// address is what the client's address says, if that matters.
func (x *exchange) address() verdict {
	if x.route.Access == nil {
		return verdict{}
	}
	return verdict{allowed: x.route.Access.Allows(x.hop.Client(&x.request)), status: 403, reason: "the client's address is not let in"}
}

// deny answers a request that is not let in. It returns false.
func (x *exchange) deny(v verdict) bool {
	if v.challenge != "" {
		x.add("WWW-Authenticate", v.challenge, always)
	}
	if v.location != "" {
		x.add("Location", v.location, always)
	}
	x.answer(v.status, v.reason)
	return false
}

// credentials returns the name and the password of a request (RFC 7617, section 2).
func (x *exchange) credentials() (name, password string, ok bool) {
	scheme, text, _ := strings.Cut(string(x.request.Get("authorization")), " ")
	if !strings.EqualFold(scheme, "basic") {
		return "", "", false
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimLeft(text, " "))
	if err != nil {
		return "", "", false
	}
	return strings.Cut(string(raw), ":")
}

// basic asks for a password.
func (x *exchange) basic(b *filter.Basic) verdict {
	if b == nil {
		return verdict{}
	}
	content := x.proxy.content(b.Users)
	if content == nil {
		return verdict{status: 503, reason: "the users of the route are not known"}
	}
	refused := verdict{status: 401, reason: "a name and a password are needed", challenge: `Basic realm="` + b.Realm + `"`}
	name, password, ok := x.credentials()
	if !ok {
		return refused
	}
	ctx, cancel := context.WithTimeout(x.proxy.ctx, passwordTimeout)
	defer cancel()
	right, err := x.proxy.passwords.Verify(ctx, x.route.Source.Namespace, content.Users, name, password)
	if errors.Is(err, htpasswd.ErrBusy) {
		return verdict{status: 503, reason: err.Error()}
	}
	refused.allowed = right && err == nil
	return refused
}
