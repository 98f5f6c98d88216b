package main

import "github.com/spf13/cobra"

func newClient() *cobra.Command {
	return &cobra.Command{
		Use:     "client -- COMMAND [ARGUMENT...]",
		Short:   "Run a command outside the cluster, with routes to the nodes",
		Example: "  lab client -- curl -k https://172.30.0.10:6443/version",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := running(cmd)
			if err != nil {
				return err
			}
			return c.ExecClient(args)
		},
	}
}
