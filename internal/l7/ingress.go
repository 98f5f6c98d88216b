package l7

import (
	"strings"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7/filter"
	"github.com/fairlead-net/fairlead/internal/l7/nginx"
	"github.com/fairlead-net/fairlead/internal/l7/waf"
)

// ingress is what one Ingress asks for. It does not depend on others, but for its ruling,
// and is made once.
type ingress struct {
	source   *desired.Ingress
	standing standing
	options  nginx.Options
	// rules are by host.
	rules map[string][]rule
	// secrets are by host; secured are the hosts in spec.tls, also those that are to
	// have the default certificate.
	secrets map[string]CertificateID
	secured map[string]bool
	// backends are all that rules name.
	backends map[BackendID]bool
	// filters are those of all Routes; nil: none. references are the objects they need.
	filters *filter.Filters
	errors  *Errors
	// aliases are hosts that it names in annotations only.
	aliases map[string]bool
	// settings are the administrator's, of ingress-nginx.
	settings   *nginx.Settings
	references map[filter.Reference]bool
	// proxyProtocol is the version in which backends are told who the client is, where TLS
	// is passed through; 0: they are not.
	proxyProtocol uint8
	// checks are the rules of ModSecurity that it wants; nil: none, or its text is wrong. ruling is
	// what becomes of them.
	checks  *waf.Rules
	ruling  ruling
	reasons []desired.Reason
}

// readIngress makes the rules of an Ingress.
func readIngress(source *desired.Ingress, is standing, c *Config, r ruling) *ingress {
	i := readRules(source, is, c, r)
	i.addAliases()
	return i
}

// readRules makes those of the hosts that it names.
func readRules(source *desired.Ingress, is standing, c *Config, r ruling) *ingress {
	i := &ingress{
		source: source, standing: is, rules: map[string][]rule{}, secrets: map[string]CertificateID{}, secured: map[string]bool{},
		backends: map[BackendID]bool{}, reasons: append([]desired.Reason(nil), source.Reasons()...),
	}
	i.readOptions(c, r)
	i.readErrors(c.DefaultBackend)
	if i.options.Canary == nil { // else all but the backends is the main one's matter
		i.readTLS()
	}
	for _, r := range source.Rules {
		if made, ok := i.rule(r); ok {
			i.rules[r.Host] = append(i.rules[r.Host], made)
		}
	}
	if source.Default == nil || i.options.Canary != nil {
		return i
	}
	// What the default backend is the default of: all hosts that nobody names, if
	// there are no rules; else the hosts of the rules, so that nobody takes with it
	// what is no host of his.
	everything := rule{kind: fallback, written: "(default backend)", route: i.route("defaultBackend", *source.Default)}
	if source.CatchAll {
		i.rules[""] = []rule{everything}
		return i
	}
	for host := range i.rules {
		i.rules[host] = append(i.rules[host], everything)
	}
	return i
}

// rule makes one rule, or says why it cannot.
func (i *ingress) rule(r desired.IngressRule) (rule, bool) {
	made := rule{written: r.Path}
	path, _, err := normalize(r.Path, true)
	switch {
	case err != nil:
		i.reasons = append(i.reasons, i.reason("PathInvalid", "spec.%s: path %q: %v; the path is left out", r.Field, r.Path, err))
		return rule{}, false
	case strings.Contains(r.Path, "//") || slashes(path) != slashes(r.Path):
		i.reasons = append(i.reasons, i.reason("PathNotNormal", "spec.%s: path %q has dot segments or several slashes in a row, which no request has when it is compared; the path is left out, write %q if that is meant", r.Field, r.Path, path))
		return rule{}, false
	}
	made.path = path
	switch r.Type {
	case desired.PathExact:
		made.kind = exact
	case desired.PathPrefix:
		made.kind, made.path = elements, strings.TrimSuffix(path, "/")
	default:
		// As ingress-nginx has it: also in the middle of an element.
		made.kind = text
	}
	made.route = i.route(r.Field, r.Backend)
	made.route.Host = r.Host
	return made, true
}

// slashes counts, which tells whether segments were dropped.
func slashes(path string) int { return strings.Count(path, "/") }

// route makes the Route to a backend.
func (i *ingress) route(field string, to desired.IngressBackend) *Route {
	r := &Route{Source: i.source.Ref(), Rule: field}
	if to.Resource != "" {
		// The path stays taken: what it would fall to was not meant for its requests.
		r.Status = 404
		i.reasons = append(i.reasons, i.reason("ResourceUnsupported", "spec.%s: the backend is %s; only services are supported, so requests get 404, name a service instead", field, to.Resource))
		return r
	}
	id := BackendID{Service: desired.Name{Namespace: i.source.Name.Namespace, Name: to.Service}, Port: to.Port, Virtual: i.options.ServiceUpstream}
	i.backends[id] = true
	r.Backends = []Weighted{{Backend: id, Weight: 1}}
	i.apply(r)
	return r
}

// readTLS finds out which hosts have which certificates. An entry without hosts is
// for those of the rules.
func (i *ingress) readTLS() {
	for _, entry := range i.source.TLS {
		hosts := entry.Hosts
		if len(hosts) == 0 {
			for _, r := range i.source.Rules {
				if r.Host != "" {
					hosts = append(hosts, r.Host)
				}
			}
		}
		for _, host := range hosts {
			i.secured[host] = true
			if _, has := i.secrets[host]; !has && entry.Secret != "" {
				i.secrets[host] = CertificateID{Namespace: i.source.Name.Namespace, Name: entry.Secret}
			}
		}
	}
}

// secures tells whether spec.tls has a host, itself or as *.REST.
func (i *ingress) secures(host string) bool {
	if i.secured[host] {
		return true
	}
	_, rest, ok := strings.Cut(host, ".")
	return ok && i.secured["*."+rest]
}
