package main

import "github.com/spf13/cobra"

func newLogs() *cobra.Command {
	return &cobra.Command{
		Use:   "logs [MACHINE [COMPONENT]]",
		Short: "List the components that have logs, or print one's",
		Args:  cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := here()
			if err != nil {
				return err
			}
			return printLogs(cmd.OutOrStdout(), l, args)
		},
	}
}
