package main

import (
	"github.com/spf13/cobra"

	"github.com/fairlead-net/fairlead/lab/cluster"
)

func newDown() *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Remove the cluster: processes, namespaces, mounts, links, cgroups, disks",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := here()
			if err != nil {
				return err
			}
			// Whatever its size was: down goes by what is there, not by what was planned.
			c, err := cluster.New(l, 1, cmd.OutOrStdout())
			if err != nil {
				return err
			}
			return c.Down(cmd.Context())
		},
	}
}
