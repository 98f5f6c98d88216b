package cluster

import (
	"context"
	"os/exec"
	"strings"
)

// installFairlead installs the product as a user does: its own command, its own chart, the image that was
// built from this tree.
func (c *Cluster) installFairlead(ctx context.Context) error {
	if !c.withProduct() {
		c.note("left out")
		return nil
	}
	program := c.Layout.Bin("fairlead")
	if help, err := exec.CommandContext(ctx, program, "--help").Output(); err != nil || !strings.Contains(string(help), "\n  install ") {
		c.note("this tree's fairlead has no install command: left out")
		return nil
	}
	return c.run(ctx, program, "install", "--kubeconfig", c.Layout.Kubeconfig(), "--set", "image.tag=dev")
}
