package agent

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
	"github.com/fairlead-net/fairlead/internal/observe"
	"github.com/fairlead-net/fairlead/internal/pmap"
	"github.com/fairlead-net/fairlead/internal/reconcile"
)

// programming measures the way of changes into the kernel, as kube-proxy does.
type programming struct {
	proxy   *observe.Proxy
	tracker observe.Tracker
}

func newProgramming() *programming {
	return &programming{proxy: observe.NewProxy(observe.IPv4, observe.IPv6)}
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
// annotation stays when a later change has no time of its own.
func triggerOf(c pmap.Change[desired.Name, *discoveryv1.EndpointSlice]) (observe.Trigger, bool) {
	if !c.HasNew {
		return observe.Trigger{}, false
	}
	text := c.New.Annotations[corev1.EndpointsLastChangeTriggerTime]
	if c.HasOld && c.Old.Annotations[corev1.EndpointsLastChangeTriggerTime] == text {
		return observe.Trigger{}, false
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	family := observe.IPv4
	if c.New.AddressType == discoveryv1.AddressTypeIPv6 {
		family = observe.IPv6
	}
	return observe.Trigger{At: at, Family: family}, err == nil
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
	if err == nil {
		t.proxy.Programmed(t.tracker.Applied(want.Revision), now)
		t.proxy.WithoutLocal(want.WithoutLocal.Internal, want.WithoutLocal.External)
	}
	return err
}
