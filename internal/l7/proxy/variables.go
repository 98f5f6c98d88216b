package proxy

import (
	"net/url"
	"strings"

	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// value is the filter.Source of a request. What it returns is valid as long as that.
func (x *exchange) value(what filter.Variable, argument string) string {
	r := &x.request
	switch what {
	case filter.Host:
		return x.query.Host
	case filter.HTTPHost:
		return text(r.Authority)
	case filter.RequestURI:
		return text(x.record.target)
	case filter.EscapedRequestURI:
		return string(filter.AppendEscaped(nil, text(x.record.target)))
	case filter.URI:
		return x.query.Path
	case filter.Args:
		return x.query.Query
	case filter.Method:
		return x.query.Method
	case filter.Scheme:
		return x.hop.Scheme(r)
	case filter.RemoteAddr:
		return x.hop.Client(r).String()
	case filter.RequestID:
		return string(r.ID(x.id[:]))
	case filter.RemoteUser:
		name, _, _ := x.credentials()
		return name
	case filter.Header:
		return text(r.Get(argument))
	case filter.Cookie:
		return cookie(text(r.Get("cookie")), argument)
	case filter.Argument:
		return parameter(x.query.Query, argument)
	}
	if what == filter.ClientVerify || what == filter.ClientSubject || what == filter.ClientIssuer {
		return x.ofClient(what)
	}
	return x.ofRoute(what)
}

// ofRoute returns what is the same for all requests of a Route.
func (x *exchange) ofRoute(what filter.Variable) string {
	route := x.route
	switch what {
	case filter.Namespace:
		return route.Source.Namespace
	case filter.IngressName:
		return route.Source.Name
	case filter.ServiceName:
		if len(route.Backends) > 0 {
			return route.Backends[0].Backend.Service.Name
		}
	case filter.ServicePort:
		if len(route.Backends) > 0 {
			return route.Backends[0].Backend.Port
		}
	case filter.ServerPort:
		return x.hop.Port()
	}
	return ""
}

// cookie returns the value of the first cookie of a name.
func cookie(header, name string) string {
	for rest := header; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, ";")
		if key, value, ok := strings.Cut(strings.TrimLeft(pair, " "), "="); ok && key == name {
			return value
		}
	}
	return ""
}

// parameter returns the first value of a query parameter, as it was sent.
func parameter(query, name string) string {
	for rest := query; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		key, value, _ := strings.Cut(pair, "=")
		if strings.EqualFold(key, name) {
			return value
		}
		if decoded, err := url.QueryUnescape(key); err == nil && decoded == name {
			return value
		}
	}
	return ""
}
