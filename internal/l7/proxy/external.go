package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

const (
	// askTimeout is for all of an answer about whether a request is let in.
	askTimeout = 30 * time.Second
	// maxCookies is how many cookies of such an answer clients get.
	maxCookies = 16
)

// decision is another server's answer about whether a request is let in.
type decision struct {
	status    int
	challenge string
	// fields are what backends get of it, cookies what clients do.
	fields  []filter.Field
	cookies []string
	until   int64
}

// external asks another server. Whatever goes wrong, the request is not let in.
func (x *exchange) external(e *filter.External) verdict {
	if e == nil {
		return verdict{}
	}
	d, err := x.decide(e)
	if err != nil {
		x.proxy.config.Log.Debug("the server that decides who is let in did not", "source", x.route.Source, "error", err)
		return verdict{status: 500, reason: "the server that decides who is let in did not answer"}
	}
	when := successful
	if e.AlwaysSetCookie {
		when = always
	}
	v := verdict{status: d.status, reason: "the request is not let in", challenge: d.challenge}
	switch {
	case d.status >= 200 && d.status < 300:
		v.allowed = true
		for _, f := range d.fields {
			x.request.Set(field(f.Name, f.Value))
		}
	case d.status == 401 && e.SignIn.String() != "":
		v = verdict{status: 302, reason: "the client has to sign in", location: string(e.SignIn.AppendURL(nil, x.value))}
	case d.status == 401 || d.status == 403:
	default:
		return verdict{status: 500, reason: "the server that decides who is let in gave an answer of another kind"}
	}
	for _, cookie := range d.cookies {
		x.add("Set-Cookie", cookie, when)
	}
	return v
}

// decide returns the other server's answer, or one that it gave before.
func (x *exchange) decide(e *filter.External) (*decision, error) {
	key := ""
	if e.CacheKey.String() != "" {
		// Decisions of one Ingress are not another's.
		key = x.route.Source.String() + "\x00" + e.URL.String() + "\x00" + string(e.CacheKey.Append(nil, x.decided))
		if known := x.proxy.decisions.get(x.route.Source.Namespace, key, x.tick()); known != nil {
			return known, nil
		}
	}
	d, lasts, err := x.ask(e)
	if err == nil && key != "" && lasts > 0 {
		d.until = after(x.tick(), lasts)
		x.proxy.decisions.put(x.route.Source.Namespace, key, d)
	}
	return d, err
}

// ask sends the header of the request to the other server. It also returns how long
// the answer may be used again.
func (x *exchange) ask(e *filter.External) (*decision, time.Duration, error) {
	ctx, cancel := context.WithTimeout(x.proxy.ctx, askTimeout)
	defer cancel()
	request, err := x.question(ctx, e)
	if err != nil {
		return nil, 0, err
	}
	answer, err := x.proxy.asker.Do(request)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = answer.Body.Close() }()
	_, _ = io.CopyN(io.Discard, answer.Body, bulkSize) // so that the connection can be used again
	d := &decision{status: answer.StatusCode}
	if d.status == 401 {
		d.challenge = answer.Header.Get("WWW-Authenticate")
	}
	for _, name := range e.AnswerFields {
		for _, value := range answer.Header.Values(name) {
			d.fields = append(d.fields, filter.Field{Name: name, Value: value})
			break // nginx's variables have the first
		}
	}
	d.cookies = answer.Header.Values("Set-Cookie")
	if len(d.cookies) > maxCookies {
		d.cookies = d.cookies[:maxCookies]
	}
	lasts := e.Lifetime(d.status)
	control := strings.ToLower(answer.Header.Get("Cache-Control"))
	if len(d.cookies) > 0 || strings.Contains(control, "no-store") || strings.Contains(control, "no-cache") || strings.Contains(control, "private") {
		lasts = 0 // as nginx's cache has it
	}
	return d, lasts, nil
}

// decided is value for what another server is asked: $request_uri there has to read as what
// the backend gets, since what a client sends may lead elsewhere (/public/../admin).
func (x *exchange) decided(what filter.Variable, argument string) string {
	switch what {
	case filter.RequestURI:
		return text(x.request.Target)
	case filter.EscapedRequestURI:
		return string(filter.AppendEscaped(nil, text(x.request.Target)))
	}
	return x.value(what, argument)
}

// question returns the request that the other server gets: that of the client, without
// its body, and what ingress-nginx adds.
func (x *exchange) question(ctx context.Context, e *filter.External) (*http.Request, error) {
	v := x.decided
	target, err := url.Parse(string(e.URL.AppendURL(nil, v)))
	if err != nil || target.Host == "" {
		return nil, errors.New("the URL is malformed once its variables are filled in")
	}
	method := orDefault(e.Method, http.MethodGet)
	request, err := http.NewRequestWithContext(ctx, method, target.String(), nil)
	if err != nil {
		return nil, err
	}
	request.Host = target.Hostname()
	for i := range x.request.Fields {
		if f := &x.request.Fields[i]; x.hop.Passes(f) {
			request.Header.Add(string(f.Name), string(f.Value))
		}
	}
	redirect := e.Redirect
	uri := text(x.request.Target)
	given := uri
	if redirect.String() != "" {
		given = string(redirect.Append(nil, v))
	}
	client := v(filter.RemoteAddr, "")
	scheme := v(filter.Scheme, "")
	set := request.Header.Set
	set("X-Original-URL", scheme+"://"+v(filter.HTTPHost, "")+uri)
	set("X-Original-URI", uri)
	set("X-Original-Method", string(x.request.Method))
	set("X-Sent-From", "nginx-ingress-controller")
	set("X-Real-IP", client)
	set("X-Forwarded-For", client)
	set("X-Auth-Request-Redirect", given)
	set("X-Request-ID", v(filter.RequestID, ""))
	defer func() { set("CDN-Loop", string(x.request.AppendLoop(nil))) }()
	if e.Method != "" {
		set("X-Scheme", scheme)
	}
	if e.Fields.Name != "" {
		content := x.proxy.content(e.Fields)
		if content == nil {
			return nil, fmt.Errorf("%s is not there", e.Fields)
		}
		for _, f := range content.Fields {
			set(f.Name, string(f.Value.Append(nil, v)))
		}
	}
	for _, f := range e.Snippet {
		set(f.Name, string(f.Value.Append(nil, v)))
	}
	if request.Header.Get("User-Agent") == "" {
		request.Header["User-Agent"] = nil // else net/http says its own
	}
	return request, nil
}

// newAsker returns the client for requests of the proxy's own, to names that users
// choose. Addresses that are forbidden are not connected to.
func (p *Proxy) newAsker() *http.Client {
	c := &p.config
	return &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				return p.toName(c.ConnectTimeout).DialContext(ctx, network, address)
			},
			TLSHandshakeTimeout: c.ConnectTimeout, ResponseHeaderTimeout: askTimeout, TLSClientConfig: c.AskTLS,
			MaxIdleConnsPerHost: c.MaxIdle, IdleConnTimeout: c.UpstreamIdleTimeout, DisableCompression: true, MaxResponseHeaderBytes: int64(c.MaxHead),
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
