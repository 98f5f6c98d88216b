package proxy

import (
	"bytes"
	"net/http"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/http1"
)

// maxRounds is how often a request may come: from a proxy in front of this kind, say, and
// once more from a server that lets it in. Where it comes for ever, each time may have
// become several.
const maxRounds = 4

// ready reports whether the request goes to a backend; if not, it has been answered.
// What a Route says applies in the order that l7.Route states.
func (x *exchange) ready() bool {
	r := &x.request
	switch {
	case x.route == nil:
		x.answer(404, "no route matches the request")
	case r.Rounds >= maxRounds:
		x.instead = true // a page for errors might lead back here as well
		x.answer(508, "the request has come back to this proxy again and again; a backend of the route leads to it")
	case !x.headers() || x.stepped(true):
	case x.route.HTTPSRedirect != nil && x.hop.Scheme(r) != "https":
		x.redirect(x.route.HTTPSRedirect)
	case !x.certified() || x.preflight():
	case x.route.Redirect != nil:
		x.redirect(x.route.Redirect)
	case x.stepped(false):
	case x.exceeds():
	case !x.admitted():
	case x.maxBody() >= 0 && !r.Chunked && r.Length > x.maxBody():
		x.answer(413, "the body is larger than allowed")
	case !hasBackend(x.route):
		x.answer(orDefault(x.route.Status, 503), orDefault(x.route.Why, "the route has no backend"))
	case !x.inspected():
	case !x.rewrite():
		x.answer(400, "the path cannot be rewritten as the route says")
	default:
		return x.requestFields()
	}
	return false
}

// rewrite makes the request's target the one that the backend gets, and reports
// whether there is one.
func (x *exchange) rewrite() bool {
	w := x.route.Rewrite
	if w == nil || w.Path == nil || x.query.Path[0] != '/' { // as that of OPTIONS * is not
		return true
	}
	path, err := w.Path.Apply(x.query.Path)
	if err != nil {
		return false
	}
	// What is sent has to read as what was made, whoever made it.
	_, wire, err := l7.Normalize(l7.Encode(path))
	if err != nil {
		return false
	}
	r := &x.request
	asks := bytes.IndexByte(r.Target, '?') >= 0
	if x.target = append(x.target[:0], wire...); asks {
		x.target = append(append(x.target, '?'), r.Query...)
	}
	r.Target = x.target
	return true
}

// onward returns what of the request the backend gets in another way than it came.
func (x *exchange) onward() *http1.Onward {
	to := &x.work.onward
	*to = http1.Onward{ID: x.id[:], Upgrade: x.upgrade, Trace: x.traceOnward(), KeepsState: x.record.trace.KeepsState}
	if w := x.route.Rewrite; w != nil {
		to.Host, to.Prefix = w.Host, w.Prefix
	}
	return to
}

// secure returns the connections to an endpoint with the TLS that the route wants; nil
// if it wants none. The error is that it cannot be had.
func (x *exchange) secure(e *endpoint) (*securePool, error) {
	switch up := &x.route.Upstream; up.Protocol {
	case l7.UpstreamAuto:
		if x.listener.tls == nil {
			return nil, nil
		}
		fallthrough
	case l7.UpstreamHTTPS, l7.UpstreamGRPCS:
		d, err := x.proxy.demand(&up.TLS)
		if err != nil {
			return nil, err
		}
		d.http2 = up.Protocol == l7.UpstreamGRPCS
		return e.secure(d, x.at), nil
	}
	return nil, nil
}

// hasBackend reports whether a Route has a Backend with a weight.
func hasBackend(route *l7.Route) bool {
	for i := range route.Backends {
		if route.Backends[i].Weight > 0 {
			return true
		}
	}
	return false
}

// maxBody is how many bytes the request's body may have: what the Route says, else
// the Config; negative means any.
func (x *exchange) maxBody() int64 { return orDefault(x.route.MaxBody, x.proxy.settings().MaxBody) }

// readTimeout and sendTimeout are for the next part of an answer to come, and for a
// part of the request to be taken.
func (x *exchange) readTimeout() time.Duration {
	return orDefault(x.route.Upstream.Read, x.proxy.settings().ReadTimeout)
}

func (x *exchange) sendTimeout() time.Duration {
	return orDefault(x.route.Upstream.Send, x.proxy.settings().WriteTimeout)
}

// redirect answers with where else to go.
func (x *exchange) redirect(to *l7.Redirect) {
	x.status, x.record.reason = to.Status, "the route redirects"
	x.closes = x.closes || !x.skipBody()
	b := x.page[:0]
	if to.Location != "" {
		b = x.appendWhole(b, to)
	} else {
		b = x.appendReplaced(b, to)
	}
	x.page = b
	x.response.Make(to.Status, http.StatusText(to.Status))
	x.response.Add("Location", text(b))
	x.response.Length = 0
	x.say(x.client, nil, x.closes)
	x.linger = x.linger || x.closes
}

// appendWhole appends a target that is given as a whole.
func (x *exchange) appendWhole(b []byte, to *l7.Redirect) []byte {
	b = append(b, to.Location...)
	if target := x.request.Target; to.AppendURI && target[0] == '/' {
		if to.Location == "/" {
			target = target[1:] // two slashes would begin the name of another host
		}
		b = append(b, target...)
	}
	return b
}

// appendReplaced appends the URL of the request with some parts replaced.
func (x *exchange) appendReplaced(b []byte, to *l7.Redirect) []byte {
	r := &x.request
	own := x.hop.Scheme(r)
	scheme := orDefault(to.Scheme, own)
	b = append(b, scheme...)
	b = append(b, "://"...)
	switch {
	case to.Host != "":
		b = append(b, to.Host...)
	case scheme != own:
		b = append(b, r.Host...) // the port is another one then
	default:
		b = append(b, r.Authority...)
	}
	switch {
	case to.Path != "":
		b = append(b, to.Path...)
		if len(r.Query) > 0 {
			b = append(append(b, '?'), r.Query...)
		}
	case r.Target[0] == '/':
		b = append(b, r.Target...)
	}
	return b
}
