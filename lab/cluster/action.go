package cluster

import (
	"context"
	"fmt"
	"time"
)

// Action is one step towards a running lab.
type Action struct {
	// Title says what the step does, as a person would.
	Title string
	Run   func(context.Context) error
}

// perform runs actions in order and prints each with the time it took.
func (c *Cluster) perform(ctx context.Context, actions []Action) error {
	for _, a := range actions {
		started := time.Now()
		fmt.Fprintf(c.out, " •  %s\n", a.Title)
		if err := a.Run(ctx); err != nil {
			fmt.Fprintf(c.out, " ✗  %s\n", a.Title)
			return fmt.Errorf("%s: %w", a.Title, err)
		}
		fmt.Fprintf(c.out, " ✓  %s  %s\n", a.Title, time.Since(started).Round(100*time.Millisecond))
	}
	return nil
}

// note prints a remark inside a step.
func (c *Cluster) note(format string, args ...any) {
	fmt.Fprintf(c.out, "     "+format+"\n", args...)
}
