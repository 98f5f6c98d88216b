package agent

import (
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead-net/fairlead/internal/config"
	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/accesslog"
	"github.com/fairlead-net/fairlead/internal/l7/proxy"
	"github.com/fairlead-net/fairlead/internal/l7/waf"
)

// L7Config returns what the configuration says about Ingresses.
func L7Config(c config.Config) l7.Config {
	made := l7.Config{
		IngressNginx: c.Migration.IngressNginx, NoExternalNames: !c.Gateway.ExternalNames, ParametersAsSent: c.Gateway.PathParametersAsSent,
		Passthrough: c.Gateway.TLSPassthrough, ModSecurity: c.Gateway.ModSecurity, OwnHosts: !c.Gateway.SharedHosts,
	}
	settings, tcp, udp := c.ConfigMaps()
	made.NginxConfigMap, made.TCPServices, made.UDPServices = parseName(settings), parseName(tcp), parseName(udp)
	made.Service, made.HTTP3, made.NoAccessLog = parseName(c.Gateway.Service), c.Gateway.HTTP3, c.Gateway.AccessLog.Output == ""
	made.HTTPPort, made.HTTPSPort = c.Gateway.HTTPPort, c.Gateway.HTTPSPort
	made.Taken[0] = l7.TakenPort{Protocol: desired.TCP, Port: chartHTTP, By: ownHTTP}
	if c.Gateway.DefaultCertificate != "" {
		made.DefaultCertificate = l7.CertificateID(parseName(c.Gateway.DefaultCertificate))
	}
	if service, port, ok := strings.Cut(c.Gateway.DefaultBackend, ":"); ok {
		made.DefaultBackend = l7.BackendID{Service: parseName(service), Port: port}
	}
	return made
}

// rulesLater has texts of rules compiled in the background, by a process that is told when
// that is done.
func rulesLater(c l7.Config) l7.Config {
	c.Rules = waf.Shared()
	return c
}

// tables says what this process's gateway makes of objects.
func (o Options) tables() l7.Config {
	made := rulesLater(L7Config(o.Config))
	made.Taken = o.taken()
	return made
}

// chartHTTP is the port at which the chart's gateways have what ownHTTP says. A gateway
// knows its own (Options.taken); others, such as the controller, go by this one.
const (
	chartHTTP = 9153
	ownHTTP   = "health, metrics and status"
)

// taken are the ports of TCP and UDP that this process has beside its gateway.
func (o Options) taken() (all [8]l7.TakenPort) {
	n := 0
	add := func(protocol desired.Protocol, port uint16, by string) {
		made := l7.TakenPort{Protocol: protocol, Port: port, By: by}
		if port != 0 && n < len(all) && !slices.Contains(all[:], made) { // what has no place is found when it is bound
			all[n] = made
			n++
		}
	}
	for _, port := range portOf(o.HTTP) {
		add(desired.TCP, port, ownHTTP)
	}
	if slices.Contains(o.Planes, "lb") {
		add(desired.TCP, o.Config.LB.MetricsBindAddress.Port(), "kube-proxy's metrics (lb.metricsBindAddress)")
		add(desired.TCP, o.Config.LB.HealthzBindAddress.Port(), "kube-proxy's health (lb.healthzBindAddress)")
	}
	if slices.Contains(o.Planes, "dns") {
		for _, at := range o.Config.DNS.Listen {
			add(desired.UDP, at.Port(), "DNS")
			add(desired.TCP, at.Port(), "DNS")
		}
		for _, at := range slices.Concat(o.Config.DNS.TLS.Listen, o.Config.DNS.HTTPS.Listen) {
			add(desired.TCP, at.Port(), "DNS over TLS or HTTPS")
		}
	}
	return all
}

// servicePort is where the chart's Service of gateways has HTTPS.
const servicePort = 443

// ProxyConfig says how gateways serve.
func ProxyConfig(c config.Config, log *slog.Logger) proxy.Config {
	g := c.Gateway
	return proxy.Config{
		TrustedProxies: g.TrustedProxies, ProxyProtocol: g.ProxyProtocol, MaxConnections: g.MaxConnections, MaxClientConnections: g.MaxClientConnections, Lameduck: g.Lameduck, DrainTimeout: g.Drain,
		HTTP3: g.HTTP3, AltSvcPort: servicePort,
		AllowedRanges: g.AllowedRanges, DeniedRanges: append(apiServers(c.APIServers, os.Getenv("KUBERNETES_SERVICE_HOST")), g.DeniedRanges...),
		Log: log.With("plane", "gateway"), AccessLog: accessLog(g.AccessLog),
	}
}

// apiServers are the addresses at which this process, as each pod, finds the API server.
// Names of users do not lead there: it may take who comes from here for somebody else than
// who wrote the name.
func apiServers(urls []string, service string) []netip.Prefix {
	hosts := []string{service}
	for _, text := range urls {
		if u, err := url.Parse(text); err == nil {
			hosts = append(hosts, u.Hostname())
		}
	}
	var all []netip.Prefix
	for _, host := range hosts {
		if a, err := netip.ParseAddr(host); err == nil {
			all = append(all, netip.PrefixFrom(a.Unmap().WithZone(""), a.Unmap().BitLen()))
		}
	}
	return all
}

// portOf returns the port of HOST:PORT, which is not for requests of users; none if there
// is none.
func portOf(address string) []uint16 {
	_, text, err := net.SplitHostPort(address)
	port, wrong := strconv.ParseUint(text, 10, 16)
	if err != nil || wrong != nil || port == 0 {
		return nil
	}
	return []uint16{uint16(port)}
}

// accessLog says how requests are written down; nil if they are not. What cannot be read
// has been refused with the configuration.
func accessLog(a config.AccessLog) *proxy.AccessLog {
	if a.Output == "" {
		return nil
	}
	made := &proxy.AccessLog{Path: a.Output}
	made.Format, _ = a.LogFormat()
	made.Skips, _ = accesslog.ParseSkips(a.SkipURLs)
	if a.Output == "stdout" {
		made.Output = os.Stdout
	}
	return made
}

// ConfigMaps returns the names of those that say how Ingresses are served, and which
// ports of TCP and UDP; zero values where there is none.
func ConfigMaps(c config.Config) [3]desired.Name {
	made := L7Config(c)
	return [3]desired.Name{made.NginxConfigMap, made.TCPServices, made.UDPServices}
}
