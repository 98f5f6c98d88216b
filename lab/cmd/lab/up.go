package main

import (
	"github.com/spf13/cobra"

	"github.com/fairlead-net/fairlead/lab/cluster"
)

func newUp() *cobra.Command {
	nodes, bare := 3, false
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Build what is missing and start the cluster, Fairlead and the demo",
		Long: "Build what is missing and start the cluster, Fairlead and the demo.\n\n" +
			"What an earlier lab left behind, running or crashed, is removed first; a healthy lab of the same\n" +
			"shape is kept and only gets new images and manifests.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := here()
			if err != nil {
				return err
			}
			c, err := cluster.New(l, nodes, cmd.OutOrStdout())
			if err != nil {
				return err
			}
			c.Bare = bare
			return c.Up(cmd.Context())
		},
	}
	cmd.Flags().IntVar(&nodes, "nodes", nodes, "number of nodes, the control plane's among them")
	cmd.Flags().BoolVar(&bare, "bare", false, "leave Fairlead out: no Services, no DNS")
	return cmd
}
