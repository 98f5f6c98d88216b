package main

import (
	"github.com/spf13/cobra"

	"github.com/fairlead-net/fairlead/lab/cluster"
)

func newImage() *cobra.Command {
	return &cobra.Command{
		Use:   "image",
		Short: "Build the images as tarballs in .lab/images; no cluster needed",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := here()
			if err != nil {
				return err
			}
			c, err := cluster.New(l, 1, cmd.OutOrStdout())
			if err != nil {
				return err
			}
			return c.BuildImages(cmd.Context())
		},
	}
}
