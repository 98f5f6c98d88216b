package machine

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/lab/cgroup"
)

// Init is process 1 of a machine: it mounts the machine's file tree, reports, and supervises the
// components. It ends only with an error before the report, or by being killed, which ends everything in
// its PID namespace.
func Init(ctx context.Context, dir string, log *slog.Logger) error {
	status := os.NewFile(statusFD, "status")
	listeners := inherited(statusFD + 1)
	s, err := setUp(dir)
	if err != nil {
		fmt.Fprintln(status, err)
		status.Close()
		return err
	}
	fmt.Fprintln(status, ready)
	status.Close()

	children := newChildren()
	go children.reap()
	for _, c := range s.Components {
		go supervise(ctx, children, c, listeners, log.With("component", c.Name))
	}
	<-ctx.Done()
	return nil
}

func setUp(dir string) (Spec, error) {
	if os.Getpid() != 1 {
		return Spec{}, fmt.Errorf("%s is a machine's own first process; use `lab up`", InitCommand)
	}
	s, err := Load(dir)
	if err != nil {
		return s, err
	}
	if err := enterRoot(s); err != nil {
		return s, err
	}
	if err := unix.Sethostname([]byte(s.Name)); err != nil {
		return s, fmt.Errorf("set the host name: %w", err)
	}
	return s, cgroup.Leaf(cgroup.Unified(s.Hierarchies).Mount, os.Getpid())
}
