package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

func newKubeconfig() *cobra.Command {
	var inside bool
	cmd := &cobra.Command{
		Use:   "kubeconfig",
		Short: "Print the administrator's kubeconfig",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := running(cmd)
			if err != nil {
				return err
			}
			path := c.Layout.Kubeconfig()
			if inside {
				path = c.Layout.InnerKubeconfig()
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return fmt.Errorf("read the kubeconfig: %w", err)
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	cmd.Flags().BoolVar(&inside, "inside", false, "the one for commands run by `lab client`")
	return cmd
}
