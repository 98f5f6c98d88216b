package cluster

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// setDataplane makes Fairlead resolve Services by one plane (auto, ebpf or nftables) and waits until it does.
// With a plane come external IPs, which are off unless an administrator wants them: a spec uses one.
// It says whether this Fairlead has the setting.
func (c *Cluster) setDataplane(ctx context.Context, plane string) (bool, error) {
	args := []string{
		"upgrade", "--kubeconfig", c.Layout.Kubeconfig(),
		"--set", "config.lb.serviceDataplane=" + plane, "--set", fmt.Sprintf("config.lb.externalIPs=%t", plane != "auto"),
	}
	// Values of earlier runs stay, the image among them: what is tested is what was installed.
	out, err := exec.CommandContext(ctx, c.Layout.Bin("fairlead"), args...).CombinedOutput()
	switch {
	case err == nil:
		return true, nil
	case strings.Contains(string(out), "there is no such value"):
		return false, nil
	default:
		return false, fmt.Errorf("set the service data plane (is Fairlead installed? `lab up` does it): %w\n%s", err, out)
	}
}
