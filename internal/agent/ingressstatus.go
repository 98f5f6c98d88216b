package agent

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/kube"
	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// ingressesServed is which Ingresses are served, and where.
type ingressesServed struct {
	state *desired.State
	table l7.Table
	// at are the addresses of the gateway's Service.
	at []string
}

// newIngressStatus returns the plane that writes into Ingresses where they are
// served. Of all replicas only the holder of the Lease does so. Each Table is offered
// once more, for what else goes by it.
func (a *Agent) newIngressStatus(client *kube.Client, offer func(*desired.State, *l7.Table)) pipeline {
	plane := &ingressStatusPlane{client: client, leadership: newLeadership(), written: map[desired.Name]bool{}}
	config, gateway := L7Config(a.options.Config), parseName(a.options.Config.Gateway.Service)
	compile := func(s *desired.State, last ingressesServed) (ingressesServed, []desired.Reason) {
		now := ingressesServed{state: s}
		var reasons []desired.Reason
		now.table, reasons = l7.Compile(s, last.table, config)
		table := now.table
		offer(s, &table)
		if service, ok := s.Services.Get(gateway); ok {
			now.at = addressesOf(service)
		}
		return now, reasons
	}
	p := newPipeline("ingress-status", plane, compile, func(s ingressesServed) uint64 { return s.table.Revision }, a.log)
	p.health = plane.standby(p.health)
	a.leaderships = append(a.leaderships, plane.leadership)
	return p
}

// addressesOf returns where clients outside reach a Service: what its load balancer
// has, else its external addresses.
func addressesOf(s *desired.Service) []string {
	var all []string
	var balancer []netip.Addr
	if s.Balancer != nil {
		balancer = s.Balancer.Ingress
	}
	for _, list := range [][]netip.Addr{balancer, s.ExternalIPs} {
		for _, a := range list {
			all = append(all, a.String())
		}
		if len(all) > 0 {
			return all
		}
	}
	return nil
}

// ingressStatusPlane makes the statuses of Ingresses say where they are served.
type ingressStatusPlane struct {
	client *kube.Client
	*leadership
	// written are the Ingresses whose status this process has written.
	written map[desired.Name]bool
	// last is what was applied last; nothing if that failed.
	last ingressesServed
}

// Apply writes what differs. The status of an Ingress that is another controller's is
// that controller's matter, unless this process wrote it. What did not change since the
// last time is not looked at: there are thousands of Ingresses, and every change of any
// object comes by here.
func (p *ingressStatusPlane) Apply(ctx context.Context, want ingressesServed) error {
	if !want.table.Synced {
		return nil
	}
	var failed []error
	for c := range pmap.Diff(p.known(want), want.state.Ingresses) {
		if !c.HasNew {
			delete(p.written, c.Key)
			continue
		}
		failed = append(failed, p.write(ctx, want, c.Key, c.New))
	}
	err := errors.Join(failed...)
	p.last = want
	if err != nil {
		p.last = ingressesServed{}
	}
	return err
}

// known returns the Ingresses that need not be looked at again as long as they stay as
// they are: what depends on others is as it was when they were applied.
func (p *ingressStatusPlane) known(want ingressesServed) pmap.Map[desired.Name, *desired.Ingress] {
	last := p.last
	if last.state != nil && slices.Equal(last.at, want.at) && last.state.IngressClasses == want.state.IngressClasses {
		return last.state.Ingresses
	}
	for name := range p.written {
		if _, exists := want.state.Ingresses.Get(name); !exists {
			delete(p.written, name)
		}
	}
	return pmap.Map[desired.Name, *desired.Ingress]{}
}

// write makes the status of one Ingress say where it is served.
func (p *ingressStatusPlane) write(ctx context.Context, want ingressesServed, name desired.Name, i *desired.Ingress) error {
	at := want.at
	if !want.table.Serves(name) {
		if !p.written[name] {
			return nil
		}
		at = nil
	}
	if slices.Equal(i.Status, at) {
		return nil
	}
	err := p.client.SetIngressStatus(ctx, name, at)
	if err == nil {
		p.written[name] = len(at) > 0
	}
	return err
}

// Close implements reconcile.Plane.
func (p *ingressStatusPlane) Close() error { return nil }

// Describe tells which replica this is.
func (p *ingressStatusPlane) Describe() []string {
	return []string{p.describe("writes the status of Ingresses")}
}
