package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strings"

	"github.com/fairlead-net/fairlead/lab/plan"
)

// kubectl runs the lab's own kubectl as administrator and returns what it printed.
func (c *Cluster) kubectl(ctx context.Context, stdin io.Reader, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.Layout.Bin("kubectl"), append([]string{"--kubeconfig", c.Layout.Kubeconfig()}, args...)...)
	var out, complaints bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, &complaints
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("kubectl %s: %w: %s", args[0], err, strings.TrimSpace(complaints.String()))
	}
	return out.String(), nil
}

func (c *Cluster) apply(ctx context.Context, manifest string) error {
	_, err := c.kubectl(ctx, strings.NewReader(manifest), "apply", "--server-side", "--force-conflicts",
		"--field-manager=fairlead-lab", "-f", "-")
	return err
}

// labelNodes writes what a node may not say about itself: its role (NodeRestriction forbids it) and its
// pods' range, which the lab's CNI configuration fixed beforehand.
func (c *Cluster) labelNodes(ctx context.Context) error {
	var manifest strings.Builder
	for _, n := range c.Plan.Nodes {
		text, err := json.Marshal(nodeObject(n))
		if err != nil {
			return fmt.Errorf("encode node %s: %w", n.Name, err)
		}
		manifest.WriteString("---\n" + string(text) + "\n") // JSON is YAML
	}
	return c.apply(ctx, manifest.String())
}

func nodeObject(n plan.Node) map[string]any {
	return map[string]any{
		"apiVersion": "v1", "kind": "Node",
		"metadata": map[string]any{
			"name":   n.Name,
			"labels": map[string]string{"node-role.kubernetes.io/" + string(n.Role): ""},
		},
		"spec": map[string]any{"podCIDR": n.Pods.V4, "podCIDRs": n.Pods.Strings()},
	}
}
