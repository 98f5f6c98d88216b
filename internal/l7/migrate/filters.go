package migrate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// filters writes down what is done with requests and answers beside sending them on.
func (p *part) filters(c *converter, route *l7.Route, at place, made *gateway.HTTPRouteRule) {
	to := &gateway.HTTPURLRewriteFilter{Path: at.rewrite}
	if w := route.Rewrite; w != nil && w.Host != "" {
		host := w.Host
		if name, _, hasPort := strings.Cut(host, ":"); hasPort && !strings.Contains(host, "[") {
			p.note("backends get Host %s without the port", host)
			host = name
		}
		if to.Hostname = precise(host); to.Hostname == nil {
			p.note("no equivalent: Host %s for backends, which is no DNS name", host)
		}
	}
	if to.Path != nil || to.Hostname != nil {
		made.Filters = append(made.Filters, gateway.HTTPRouteFilter{Type: gateway.HTTPRouteFilterURLRewrite, URLRewrite: to})
	}
	if w := route.Rewrite; w != nil && w.Prefix != "" {
		to := requestFields(made)
		to.Set = append(to.Set, gateway.HTTPHeader{Name: "X-Forwarded-Prefix", Value: w.Prefix})
	}
	f := route.Filters
	if f == nil {
		return
	}
	if f.CORS != nil {
		p.cors(f.CORS, made)
	}
	if f.Headers != nil {
		p.configured(c, f.Headers.Answer, made)
	}
	if r := f.Retry; r != nil && !r.Off && len(r.Statuses) > 0 {
		retry := &gateway.HTTPRouteRetry{}
		for _, status := range r.Statuses {
			if code := gateway.HTTPRouteRetryStatusCode(status); !slices.Contains(retry.Codes, code) {
				retry.Codes = append(retry.Codes, code)
			}
		}
		retry.Attempts = ptr(max(r.Tries, 3) - 1)
		if r.Tries > 0 {
			retry.Attempts = ptr(r.Tries - 1)
		}
		made.Retry = retry
	}
	if f.Snippet != nil {
		p.snippet(f.Snippet, made)
	}
	made.Filters = slices.DeleteFunc(made.Filters, func(f gateway.HTTPRouteFilter) bool {
		return empty(f.RequestHeaderModifier) || empty(f.ResponseHeaderModifier)
	})
	p.lost(f)
}

// requestFields returns what changes the fields of a rule's requests, of which there
// is one; answerFields the same for answers.
func requestFields(made *gateway.HTTPRouteRule) *gateway.HTTPHeaderFilter {
	for _, f := range made.Filters {
		if f.RequestHeaderModifier != nil {
			return f.RequestHeaderModifier
		}
	}
	to := &gateway.HTTPHeaderFilter{}
	made.Filters = append(made.Filters, gateway.HTTPRouteFilter{Type: gateway.HTTPRouteFilterRequestHeaderModifier, RequestHeaderModifier: to})
	return to
}

func answerFields(made *gateway.HTTPRouteRule) *gateway.HTTPHeaderFilter {
	for _, f := range made.Filters {
		if f.ResponseHeaderModifier != nil {
			return f.ResponseHeaderModifier
		}
	}
	to := &gateway.HTTPHeaderFilter{}
	made.Filters = append(made.Filters, gateway.HTTPRouteFilter{Type: gateway.HTTPRouteFilterResponseHeaderModifier, ResponseHeaderModifier: to})
	return to
}

func empty(f *gateway.HTTPHeaderFilter) bool {
	return f != nil && len(f.Set)+len(f.Add)+len(f.Remove) == 0
}

// snippet writes down the fields that a snippet changes, as far as their values are the
// same for all requests.
func (p *part) snippet(s *filter.Snippet, made *gateway.HTTPRouteRule) {
	for _, f := range s.Request {
		p.change(f.Name, f.Value, filter.SetField, func() *gateway.HTTPHeaderFilter { return requestFields(made) })
	}
	for _, f := range s.Answer {
		p.change(f.Name, f.Value, f.How, func() *gateway.HTTPHeaderFilter { return answerFields(made) })
	}
}

func (p *part) change(name string, value filter.Template, how filter.Change, of func() *gateway.HTTPHeaderFilter) {
	text := strings.TrimSpace(value.String())
	field := gateway.HTTPHeader{Name: gateway.HTTPHeaderName(name), Value: text}
	has := func(list []gateway.HTTPHeader) bool {
		return slices.ContainsFunc(list, func(h gateway.HTTPHeader) bool { return strings.EqualFold(string(h.Name), name) })
	}
	switch to := of(); {
	case !value.Plain() || len(text) > 4096 || has(to.Set) || has(to.Add) || len(to.Set) == 16 || len(to.Add) == 16 || len(to.Remove) == 16:
		p.note("no equivalent: a snippet sets field %s to %s", name, value)
	case how == filter.ClearField || text == "":
		to.Remove = append(to.Remove, name)
	case how == filter.SetField:
		to.Set = append(to.Set, field)
	default:
		p.note("field %s is added to every answer, where the snippet may leave out errors", name)
		to.Add = append(to.Add, field)
	}
}

// precise returns a host name if it is one that Gateway API takes.
func precise(host string) *gateway.PreciseHostname {
	host = strings.ToLower(host)
	if len(validation.IsDNS1123Subdomain(host)) > 0 {
		return nil
	}
	return ptr(gateway.PreciseHostname(host))
}

// lost notes Filters that have no equivalent, and without which more works, not less.
func (p *part) lost(f *filter.Filters) {
	kept := filter.Filters{Limits: f.Limits, Balance: f.Balance, Answer: f.Answer}
	for _, line := range kept.Says() {
		p.note("no equivalent: it %s", line)
	}
}

// cors writes down which scripts of other origins are allowed.
func (p *part) cors(of *filter.CORS, made *gateway.HTTPRouteRule) {
	to := &gateway.HTTPCORSFilter{AllowCredentials: ptr(of.Credentials), MaxAge: int32(max(of.MaxAge, 1))}
	if of.Any {
		to.AllowOrigins = []gateway.CORSOrigin{"*"}
	}
	for _, o := range of.Origins {
		text := o.String()
		if !strings.HasPrefix(text, "http://") && !strings.HasPrefix(text, "https://") || len(to.AllowOrigins) == 64 {
			p.note("CORS: origin %s has no equivalent", text)
			continue
		}
		to.AllowOrigins = append(to.AllowOrigins, gateway.CORSOrigin(text))
	}
	for _, word := range words(of.Methods) {
		if m := gateway.HTTPMethodWithWildcard(strings.ToUpper(word)); slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "*"}, string(m)) {
			if !slices.Contains(to.AllowMethods, m) {
				to.AllowMethods = append(to.AllowMethods, m)
			}
		} else {
			p.note("CORS: method %s has no equivalent", word)
		}
	}
	to.AllowHeaders, to.ExposeHeaders = headerNames(of.Headers), headerNames(of.Expose)
	if slices.Contains(to.AllowMethods, "*") {
		to.AllowMethods = []gateway.HTTPMethodWithWildcard{"*"}
	}
	made.Filters = append(made.Filters, gateway.HTTPRouteFilter{Type: gateway.HTTPRouteFilterCORS, CORS: to})
}

// words splits a list as answers have it.
func words(list string) []string {
	return strings.FieldsFunc(list, func(c rune) bool { return c == ',' || c == ' ' })
}

func headerNames(list string) []gateway.HTTPHeaderName {
	var all []gateway.HTTPHeaderName
	for _, word := range words(list) {
		name := gateway.HTTPHeaderName(word)
		if word == "*" {
			return []gateway.HTTPHeaderName{"*"}
		}
		if !slices.Contains(all, name) && len(all) < 64 {
			all = append(all, name)
		}
	}
	return all
}

// configured writes down the fields that a ConfigMap gives answers.
func (p *part) configured(c *converter, from filter.Reference, made *gateway.HTTPRouteRule) {
	data, ok := c.in.ConfigMaps[desired.Name{Namespace: from.Namespace, Name: from.Name}]
	if !ok || len(data) > 16 {
		p.note("answers do not get the fields in %s: it is not there, or has more than 16; add a filter ResponseHeaderModifier", from)
		return
	}
	set := answerFields(made)
	for name, value := range data {
		if filter.FieldName(strings.ToLower(name)) {
			set.Set = append(set.Set, gateway.HTTPHeader{Name: gateway.HTTPHeaderName(name), Value: value})
		}
	}
	slices.SortFunc(set.Set, func(a, b gateway.HTTPHeader) int { return strings.Compare(string(a.Name), string(b.Name)) })
}

// upstream writes down how long backends may take, and notes how they are spoken with.
func (p *part) upstream(route *l7.Route, made *gateway.HTTPRouteRule) {
	u := route.Upstream
	if route.Errors != nil {
		p.note("no equivalent: custom-http-errors and default-backend")
	}
	if u.Read > 0 {
		made.Timeouts = &gateway.HTTPRouteTimeouts{BackendRequest: ptr(gateway.Duration(seconds(u.Read)))}
		p.note("timeouts.backendRequest is for the whole answer, where proxy-read-timeout is between two parts of it; leave it out where answers or WebSockets last longer")
	}
	if u.Connect > 0 || u.Send > 0 {
		p.note("no equivalent: proxy-connect-timeout and proxy-send-timeout")
	}
	if route.MaxBody != 0 && (route.MaxBody < 0 || route.MaxBody != 1<<20) {
		p.note("no equivalent: proxy-body-size; how large bodies may be is up to the implementation")
	}
	var backends []string
	for _, w := range route.Backends {
		backends = append(backends, w.Backend.String())
	}
	to := strings.Join(backends, ", ")
	switch u.Protocol {
	case l7.UpstreamGRPC:
		p.note("backends are spoken with in HTTP/2: give the ports of %s appProtocol: kubernetes.io/h2c", to)
	case l7.UpstreamHTTPS, l7.UpstreamGRPCS:
		p.note("backends are spoken with within TLS: %s needs a BackendTLSPolicy, which always checks the certificate", to)
	case l7.UpstreamAuto:
		p.note("no equivalent: backend-protocol AUTO_HTTP; %s is spoken with without TLS", to)
	}
}

// seconds writes a whole number of seconds as Gateway API takes it (GEP-2257): at most
// five digits.
func seconds(d time.Duration) string {
	return fmt.Sprintf("%ds", min(int(d/time.Second), 99999))
}
