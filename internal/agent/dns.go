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

// naming is what the DNS server answers by, beside the State.
type naming struct {
	zone     dns.Config
	settings *server.Settings
	// notes are about the Corefile.
	notes []string
}

// names is what the DNS server answers from: all of it is to count at once.
type names struct {
	table    dns.Table
	settings *server.Settings
}

// namesPlane is a DNS server as a reconcile.Plane.
type namesPlane struct{ *server.Plane }

// Apply makes names the source of all further answers.
func (p namesPlane) Apply(ctx context.Context, want names) error {
	return p.Change(ctx, want.table, want.settings)
}

// serverConfig says how the DNS server serves.
func (a *Agent) serverConfig(f followed) server.Config {
	c := f.config.DNS
	config := server.Config{
		TLS:    server.TLS{Listen: c.TLS.Listen, Certificate: c.TLS.Certificate, Key: c.TLS.Key},
		HTTPS:  server.HTTPS{Listen: c.HTTPS.Listen},
		Listen: c.Listen, Lameduck: c.Lameduck, Log: a.log, Registry: a.registry,
		Forward: forwarding(c), Blocks: f.blocks, CountNames: c.CountNames,
		MaxUDP: c.MaxUDP, Autopath: c.Autopath, KernelFastPath: c.KernelFastPath,
	}
	if c.Autopath {
		config.Search = nodeSearch(nodeResolvConf)
	}
	return config
}

// answerBy has the DNS server answer by a Corefile, or by the configuration without
// one, from its next State on.
func (a *Agent) answerBy(f followed) error {
	zone, err := DNSConfig(f.config).Complete()
	if err != nil {
		return err
	}
	settings, err := a.names.Settings(a.serverConfig(f))
	if err != nil {
		return err
	}
	next := &naming{zone: zone, settings: settings}
	// Rises across restarts, as long as there is less than a change a second.
	next.zone.Serial = uint32(time.Now().Unix())
	if before := a.naming.Load(); before != nil {
		next.zone.Serial = before.zone.Serial + 1
	}
	if f.inForce() {
		next.notes = append([]string{"follows " + f.config.DNS.Corefile}, f.problems...)
	}
	a.naming.Store(next)
	return nil
}

// newDNS wires the cluster's DNS server.
func (a *Agent) newDNS() (pipeline, error) {
	begin := a.corefile
	begin.config = a.options.Config
	plane, err := server.New(a.serverConfig(begin))
	if err != nil {
		return pipeline{}, err
	}
	a.names = plane
	if err := a.answerBy(begin); err != nil {
		return pipeline{}, err
	}
	compile := func(s *desired.State, last names) (names, []desired.Reason) {
		by := a.naming.Load()
		table, reasons := dns.Compile(s, last.table, by.zone)
		return names{table, by.settings}, reasons
	}
	// From the first query on it has to be known which names are the cluster's, or other
	// servers would be asked for them, and say that they do not exist.
	unknown, _ := compile(&desired.State{}, names{})
	if err := (namesPlane{plane}).Apply(context.Background(), unknown); err != nil {
		return pipeline{}, err
	}
	p := newPipeline("dns", namesPlane{plane}, compile, func(n names) uint64 { return n.table.Revision }, a.log)
	a.offerNames = p.offer
	describe := p.notes
	p.notes = func() []string { return slices.Concat(a.naming.Load().notes, describe()) }
	apply := p.run
	p.run = func(ctx context.Context) error {
		if err := plane.Start(ctx); err != nil {
			return err
		}
		return apply(ctx)
	}
	a.answers = func() bool { ready, _ := plane.Ready(); return ready }
	a.dnsTop = plane.TopHandler()
	a.registry.MustRegister(a.options.Kept.metrics()...)
	a.serve(dnsHealth, "GET /health", plane.HealthHandler())
	a.serve(dnsReady, "GET /ready", plane.ReadyHandler())
	a.serveElsewhere(map[string]http.Handler{"/health": plane.HealthHandler(), "/ready": plane.ReadyHandler(), "/metrics": a.metrics()})
	return p, nil
}

// serveElsewhere serves what the Corefile wants at other addresses than usual.
func (a *Agent) serveElsewhere(handlers map[string]http.Handler) {
	usual := map[string]string{"/health": dnsHealth, "/ready": dnsReady, "/metrics": a.options.HTTP}
	served := map[*http.ServeMux]map[string]bool{}
	for _, e := range a.corefile.endpoints {
		if covers(usual[e.path], e.at) {
			continue
		}
		mux := a.muxAt(e.at)
		if served[mux] == nil {
			served[mux] = map[string]bool{}
		}
		if !served[mux][e.path] {
			served[mux][e.path] = true
			mux.Handle("GET "+e.path, handlers[e.path])
		}
	}
}

// endpointMux is what is served at an address, HOST:PORT or :PORT.
type endpointMux struct {
	address string
	*http.ServeMux
}

// muxAt returns the mux of the server that answers at an address, which may be that of
// another endpoint. Without one there will be one as soon as the address is free.
func (a *Agent) muxAt(at netip.AddrPort) *http.ServeMux {
	if covers(a.options.HTTP, at) {
		return a.own()
	}
	for _, m := range a.muxes {
		if covers(m.address, at) {
			return m.ServeMux
		}
	}
	mux := http.NewServeMux()
	a.muxes = append(a.muxes, endpointMux{at.String(), mux})
	a.wait("what "+a.options.Config.DNS.Corefile+" wants at "+at.String(), at, mux)
	return mux
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
	a.muxes = append(a.muxes, endpointMux{address, mux})
	a.services = append(a.services, func(ctx context.Context) error { return serveMux(ctx, address, mux) })
}
