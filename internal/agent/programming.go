package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
	"github.com/fairlead-net/fairlead/internal/lb/nft"
	"github.com/fairlead-net/fairlead/internal/observe"
	"github.com/fairlead-net/fairlead/internal/pmap"
	"github.com/fairlead-net/fairlead/internal/reconcile"
	"github.com/prometheus/client_golang/prometheus"
)

// programming measures the way of changes into the kernel, as kube-proxy does.
type programming struct {
	proxy   *observe.Proxy
	tracker observe.Tracker
	// invalid counts the packets that were dropped because conntrack called them so.
	invalid prometheus.Collector
}

func newProgramming() *programming {
	return &programming{proxy: observe.NewProxy(observe.IPv4, observe.IPv6)}
}

// newPackets opens nftables and measures what it does with connections.
func (a *Agent) newPackets(masquerade [2]uint16) (*nft.Plane, error) {
	a.programming = newProgramming()
	plane, err := nft.New(nft.Config{
		Logger: a.log, Looked: a.programming.looked, MasqueradePorts: masquerade, Liberal: a.options.Config.LB.Conntrack.TCPBeLiberal,
	})
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	a.packets = plane
	a.programming.invalid = observe.NewInvalidDropped(plane.InvalidDropped)
	return plane, nil
}

// looked tells of one look at the connections of a family.
func (p *programming) looked(six bool, _ desired.Protocol, took time.Duration, forgotten int) {
	family := observe.IPv4
	if six {
		family = observe.IPv6
	}
	p.proxy.Flows(family, took, forgotten)
}

// note tells what a State of this revision holds that its predecessor did not.
// What came before everything was read is not timed.
func (p *programming) note(revision uint64, before, now desired.Objects) {
	if !before.Synced {
		return
	}
	services, endpoints := 0, 0
	var triggers []observe.Trigger
	for range pmap.Diff(before.Services, now.Services) {
		services++
	}
	for c := range pmap.Diff(before.Slices, now.Slices) {
		endpoints++
		if trigger, ok := triggerOf(c); ok {
			triggers = append(triggers, trigger)
		}
	}
	p.tracker.Note(revision, triggers)
	p.proxy.Queued(time.Now(), services, endpoints)
}

// triggerOf returns when the change happened that an EndpointSlice tells of. The
// time stays when a later change has no time of its own.
func triggerOf(c pmap.Change[desired.Name, *desired.Slice]) (observe.Trigger, bool) {
	if !c.HasNew || c.New.Trigger.IsZero() || c.HasOld && c.Old.Trigger.Equal(c.New.Trigger) {
		return observe.Trigger{}, false
	}
	family := observe.IPv4
	if c.New.IPv6 {
		family = observe.IPv6
	}
	return observe.Trigger{At: c.New.Trigger, Family: family}, true
}

// timed is a plane whose Applies are measured.
type timed struct {
	reconcile.Plane[lb.Table]
	*programming
}

// Apply applies a Table and tells how long it, and what it brings, took.
func (t timed) Apply(ctx context.Context, want lb.Table) error {
	start := time.Now()
	err := t.Plane.Apply(ctx, want)
	now := time.Now()
	t.proxy.Applied(start, now.Sub(start), err)
	if err == nil || reconcile.IsPartial(err) {
		t.proxy.Programmed(t.tracker.Applied(want.Revision), now)
		t.proxy.WithoutLocal(want.WithoutLocal.Internal, want.WithoutLocal.External)
	}
	return err
}
