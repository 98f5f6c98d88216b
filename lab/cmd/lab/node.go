package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/fairlead-net/fairlead/lab/cluster"
)

func newNode() *cobra.Command {
	cmd := &cobra.Command{Use: "node", Short: "Do to a node what happens to machines"}
	cmd.AddCommand(
		onNode("stop", "Cut its power", (*cluster.Cluster).StopNode),
		onNode("start", "Boot it again from its disk", (*cluster.Cluster).StartNode),
		onNode("cut", "Unplug its network cable", func(c *cluster.Cluster, _ context.Context, name string) error { return c.CutNode(name) }),
		onNode("heal", "Plug its network cable in again", func(c *cluster.Cluster, _ context.Context, name string) error { return c.HealNode(name) }),
		newNodeExec(),
	)
	return cmd
}

func onNode(verb, short string, do func(*cluster.Cluster, context.Context, string) error) *cobra.Command {
	return &cobra.Command{
		Use:   verb + " NODE",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := running(cmd)
			if err != nil {
				return err
			}
			return do(c, cmd.Context(), args[0])
		},
	}
}

func newNodeExec() *cobra.Command {
	return &cobra.Command{
		Use:   "exec NODE -- COMMAND [ARGUMENT...]",
		Short: "Run a command on it, as if at its console",
		Args:  cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := running(cmd)
			if err != nil {
				return err
			}
			return c.ExecNode(args[0], args[1:])
		},
	}
}
