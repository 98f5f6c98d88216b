package agent

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/kube"
	"github.com/fairlead-net/fairlead/internal/reconcile"
)

// eventPlane makes every reason an Event on the object it concerns, once.
type eventPlane struct {
	writer  *kube.EventWriter
	written map[desired.Ref][]desired.Reason
	// turn holds one token while this replica has the Lease and nobody writes.
	turn    chan struct{}
	leading atomic.Bool
}

func newEventPlane(writer *kube.EventWriter) *eventPlane {
	return &eventPlane{writer: writer, written: map[desired.Ref][]desired.Reason{}, turn: make(chan struct{}, 1)}
}

// lead lets Apply work until ctx ends, as the Lease then is somebody else's.
func (p *eventPlane) lead(ctx context.Context) {
	p.leading.Store(true)
	p.turn <- struct{}{}
	<-ctx.Done()
	<-p.turn
	p.leading.Store(false)
}

// Apply waits for the Lease and writes the reasons that are new. Nothing is
// said before the first full sync, when an object may look bad because another
// has not arrived.
func (p *eventPlane) Apply(ctx context.Context, want reports) error {
	if !want.synced {
		return nil
	}
	select {
	case <-p.turn:
		defer func() { p.turn <- struct{}{} }()
	case <-ctx.Done():
		return ctx.Err()
	}
	all := map[desired.Ref][]desired.Reason{}
	for ref, status := range want.statuses.All() {
		all[ref] = slices.Clone(status.Reasons)
	}
	for _, reason := range want.compiled {
		all[reason.Object] = append(all[reason.Object], reason)
	}
	var failed error
	for ref, reasons := range all {
		fresh := slices.DeleteFunc(slices.Clone(reasons), func(r desired.Reason) bool { return slices.Contains(p.written[ref], r) })
		if len(fresh) == 0 {
			continue
		}
		if err := p.writer.Write(ctx, desired.Status{Object: ref, Reasons: fresh}); err != nil {
			failed = errors.Join(failed, err)
			all[ref] = slices.DeleteFunc(reasons, func(r desired.Reason) bool { return slices.Contains(fresh, r) })
		}
	}
	p.written = all
	return failed
}

// Close sends what is pending.
func (p *eventPlane) Close() error {
	p.writer.Close()
	return nil
}

// Describe tells which replica this is.
func (p *eventPlane) Describe() []string {
	if p.leading.Load() {
		return []string{"holds the lease and writes Events"}
	}
	return []string{"stands by for the lease"}
}

// standby makes a replica that only waits for the Lease healthy.
func (p *eventPlane) standby(health func() reconcile.Health) func() reconcile.Health {
	return func() reconcile.Health {
		h := health()
		if !p.leading.Load() {
			h.Applied, h.Problem = h.Wanted, ""
		}
		return h
	}
}
