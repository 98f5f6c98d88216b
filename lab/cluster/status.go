package cluster

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/fairlead-net/fairlead/lab/config"
	"github.com/fairlead-net/fairlead/lab/machine"
)

// Status prints the machines, their cables, and the nodes as Kubernetes sees them.
func (c *Cluster) Status(ctx context.Context) error {
	f, err := c.fabric()
	if err != nil {
		return err
	}
	defer f.Close()
	table := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "MACHINE\tPOWER\tCABLE\tADDRESSES\tPODS")
	for _, name := range c.machines() {
		power, cable := "off", "-"
		if pid, err := machine.PID(c.hierarchies, name); err == nil {
			power, cable = fmt.Sprintf("on (pid %d)", pid), "cut"
			if name == config.FabricName || f.Connected(name) {
				cable = "plugged"
			}
		}
		addresses, pods := c.addresses(name)
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", name, power, cable, addresses, pods)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	nodes, err := c.kubectl(ctx, nil, "get", "nodes", "-o", "wide", "--request-timeout=5s")
	if err != nil {
		return fmt.Errorf("the API server does not answer: %w", err)
	}
	fmt.Fprintf(c.out, "\n%s", nodes)
	return nil
}

func (c *Cluster) addresses(name string) (addresses, pods string) {
	if name == config.FabricName {
		return strings.Join(append(c.Plan.Gateway.Strings(), c.Plan.Resolver.Strings()...), " "), "-"
	}
	var all []string
	for _, cable := range port(c.Plan, name).Cables {
		all = append(all, cable.Addr.Strings()...)
	}
	pods = "-"
	if n, ok := c.Plan.Find(name); ok {
		pods = strings.Join(n.Pods.Strings(), " ")
	}
	return strings.Join(all, " "), pods
}
