package agent

import (
	"context"
	"log/slog"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/reconcile"
)

// pipeline is one feature of this process: its pure compile step and the loop
// that drives its plane.
type pipeline struct {
	// offer compiles a State and hands the result to the plane.
	offer func(*desired.State)
	// ruled: the result also depends on which texts of rules are compiled (waf.Shared).
	ruled bool
	// run drives the plane until ctx ends.
	run    func(ctx context.Context) error
	health func() reconcile.Health
	// notes says in words what the plane runs on and what fell back, and why.
	notes func() []string
}

// newPipeline connects a compile step with a plane. compile gets what it
// returned last, so that it need only look at what changed.
func newPipeline[C any](name string, plane reconcile.Plane[C], compile func(*desired.State, C) (C, []desired.Reason), revision func(C) uint64, log *slog.Logger) pipeline {
	loop := reconcile.New(name, plane, revision, log)
	var last C
	p := pipeline{run: loop.Run, health: loop.Health, notes: func() []string { return nil }}
	p.offer = func(s *desired.State) {
		last, _ = compile(s, last)
		loop.Offer(last)
	}
	if describer, ok := plane.(interface{ Describe() []string }); ok {
		p.notes = describer.Describe
	}
	return p
}
