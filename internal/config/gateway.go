package config

import (
	"cmp"
	"net/url"
	"strings"

	"github.com/fairlead-net/fairlead/internal/l7/accesslog"
	"github.com/fairlead-net/fairlead/internal/l7/tracing"
)

// AccessLog configures how requests are written down.
type AccessLog struct {
	// Output is stdout, or the absolute path of a file; empty: requests are not written down.
	Output string `yaml:"output"`
	// Format is json, nginx for ingress-nginx's default, or a text with nginx's variables, as
	// in ingress-nginx's log-format-upstream.
	Format string `yaml:"format"`
	// EscapeJSON is ingress-nginx's log-format-escape-json: in a text of one's own, values
	// are written so that they can be between the quotes of JSON.
	EscapeJSON bool `yaml:"escapeJSON"`
	// SkipURLs are paths with their query that are left out; those that begin with ~ are
	// regular expressions.
	SkipURLs []string `yaml:"skipURLs"`
}

// Tracing configures which requests are told to a collector.
type Tracing struct {
	// Endpoint is http://HOST:PORT or https://HOST:PORT of a collector that speaks OTLP by
	// gRPC; empty: nothing is traced, and what clients say of traces is passed on as it is.
	Endpoint string `yaml:"endpoint"`
	// Sampler has a name of OTEL_TRACES_SAMPLER, Ratio is for those that go by it.
	Sampler string  `yaml:"sampler"`
	Ratio   float64 `yaml:"ratio"`
}

// LogFormat returns what Format and EscapeJSON say.
func (a AccessLog) LogFormat() (*accesslog.Format, error) {
	switch a.Format {
	case "json":
		return accesslog.JSON(), nil
	case "nginx":
		return accesslog.Parse(accesslog.Default, a.EscapeJSON)
	}
	return accesslog.Parse(a.Format, a.EscapeJSON)
}

func (a AccessLog) validate(bad func(field, format string, args ...any)) {
	if a.Output != "" && a.Output != "stdout" && !strings.HasPrefix(a.Output, "/") {
		bad("gateway.accessLog.output", "%q is neither stdout nor an absolute path", a.Output)
	}
	if !strings.Contains(a.Format, "$") && a.Format != "json" && a.Format != "nginx" {
		bad("gateway.accessLog.format", "%q is neither json nor nginx, nor does it have a variable such as $status", a.Format)
	} else if _, err := a.LogFormat(); err != nil {
		bad("gateway.accessLog.format", "%v", err)
	}
	if _, err := accesslog.ParseSkips(a.SkipURLs); err != nil {
		bad("gateway.accessLog.skipURLs", "%v", err)
	}
}

func (t Tracing) validate(bad func(field, format string, args ...any)) {
	if u, err := url.Parse(t.Endpoint); t.Endpoint != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Path != "" || u.User != nil) {
		bad("gateway.tracing.endpoint", "%q is not of the form http://HOST:PORT or https://HOST:PORT", t.Endpoint)
	}
	if _, err := tracing.ParseSampler(t.Sampler, t.Ratio); err != nil {
		bad("gateway.tracing", "%v", err)
	}
}

func (g Gateway) validate(bad func(field, format string, args ...any)) {
	if g.Service != "" && !isName(g.Service) {
		bad("gateway.service", "%q is not of the form NAMESPACE/NAME", g.Service)
	}
	if g.MaxConnections < 1 {
		bad("gateway.maxConnections", "%d is not a number of connections, which is at least 1", g.MaxConnections)
	}
	if g.MaxClientConnections < 0 {
		bad("gateway.maxClientConnections", "%d is negative; 0 means as many as are free", g.MaxClientConnections)
	}
	if g.HTTPPort == 0 || g.HTTPSPort == 0 || g.HTTPPort == g.HTTPSPort {
		bad("gateway.httpPort and gateway.httpsPort", "%d and %d are no two ports", g.HTTPPort, g.HTTPSPort)
	}
	g.AccessLog.validate(bad)
	g.Tracing.validate(bad)
	if s := g.OCSPStapling; s != "public" && s != "any" && s != "none" {
		bad("gateway.ocspStapling", "%q is none of public, any and none", s)
	}
	if g.Lameduck < 0 || g.Drain < 0 {
		bad("gateway.lameduck and gateway.drain", "must not be negative")
	}
	if g.DefaultCertificate != "" && !isName(g.DefaultCertificate) {
		bad("gateway.defaultCertificate", "%q is not of the form NAMESPACE/NAME", g.DefaultCertificate)
	}
	for field, name := range map[string]string{"nginxConfigMap": g.NginxConfigMap, "tcpServices": g.TCPServices, "udpServices": g.UDPServices} {
		if name != "" && !isName(name) {
			bad("gateway."+field, "%q is not of the form NAMESPACE/NAME", name)
		}
	}
	service, port, ok := strings.Cut(g.DefaultBackend, ":")
	if g.DefaultBackend != "" && (!ok || port == "" || !isName(service)) {
		bad("gateway.defaultBackend", "%q is not of the form NAMESPACE/NAME:PORT", g.DefaultBackend)
	}
}

// isName tells a text of the form NAMESPACE/NAME.
func isName(text string) bool {
	namespace, name, ok := strings.Cut(text, "/")
	return ok && namespace != "" && name != "" && !strings.Contains(name, "/")
}

// The ConfigMaps of ingress-nginx where nothing else is said, as its documentation has
// them.
const (
	nginxConfigMap = "ingress-nginx/ingress-nginx-controller"
	nginxTCP       = "ingress-nginx/tcp-services"
	nginxUDP       = "ingress-nginx/udp-services"
)

// ConfigMaps returns NAMESPACE/NAME of the ConfigMaps that gateways follow: settings,
// and ports of TCP and UDP; empty for those that there are none of.
func (c Config) ConfigMaps() (settings, tcp, udp string) {
	settings, tcp, udp = c.Gateway.NginxConfigMap, c.Gateway.TCPServices, c.Gateway.UDPServices
	if c.Migration.IngressNginx {
		settings, tcp, udp = cmp.Or(settings, nginxConfigMap), cmp.Or(tcp, nginxTCP), cmp.Or(udp, nginxUDP)
	}
	return settings, tcp, udp
}
