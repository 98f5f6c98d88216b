package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/fairlead-net/fairlead/lab/build"
)

// buildPrograms compiles everything the machines and the images need; up-to-date programs cost a moment.
func (c *Cluster) buildPrograms(ctx context.Context) error {
	if err := c.compile(ctx, build.Machines(c.Layout)); err != nil {
		return err
	}
	// The multi-call program is kubectl when it is called so.
	if err := os.Symlink("kube", c.Layout.Bin("kubectl")); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("link kubectl: %w", err)
	}
	return c.buildPods(ctx)
}

// buildPods compiles what goes into images.
func (c *Cluster) buildPods(ctx context.Context) error {
	programs := build.Pods(c.Layout)
	if c.withProduct() {
		programs = append(programs, build.Product(c.Layout))
	}
	return c.compile(ctx, programs)
}

func (c *Cluster) compile(ctx context.Context, programs []build.Program) error {
	builder := build.Builder{Progress: c.out}
	for _, p := range programs {
		if err := builder.Build(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) withProduct() bool { return !c.Bare && build.HasProduct(c.Layout) }
