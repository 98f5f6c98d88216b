package main

import "github.com/spf13/cobra"

func newStatus() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show the machines and what Kubernetes thinks of them",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := running(cmd)
			if err != nil {
				return err
			}
			return c.Status(cmd.Context())
		},
	}
}
