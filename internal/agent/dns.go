package agent

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/dns"
	"github.com/fairlead-net/fairlead/internal/dns/server"
)

// Where CoreDNS serves /health and /ready; probes and dashboards know them.
const (
	dnsHealth = ":8080"
	dnsReady  = ":8181"
)

// newDNS wires the cluster's DNS server.
func (a *Agent) newDNS() (pipeline, error) {
	c := a.options.Config.DNS
	namespace, name, _ := strings.Cut(c.Service, "/")
	zone, err := dns.Config{
		Domain: a.options.Config.ClusterDomain, TTL: c.TTL, Pods: dns.Pods(c.Pods),
		Server: desired.Name{Namespace: namespace, Name: name},
		// Rises across restarts, as long as there is less than a change a second.
		Serial: uint32(time.Now().Unix()),
	}.Complete()
	if err != nil {
		return pipeline{}, err
	}
	plane, err := server.New(server.Config{
		Listen: c.Listen, Lameduck: c.Lameduck, Log: a.log, Registry: a.registry,
		Forward: forwarding(c),
	})
	if err != nil {
		return pipeline{}, err
	}
	compile := func(s *desired.State, last dns.Table) (dns.Table, []desired.Reason) {
		return dns.Compile(s, last, zone)
	}
	p := newPipeline("dns", plane, compile, func(t dns.Table) uint64 { return t.Revision }, a.log)
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
