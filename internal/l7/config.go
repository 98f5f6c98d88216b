package l7

import (
	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7/nginx"
	"github.com/fairlead-net/fairlead/internal/l7/waf"
)

// The controllers of IngressClasses whose Ingresses are served.
const (
	Controller      = "fairlead.dev/ingress"
	ControllerNginx = "k8s.io/ingress-nginx"
)

// TakenPort is a port at which a process serves something of its own.
type TakenPort struct {
	Protocol desired.Protocol
	Port     uint16
	// By says what that is, such as DNS.
	By string
}

// Config are the administrator's choices. The zero Config is that of a cluster
// without any.
type Config struct {
	// IngressNginx takes over the IngressClasses of ingress-nginx.
	IngressNginx bool
	// NoExternalNames refuses Services of type ExternalName as backends, which lead to
	// any name whatever.
	NoExternalNames bool
	// Passthrough lets Ingresses have TLS passed through to their backends.
	Passthrough bool
	// OwnHosts gives each host to one namespace, that of its oldest Ingress: others' rules
	// for it are left out. Else they add what paths it has not, as with ingress-nginx.
	OwnHosts bool
	// ParametersAsSent takes paths with a semicolon as they are sent, though backends
	// that take what follows for a parameter read another path, for which there may be
	// another rule.
	ParametersAsSent bool
	// ModSecurity has the rules of ModSecurity checked that Ingresses ask for; without it,
	// they are closed.
	ModSecurity bool
	// Rules compiles texts of rules in the background: Compile does not wait for it, and is
	// to be called again when it says that something has changed. nil: waf.Shared() does so,
	// and Compile waits.
	Rules *waf.Compiler
	// Nginx are the settings of ingress-nginx's ConfigMap, for Ingresses of its classes; nil
	// for none.
	Nginx *nginx.Settings
	// NginxConfigMap is the ConfigMap that the settings are read from where Nginx is nil.
	// TCPServices and UDPServices list ports that are passed on to Services. The zero value:
	// there is none.
	NginxConfigMap, TCPServices, UDPServices desired.Name
	// Service is that by which clients reach the gateways; the zero value: it is not known.
	Service desired.Name
	// HTTP3: HTTPS Listeners also take the UDP port of their number. NoAccessLog: requests
	// are not written down, whatever is said of how.
	HTTP3, NoAccessLog bool
	// HTTPPort and HTTPSPort are those of the Listeners; 0 means 80 and 443.
	HTTPPort, HTTPSPort uint16
	// Taken are ports of the gateways' process that serve something else; zero values are
	// none. It is an array so that Configs can be compared.
	Taken [8]TakenPort
	// DefaultCertificate is for clients that no certificate is for; the zero value:
	// there is none.
	DefaultCertificate CertificateID
	// DefaultBackend takes what no rule takes; the zero value: the answer is 404.
	DefaultBackend BackendID
}
