package config

import "strings"

func (g Gateway) validate(bad func(field, format string, args ...any)) {
	if g.Service != "" && !isName(g.Service) {
		bad("gateway.service", "%q is not of the form NAMESPACE/NAME", g.Service)
	}
	if g.MaxConnections < 1 {
		bad("gateway.maxConnections", "%d is not a number of connections, which is at least 1", g.MaxConnections)
	}
	if g.HTTPPort == 0 || g.HTTPSPort == 0 || g.HTTPPort == g.HTTPSPort {
		bad("gateway.httpPort and gateway.httpsPort", "%d and %d are no two ports", g.HTTPPort, g.HTTPSPort)
	}
	if g.Lameduck < 0 || g.Drain < 0 {
		bad("gateway.lameduck and gateway.drain", "must not be negative")
	}
	if g.DefaultCertificate != "" && !isName(g.DefaultCertificate) {
		bad("gateway.defaultCertificate", "%q is not of the form NAMESPACE/NAME", g.DefaultCertificate)
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
