package proxy

import (
	"errors"
	"strconv"

	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// errReplaced is that another backend answers in place of what came.
var errReplaced = errors.New("another backend answers instead")

// replaces reports whether another backend answers in place of a status.
func (x *exchange) replaces(status int) bool {
	return x.route != nil && !x.instead && x.route.Errors.Replaces(status)
}

// errorPage has the backend for errors answer a request, with what ingress-nginx tells
// it, and reports whether it has. The request's body is off the buffer. Who was not let in by the Route still gets no other
// answer than this.
func (x *exchange) errorPage(status int) bool {
	if x.instead || x.inbound != nil && !x.inbound.wanted() {
		return false
	}
	id := x.route.Errors.Backend
	b, _ := x.state.backends.Get(id)
	if b == nil || len(b.endpoints) == 0 {
		return false
	}
	x.instead = true
	r := &x.request
	// Nobody may have looked at who asks: what the client says of that is not for the page.
	r.RemoveGiven("authorization")
	x.dropClaims()
	x.closes = x.closes || x.early
	x.linger = x.linger || x.closes
	for name, value := range map[string]string{
		"X-Code": strconv.Itoa(status), "X-Format": x.value(filter.Header, "accept"), "X-Original-URI": x.value(filter.RequestURI, ""),
		"X-Namespace": x.value(filter.Namespace, ""), "X-Ingress-Name": x.value(filter.IngressName, ""),
		"X-Service-Name": x.value(filter.ServiceName, ""), "X-Service-Port": x.value(filter.ServicePort, ""),
	} {
		r.Set(field(name, value))
	}
	// What comes now is not the request that the client made, but one about it.
	if r.Method = []byte("GET"); x.toHEAD {
		r.Method = []byte("HEAD")
	}
	r.Target = []byte("/")
	r.Chunked, r.Continue, r.Length = false, false, -1
	x.upgrade, x.early, x.sends = false, false, 0
	x.route = &l7.Route{Source: x.route.Source, Rule: x.route.Rule, Backends: []l7.Weighted{{Backend: id, Weight: 1}}}
	if err := x.tryAll(b); err != nil {
		x.failed(err)
	}
	return true
}
