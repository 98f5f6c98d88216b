package agent

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	wire "github.com/miekg/dns"

	"github.com/fairlead-net/fairlead/internal/config"
	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/dns"
	"github.com/fairlead-net/fairlead/internal/dns/server"
	"github.com/fairlead-net/fairlead/internal/kube"
)

// Where CoreDNS serves /health and /ready; probes and dashboards know them.
const (
	dnsHealth = ":8080"
	dnsReady  = ":8181"
)

// DNSConfig returns what a configuration says of the names of the cluster.
func DNSConfig(of config.Config) dns.Config {
	c := of.DNS
	namespace, name, _ := strings.Cut(c.Service, "/")
	return dns.Config{
		Domain: of.ClusterDomain, TTL: c.TTL, ZeroTTL: c.TTL == 0, Pods: dns.Pods(c.Pods),
		EndpointPodNames: c.EndpointPodNames, NoEndpoints: c.NoEndpoints, IgnoreEmpty: c.IgnoreEmptyServices,
		Namespaces: c.Namespaces, NamespaceLabels: c.NamespaceLabels, Labels: c.Labels,
		Server:       desired.Name{Namespace: namespace, Name: name},
		Fallthrough:  c.Fallthrough,
		Multicluster: c.MulticlusterZones, Zonal: c.Zonal,
		External: dns.External{
			Zones: c.External.Zones, Apex: c.External.Apex, TTL: c.External.TTL, ZeroTTL: c.External.TTL == 0,
			Headless: c.External.Headless, Fallthrough: c.External.Fallthrough,
		},
	}
}

// dnsNames returns which objects are read for these names.
func dnsNames(c config.DNS) kube.Names {
	return kube.Names{Pods: c.Pods == config.PodsVerified, Labels: c.Labels, NoSlices: c.NoEndpoints, Imports: len(c.MulticlusterZones) > 0}
}

// newDNS wires the cluster's DNS server.
func (a *Agent) newDNS() (pipeline, error) {
	c := a.options.Config.DNS
	zone := DNSConfig(a.options.Config)
	// Rises across restarts, as long as there is less than a change a second.
	zone.Serial = uint32(time.Now().Unix())
	zone, err := zone.Complete()
	if err != nil {
		return pipeline{}, err
	}
	config := server.Config{
		TLS:    server.TLS{Listen: c.TLS.Listen, Certificate: c.TLS.Certificate, Key: c.TLS.Key},
		HTTPS:  server.HTTPS{Listen: c.HTTPS.Listen},
		Listen: c.Listen, Lameduck: c.Lameduck, Log: a.log, Registry: a.registry,
		Forward: forwarding(c), Blocks: a.corefile.blocks, CountNames: c.CountNames,
		MaxUDP: c.MaxUDP, Autopath: c.Autopath, KernelFastPath: c.KernelFastPath,
	}
	if c.Autopath {
		config.Search = nodeSearch(nodeResolvConf)
	}
	plane, err := server.New(config)
	if err != nil {
		return pipeline{}, err
	}
	compile := func(s *desired.State, last dns.Table) (dns.Table, []desired.Reason) {
		return dns.Compile(s, last, zone)
	}
	// From the first query on it has to be known which names are the cluster's, or other
	// servers would be asked for them, and say that they do not exist.
	unknown, _ := compile(&desired.State{}, dns.Table{})
	if err := plane.Apply(context.Background(), unknown); err != nil {
		return pipeline{}, err
	}
	p := newPipeline("dns", plane, compile, func(t dns.Table) uint64 { return t.Revision }, a.log)
	describe := p.notes
	p.notes = func() []string {
		if !a.corefile.inForce {
			return describe()
		}
		return slices.Concat([]string{"follows " + c.Corefile}, a.corefile.problems, describe())
	}
	apply := p.run
	p.run = func(ctx context.Context) error {
		if err := plane.Start(ctx); err != nil {
			return err
		}
		return apply(ctx)
	}
	a.answers = func() bool { ready, _ := plane.Ready(); return ready }
	a.dnsTop = plane.TopHandler()
	a.serve(dnsHealth, "GET /health", plane.HealthHandler())
	a.serve(dnsReady, "GET /ready", plane.ReadyHandler())
	a.serveElsewhere(map[string]http.Handler{"/health": plane.HealthHandler(), "/ready": plane.ReadyHandler(), "/metrics": a.metrics()})
	return p, nil
}

// serveElsewhere serves what the Corefile wants at other addresses than usual.
func (a *Agent) serveElsewhere(handlers map[string]http.Handler) {
	usual := map[string]string{"/health": dnsHealth, "/ready": dnsReady, "/metrics": a.options.HTTP}
	muxes := map[netip.AddrPort]*http.ServeMux{}
	for _, e := range a.corefile.endpoints {
		if covers(usual[e.path], e.at) {
			continue
		}
		if muxes[e.at] == nil {
			muxes[e.at] = http.NewServeMux()
			a.wait("what "+a.options.Config.DNS.Corefile+" wants at "+e.at.String(), e.at, muxes[e.at])
		}
		muxes[e.at].Handle("GET "+e.path, handlers[e.path])
	}
}

// nodeResolvConf is what the kubelet gives a pod of dnsPolicy Default.
const nodeResolvConf = "/etc/resolv.conf"

// nodeSearch returns the search path of the node, which the kubelet adds to that of
// every pod; nothing if it cannot be read.
func nodeSearch(file string) []string {
	c, err := wire.ClientConfigFromFile(file)
	if err != nil {
		return nil
	}
	return c.Search
}

// serve adds an HTTP endpoint with a port of its own.
func (a *Agent) serve(address, pattern string, handler http.Handler) {
	mux := http.NewServeMux()
	mux.Handle(pattern, handler)
	a.services = append(a.services, func(ctx context.Context) error { return serveMux(ctx, address, mux) })
}
