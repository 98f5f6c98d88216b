package main

import "github.com/spf13/cobra"

func newLoad() *cobra.Command {
	return &cobra.Command{
		Use:   "load TARBALL",
		Short: "Load an image (OCI or docker-archive tarball) into every node",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := running(cmd)
			if err != nil {
				return err
			}
			return c.Load(cmd.Context(), args[0])
		},
	}
}
