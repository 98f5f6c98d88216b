package main

import (
	"github.com/spf13/cobra"

	"github.com/fairlead-net/fairlead/lab/cluster"
	"github.com/fairlead-net/fairlead/lab/layout"
)

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "lab",
		Short:         "A real Kubernetes on this machine, with nodes as namespaces",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(newUp(), newDown(), newStatus(), newKubeconfig(), newImage(), newLoad(), newClient(), newNode(), newLogs())
	root.AddCommand(newConformance())
	root.AddCommand(newMachineBoot(), newMachineInit(), newServeUpstream(), newServeForward())
	return root
}

// here is the repository that the command was called in.
func here() (layout.Layout, error) { return layout.Find(".") }

// running is the lab that was started in this repository.
func running(cmd *cobra.Command) (*cluster.Cluster, error) {
	l, err := here()
	if err != nil {
		return nil, err
	}
	return cluster.Open(l, cmd.OutOrStdout())
}
