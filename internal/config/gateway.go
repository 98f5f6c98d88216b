package config

import "strings"

func (g Gateway) validate(bad func(field, format string, args ...any)) {
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
