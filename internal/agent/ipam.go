package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/fairlead-net/fairlead/api/metallb"
	"github.com/fairlead-net/fairlead/internal/config"
	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/ipam"
	"github.com/fairlead-net/fairlead/internal/kube"
)

// IPAMOptions are the administrator's choices.
func IPAMOptions(c config.LoadBalancer) ipam.Options {
	return ipam.Options{Default: c.Default, Classes: c.Classes}
}

// newIPAM returns the plane that gives Services of type LoadBalancer their
// addresses. Of all replicas only the holder of the Lease does so.
func (a *Agent) newIPAM(client *kube.Client) pipeline {
	plane := &addressPlane{
		client: client, watcher: a.watcher, writer: kube.NewEventWriter(client, a.log), log: a.log.With("plane", "ipam"),
		leadership: newLeadership(), written: map[netip.Addr][]desired.Name{}, pools: map[desired.Name]ipam.Usage{},
	}
	metrics := &poolMetrics{}
	options := IPAMOptions(a.options.Config.LoadBalancer)
	compile := func(s *desired.State, last addresses) (addresses, []desired.Reason) {
		t, reasons := ipam.Compile(s, last.table, options)
		metrics.table.Store(&t)
		return addresses{state: s, table: t}, reasons
	}
	p := newPipeline("ipam", plane, compile, func(w addresses) uint64 { return w.table.Revision }, a.log)
	p.health = plane.standby(p.health)
	a.leaderships = append(a.leaderships, plane.leadership)
	a.registry.MustRegister(metrics)
	return p
}

// addresses are who is to have which address, and the State that this follows from.
type addresses struct {
	state *desired.State
	table ipam.Table
}

// addressPlane makes the API server's objects say what a Table says.
type addressPlane struct {
	client  *kube.Client
	watcher *kube.Watcher
	writer  *kube.EventWriter
	log     *slog.Logger
	*leadership

	// written are the claims that were changed and that no State has had yet, nil
	// for one that was deleted; at is when.
	written map[netip.Addr][]desired.Name
	at      time.Time
	// pools are the counts that were written into the status of pools.
	pools map[desired.Name]ipam.Usage
}

// longUnseen is how long a change of a claim may take to come back from the API
// server; what is not back then has been undone by somebody.
const longUnseen = 5 * time.Second

// Apply does what the Table says, in the order that keeps an address from being
// given twice: claims, then statuses, then claims that are let go of.
func (p *addressPlane) Apply(ctx context.Context, want addresses) error {
	if !want.table.Synced {
		return nil
	}
	if address, unseen := p.unseen(want.state.Addressing); unseen {
		// A State with it will come, and decide better than this one.
		p.log.Debug("waits for its own changes to be seen", "address", address)
		return nil
	}
	e := want.table.Effects()
	var failed []error
	for _, change := range e.Claims {
		failed = append(failed, p.claim(ctx, change))
	}
	for _, change := range e.Statuses {
		failed = append(failed, p.status(ctx, change))
	}
	for _, change := range e.Releases {
		failed = append(failed, p.release(ctx, change))
	}
	failed = append(failed, p.writePools(ctx, want.table))
	return errors.Join(failed...)
}

// unseen returns a claim that this plane has written and that the State does not
// have.
func (p *addressPlane) unseen(seen desired.Addressing) (netip.Addr, bool) {
	for address, services := range p.written {
		claim, exists := seen.Claims.Get(address)
		if exists == (services != nil) && (!exists || slices.Equal(claim.Services, services)) || time.Since(p.at) > longUnseen {
			delete(p.written, address)
			continue
		}
		return address, true
	}
	return netip.Addr{}, false
}

func (p *addressPlane) wrote(address netip.Addr, services []desired.Name) {
	p.written[address], p.at = services, time.Now()
}

// claim makes an address that of more Services than before.
func (p *addressPlane) claim(ctx context.Context, change ipam.ClaimChange) error {
	var err error
	if change.Old == nil {
		err = p.client.CreateClaim(ctx, change.New)
	} else {
		err = p.client.UpdateClaim(ctx, change.Old, change.New)
	}
	return p.settle(change, err)
}

// settle notes how the change of a claim went. Where somebody else was first, the
// next State knows whom the address belongs to.
func (p *addressPlane) settle(change ipam.ClaimChange, err error) error {
	taken := new(kube.ClaimTakenError)
	switch {
	case err == nil && change.New == nil:
		p.wrote(change.Address, nil)
	case err == nil:
		p.wrote(change.Address, change.New.Services)
	case errors.As(err, &taken):
		p.log.Warn("address is taken", "address", change.Address, "error", err)
		p.watcher.NoteClaim(taken.By)
		return nil
	}
	return err
}

// status writes the addresses of a Service, if the Service is as it was and all the
// addresses are claimed for it.
func (p *addressPlane) status(ctx context.Context, change ipam.StatusChange) error {
	name := change.Service.Name
	for _, address := range change.Addresses {
		claimed, err := p.claimed(ctx, address, name)
		if err != nil || !claimed {
			return err
		}
	}
	addresses := change.Addresses
	if len(change.Without) > 0 {
		for _, address := range change.Service.Balancer.Ingress {
			if !slices.Contains(change.Without, address) {
				addresses = append(addresses, address)
			}
		}
	}
	wrote, err := p.client.SetIngress(ctx, name, addresses, func(now *desired.Service) bool { return ipam.Same(now, change.Service) })
	if err != nil || !wrote || len(change.Addresses) == 0 {
		return err
	}
	p.log.Info("address given", "service", name.String(), "addresses", change.Addresses)
	ref := desired.Ref{Kind: "Service", Namespace: name.Namespace, Name: name.Name}
	return p.writer.Note(ctx, desired.Reason{Object: ref, Code: "IPAllocated", Message: "Assigned IP " + joined(change.Addresses)})
}

// claimed tells whether an address is claimed for a Service. What this Apply wrote
// needs no question; of what was written before, unseen has left nothing.
func (p *addressPlane) claimed(ctx context.Context, address netip.Addr, service desired.Name) (bool, error) {
	if services, ok := p.written[address]; ok {
		return slices.Contains(services, service), nil
	}
	claim, err := p.client.Claim(ctx, address)
	return claim != nil && claim.Foreign == "" && slices.Contains(claim.Services, service), err
}

// release lets go of an address for Services whose status does not have it.
func (p *addressPlane) release(ctx context.Context, change ipam.ClaimChange) error {
	for _, name := range change.Leaving() {
		has, err := p.client.Ingress(ctx, name)
		if err != nil {
			return err
		}
		if slices.Contains(has, change.Address) {
			return fmt.Errorf("address %s stays claimed: Service %s still has it in its status", change.Address, name)
		}
	}
	if change.New == nil {
		return p.settle(change, p.client.DeleteClaim(ctx, change.Old))
	}
	return p.settle(change, p.client.UpdateClaim(ctx, change.Old, change.New))
}

// writePools writes counts that differ from those written before.
func (p *addressPlane) writePools(ctx context.Context, t ipam.Table) error {
	var failed []error
	for name, usage := range t.Pools.All() {
		if old, ok := p.pools[name]; ok && old == *usage {
			continue
		}
		err := p.client.SetPoolStatus(ctx, name, metallb.IPAddressPoolStatus{
			AssignedIPv4: usage.Assigned4, AssignedIPv6: usage.Assigned6,
			AvailableIPv4: usage.Available4, AvailableIPv6: usage.Available6,
		})
		if err == nil {
			p.pools[name] = *usage
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

func joined(addresses []netip.Addr) string {
	var texts []string
	for _, address := range addresses {
		texts = append(texts, address.String())
	}
	return strings.Join(texts, ", ")
}

// Close sends what is pending.
func (p *addressPlane) Close() error {
	p.writer.Close()
	return nil
}

// Describe tells which replica this is.
func (p *addressPlane) Describe() []string { return []string{p.describe("gives addresses")} }
