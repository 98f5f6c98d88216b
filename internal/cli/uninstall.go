package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead-net/fairlead/internal/install"
)

func newUninstall() *cobra.Command {
	var target install.Target
	var o install.UninstallOptions
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Remove Fairlead from a cluster",
		Long: `Remove Fairlead from a cluster.

First the pod of every node removes Fairlead's programs and tables from the
kernel, then all objects go, then the namespace if 'fairlead install' made it. A
Service kube-dns that was taken over stays. Without another service proxy the
cluster's Services do not work afterwards.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Timeout <= 0 {
				return usageError{fmt.Errorf("--timeout %s is not above 0", o.Timeout)}
			}
			installer, err := install.New(target, cmd.OutOrStdout())
			if err != nil {
				return err
			}
			return installer.Uninstall(cmd.Context(), o)
		},
	}
	addTargetFlags(cmd, &target)
	cmd.Flags().BoolVar(&o.KeepKernelState, "keep-kernel-state", false, "leave programs and tables in the nodes' kernels until they reboot")
	cmd.Flags().BoolVar(&o.KeepNamespace, "keep-namespace", false, "leave the namespace, even if 'fairlead install' made it")
	cmd.Flags().DurationVar(&o.Timeout, "timeout", 5*time.Minute, "how long each step may take")
	return cmd
}
