package cluster

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
)

// run runs a program and shows what it says if it fails.
func (c *Cluster) run(ctx context.Context, program string, args ...string) error {
	if out, err := exec.CommandContext(ctx, program, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", filepath.Base(program), args[0], err, out)
	}
	return nil
}
