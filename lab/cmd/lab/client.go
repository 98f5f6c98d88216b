package main

import (
	"github.com/spf13/cobra"

	"github.com/fairlead-net/fairlead/lab/config"
)

func newClient() *cobra.Command {
	remote := false
	cmd := &cobra.Command{
		Use:     "client [--remote] -- COMMAND [ARGUMENT...]",
		Short:   "Run a command outside the cluster, with routes to the nodes",
		Example: "  lab client -- curl -k https://172.30.0.10:6443/version",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := running(cmd)
			if err != nil {
				return err
			}
			if remote {
				return c.ExecClient(config.RemoteName, args)
			}
			return c.ExecClient(config.ClientName, args)
		},
	}
	cmd.Flags().BoolVar(&remote, "remote", false, "on the machine behind the routers, instead of the one beside the nodes")
	return cmd
}
