package agent

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

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
	plane, err := server.New(server.Config{
		TLS:    server.TLS{Listen: c.TLS.Listen, Certificate: c.TLS.Certificate, Key: c.TLS.Key},
		Listen: c.Listen, Lameduck: c.Lameduck, Log: a.log, Registry: a.registry,
		Forward: forwarding(c), Blocks: a.corefile.blocks, KernelFastPath: c.KernelFastPath,
	})
	if err != nil {
		return pipeline{}, err
	}
	compile := func(s *desired.State, last dns.Table) (dns.Table, []desired.Reason) {
		return dns.Compile(s, last, zone)
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
	a.serve(dnsHealth, "GET /health", plane.HealthHandler())
	a.serve(dnsReady, "GET /ready", plane.ReadyHandler())
	return p, nil
}

// serve adds an HTTP endpoint with a port of its own.
func (a *Agent) serve(address, pattern string, handler http.Handler) {
	mux := http.NewServeMux()
	mux.Handle(pattern, handler)
	a.services = append(a.services, func(ctx context.Context) error { return serveMux(ctx, address, mux) })
}
