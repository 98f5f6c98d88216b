// Package config is Fairlead's one configuration file, fairlead.yaml.
//
// In goes the text of the file; out comes a Config in which everything that was
// left out has its default, or an error that names the line and the field. It
// reads no file and applies nothing.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Config is the whole file. One file serves every process; each reads its part.
type Config struct {
	// ClusterDomain is the DNS zone of the cluster.
	ClusterDomain string `yaml:"clusterDomain"`
	// APIServers are https://HOST:PORT addresses that every node reaches without
	// any Service. Empty: as the pod's environment says.
	APIServers []string `yaml:"apiServers"`
	// LogLevel is debug, info, warn or error.
	LogLevel     string       `yaml:"logLevel"`
	LB           LB           `yaml:"lb"`
	LoadBalancer LoadBalancer `yaml:"loadBalancer"`
	DNS          DNS          `yaml:"dns"`
	Status       Status       `yaml:"status"`
	Gateway      Gateway      `yaml:"gateway"`
	ACME         ACME         `yaml:"acme"`
	Migration    Migration    `yaml:"migration"`
}

// Gateway configures what Ingresses are served with.
type Gateway struct {
	// ExternalNames lets backends be Services of type ExternalName, which lead to any
	// name whatever.
	ExternalNames bool `yaml:"externalNames"`
	// SharedHosts lets Ingresses of several namespaces have paths of one host; else it is that
	// of its oldest Ingress only.
	SharedHosts bool `yaml:"sharedHosts"`
	// PathParametersAsSent takes paths with a semicolon as they are sent, though backends
	// may read another path of them, for which there is another rule.
	PathParametersAsSent bool `yaml:"pathParametersAsSent"`
	// ModSecurity has the rules of ModSecurity checked that Ingresses ask for by
	// annotations, which costs processor time and memory; else they answer 503.
	ModSecurity bool `yaml:"modSecurity"`
	// TLSPassthrough lets Ingresses have TLS passed through to their backends.
	TLSPassthrough bool `yaml:"tlsPassthrough"`
	// Service is NAMESPACE/NAME of the Service by which clients reach the gateways:
	// its addresses are what the status of Ingresses says. Empty: no Ingresses are
	// served.
	Service string `yaml:"service"`
	// DefaultCertificate is NAMESPACE/NAME of a Secret, for hosts that have none.
	DefaultCertificate string `yaml:"defaultCertificate"`
	// DefaultBackend is NAMESPACE/NAME:PORT of a Service, for requests that no rule
	// takes; empty means that they get 404.
	DefaultBackend string `yaml:"defaultBackend"`
	// HTTPPort and HTTPSPort are where gateways listen.
	HTTPPort  uint16 `yaml:"httpPort"`
	HTTPSPort uint16 `yaml:"httpsPort"`
	// HTTP3 has gateways serve HTTP/3 as well, at the UDP port HTTPSPort, and tell clients
	// that it is at port 443, which is the Service's.
	HTTP3 bool `yaml:"http3"`
	// TrustedProxies are ranges of addresses of load balancers in front, whose word
	// about the client is taken (X-Forwarded-For and the like).
	TrustedProxies []netip.Prefix `yaml:"trustedProxies"`
	// ProxyProtocol are ranges of addresses of load balancers whose connections begin
	// with a header of the PROXY protocol, version 1 or 2.
	ProxyProtocol []netip.Prefix `yaml:"proxyProtocol"`
	// MaxConnections bounds the connections of clients of one gateway.
	MaxConnections int `yaml:"maxConnections"`
	// MaxClientConnections bounds those of one client, an IPv4 address or 64 bits of an IPv6
	// address; 0: as many as are still free.
	MaxClientConnections int `yaml:"maxClientConnections"`
	// AllowedRanges and DeniedRanges are addresses that names and URLs of users may, or must
	// not, lead to (ExternalName, auth-url, mirror-target), beside what is usual.
	AllowedRanges []netip.Prefix `yaml:"allowedRanges"`
	DeniedRanges  []netip.Prefix `yaml:"deniedRanges"`
	// Lameduck is how long a gateway that ends goes on accepting, so that clients find
	// another one first. Drain is how long it then waits for those it has.
	Lameduck time.Duration `yaml:"lameduck"`
	Drain    time.Duration `yaml:"drain"`
	// AccessLog says how requests are written down, Tracing which ones are told to a
	// collector of OpenTelemetry.
	AccessLog AccessLog `yaml:"accessLog"`
	Tracing   Tracing   `yaml:"tracing"`
	// OCSPStapling says which responders are asked whether the certificates that are shown
	// have been revoked: public (those on the Internet), any (also those on private
	// addresses, which whoever writes a Secret then has asked), or none.
	OCSPStapling string `yaml:"ocspStapling"`
	// NginxConfigMap, TCPServices and UDPServices are NAMESPACE/NAME of ConfigMaps as
	// ingress-nginx has them: its settings, and the ports that are passed on to Services.
	// Empty: with migration.ingressNginx those that ingress-nginx has by default, else none.
	NginxConfigMap string `yaml:"nginxConfigMap"`
	TCPServices    string `yaml:"tcpServices"`
	UDPServices    string `yaml:"udpServices"`
}

// Migration says whose objects are served beside Fairlead's own.
type Migration struct {
	// IngressNginx takes over the IngressClasses of ingress-nginx.
	IngressNginx bool `yaml:"ingressNginx"`
}

// The values of lb.serviceDataplane.
const (
	Auto     = "auto"
	EBPF     = "ebpf"
	Nftables = "nftables"
)

// The values of lb.xdp beside Auto.
const (
	Native   = "native"
	Disabled = "disabled"
)

// PodsVerified is the value of dns.pods for which pods have to be read.
const PodsVerified = "verified"

// LB configures load balancing on the nodes.
type LB struct {
	// CgroupRoot is the cgroup2 folder whose processes get Services; empty means
	// the root of the cgroup2 mount.
	CgroupRoot string `yaml:"cgroupRoot"`
	// BPFFS is the folder, on a BPF file system, where programs and maps are
	// pinned so that they outlive the process.
	BPFFS string `yaml:"bpffs"`
	// MaxFrontends and MaxBackends are the sizes of the kernel's tables: one
	// frontend per address and port of a Service, one backend per frontend and
	// endpoint.
	MaxFrontends uint32 `yaml:"maxFrontends"`
	MaxBackends  uint32 `yaml:"maxBackends"`
	// ServiceDataplane is auto, ebpf or nftables: what resolves the Services of
	// programs that have a socket on the node. Packets from outside and from pods
	// with a network stack of their own are always nftables' matter.
	ServiceDataplane string `yaml:"serviceDataplane"`
	// ExternalIPs serves spec.externalIPs of Services.
	ExternalIPs bool `yaml:"externalIPs"`
	// NodePortAddresses are the ranges of the nodes' addresses at which NodePorts
	// are served; empty means all addresses.
	NodePortAddresses []netip.Prefix `yaml:"nodePortAddresses"`
	// NodePortRange is the API server's --service-node-port-range.
	NodePortRange PortRange `yaml:"nodePortRange"`
	// PacketDataplane is auto, ebpf or nftables: what forwards packets that arrive
	// by an uplink. What eBPF does not do is nftables' matter all the same.
	PacketDataplane string `yaml:"packetDataplane"`
	// XDP is auto, native or disabled: whether eBPF takes packets from the network card's
	// driver, before the kernel makes its own structures for them.
	XDP string `yaml:"xdp"`
	// DirectReturn lets an endpoint's node answer TCP clients outside the cluster
	// directly, so that endpoints see the client's address.
	DirectReturn bool `yaml:"directReturn"`
	// MaxFlows is how many connections from outside eBPF remembers.
	MaxFlows  uint32    `yaml:"maxFlows"`
	Conntrack Conntrack `yaml:"conntrack"`
	// NodeService is NAMESPACE/NAME of a headless Service whose endpoints are the
	// nodes' processes; empty means that nodes do not know of each other.
	NodeService string `yaml:"nodeService"`
	// Uplinks are the interfaces that lead out of the node, by name or by a
	// pattern such as eth*; empty means those that are found.
	Uplinks []string `yaml:"uplinks"`
	// MetricsBindAddress is where the node process serves /metrics and /proxyMode
	// as kube-proxy does, beside --http; the empty text means nowhere.
	MetricsBindAddress netip.AddrPort `yaml:"metricsBindAddress"`
	// HealthzBindAddress is where the node process serves kube-proxy's /healthz and
	// /livez once more, beside --http, as soon as kube-proxy lets go of it; the
	// empty text means nowhere.
	HealthzBindAddress netip.AddrPort `yaml:"healthzBindAddress"`
}

// Status configures the process that tells users about their objects.
type Status struct {
	// LeaseNamespace is where the Lease that elects it lies.
	LeaseNamespace string `yaml:"leaseNamespace"`
}

// Default returns the configuration that an empty file means.
func Default() Config {
	return Config{
		ClusterDomain: "cluster.local",
		LogLevel:      "info",
		LB: LB{
			BPFFS: "/sys/fs/bpf/fairlead", MaxFrontends: 1 << 17, MaxBackends: 1 << 19, ServiceDataplane: Auto,
			NodePortRange: PortRange{30000, 32767}, PacketDataplane: Auto, XDP: Auto, MaxFlows: 1 << 18,
			// As kube-proxy has them.
			Conntrack:          Conntrack{MaxPerCore: 32768, Min: 131072, TCPEstablishedTimeout: 24 * time.Hour, TCPCloseWaitTimeout: time.Hour},
			MetricsBindAddress: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 10249),
		},
		LoadBalancer: LoadBalancer{
			Namespace: "metallb-system", Default: true,
			Probes: Probes{Port: 7947, KeyFile: "/etc/fairlead-probes/key", Interval: 100 * time.Millisecond, Misses: 5},
		},
		DNS: DNS{
			Listen: []netip.AddrPort{netip.AddrPortFrom(netip.IPv6Unspecified(), 53)},
			TTL:    30, Pods: "insecure", MaxUDP: 1232, ResolvConf: "/etc/resolv.conf",
			Lameduck: 5 * time.Second, Service: "kube-system/kube-dns",
			External: External{Apex: "dns", TTL: 5}, // as CoreDNS's k8s_external
		},
		Status: Status{LeaseNamespace: "fairlead-system"},
		Gateway: Gateway{ExternalNames: true, SharedHosts: true, HTTPPort: 80, HTTPSPort: 443, MaxConnections: 16384, Lameduck: 5 * time.Second, Drain: 4 * time.Minute, OCSPStapling: "public",
			AccessLog: AccessLog{Format: "json"}, Tracing: Tracing{Sampler: "parentbased_traceidratio", Ratio: 0.01}},
		ACME: defaultACME(),
	}
}

// Parse reads a configuration file. Unknown fields are errors: a field that is
// misspelt must not go unnoticed.
func Parse(content []byte) (Config, error) { return Default().With(content) }

// With returns the configuration with what a file says in the place of its own.
func (c Config) With(content []byte) (Config, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	if err := decoder.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return Config{}, explain(err)
	}
	return c, c.validate()
}

// Level returns LogLevel as log/slog has it.
func (c Config) Level() (slog.Level, error) {
	var level slog.Level
	err := level.UnmarshalText([]byte(c.LogLevel))
	return level, err
}

func (c Config) validate() error {
	var problems []error
	bad := func(field, format string, args ...any) {
		problems = append(problems, fmt.Errorf("%s: %s", field, fmt.Sprintf(format, args...)))
	}
	if p := validation.IsDNS1123Subdomain(strings.TrimSuffix(c.ClusterDomain, ".")); len(p) > 0 {
		bad("clusterDomain", "%q is not a DNS name: %s", c.ClusterDomain, p[0])
	}
	if _, err := c.Level(); err != nil {
		bad("logLevel", "%q is none of debug, info, warn and error", c.LogLevel)
	}
	for i, server := range c.APIServers {
		if u, err := url.Parse(server); err != nil || u.Scheme != "https" || u.Host == "" {
			bad(fmt.Sprintf("apiServers[%d]", i), "%q is not of the form https://HOST:PORT", server)
		}
	}
	if !strings.HasPrefix(c.LB.BPFFS, "/") {
		bad("lb.bpffs", "%q is not an absolute path", c.LB.BPFFS)
	}
	if c.LB.MaxFrontends == 0 || c.LB.MaxBackends == 0 || c.LB.MaxFlows == 0 {
		bad("lb", "maxFrontends, maxBackends and maxFlows must be above 0")
	}
	if d := c.LB.ServiceDataplane; d != Auto && d != EBPF && d != Nftables {
		bad("lb.serviceDataplane", "%q is none of auto, ebpf and nftables", d)
	}
	c.LB.validatePackets(bad)
	c.LoadBalancer.validate(bad)
	c.DNS.validate(bad)
	c.DNS.validateZones(c.ClusterDomain, bad)
	c.Gateway.validate(bad)
	c.ACME.validate(bad)
	return errors.Join(problems...)
}
