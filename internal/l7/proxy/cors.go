package proxy

import (
	"net/http"

	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// preflight notes what the answer says to scripts of other origins, and reports whether
// the request only asked for that; then it has been answered.
func (x *exchange) preflight() bool {
	if x.route.Filters == nil || x.route.Filters.CORS == nil {
		return false
	}
	cors := x.route.Filters.CORS
	origin := string(x.request.Get("origin"))
	if !cors.Allows(origin) {
		return false
	}
	for _, f := range cors.Fields(origin) {
		x.add(f.Name, f.Value, always)
	}
	if !cors.Any {
		x.add("Vary", "Origin", besides)
	}
	if string(x.request.Method) != http.MethodOptions {
		return false
	}
	x.status = http.StatusNoContent
	x.closes = x.closes || !x.skipBody()
	x.response.Make(x.status, http.StatusText(x.status))
	x.response.Add("Content-Type", "text/plain charset=UTF-8") // as ingress-nginx has it
	x.say(x.client, nil, x.closes)
	x.linger = x.linger || x.closes
	return true
}

// headers notes the fields that the Route gives answers. It reports whether they are
// known; if not, the request has been answered.
func (x *exchange) headers() bool {
	x.snippetFields()
	if x.route.Filters == nil || x.route.Filters.Headers == nil {
		return true
	}
	h := x.route.Filters.Headers
	for _, name := range h.Hide {
		x.add(name, "", removed)
	}
	if h.HTTPS != "" && x.hop.Scheme(&x.request) == "https" {
		x.add("Strict-Transport-Security", h.HTTPS, always)
	}
	for _, r := range [2]filter.Reference{h.All, h.Answer} {
		if r.Name == "" {
			continue
		}
		content := x.proxy.content(r)
		if content == nil {
			x.answer(503, "the fields of the route's answers are not known")
			return false
		}
		for _, f := range content.Fields {
			x.add(f.Name, string(f.Value.Append(nil, x.value)), always)
		}
	}
	return true
}
