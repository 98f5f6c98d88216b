package agent

import (
	"context"
	"errors"
	"slices"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/kube"
)

// eventPlane makes every reason an Event on the object it concerns, once.
type eventPlane struct {
	writer  *kube.EventWriter
	written map[desired.Ref][]desired.Reason
	*leadership
}

func newEventPlane(writer *kube.EventWriter) *eventPlane {
	return &eventPlane{writer: writer, written: map[desired.Ref][]desired.Reason{}, leadership: newLeadership()}
}

// Apply writes the reasons that are new. Nothing is
// said before the first full sync, when an object may look bad because another
// has not arrived.
func (p *eventPlane) Apply(ctx context.Context, want reports) error {
	if !want.synced {
		return nil
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
func (p *eventPlane) Describe() []string { return []string{p.describe("writes Events")} }
