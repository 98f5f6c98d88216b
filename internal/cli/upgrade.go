package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/fairlead-net/fairlead/internal/install"
)

func newUpgrade() *cobra.Command {
	var f chartFlags
	var orInstall bool
	cmd := &cobra.Command{
		Use:   "upgrade",
		Short: "Bring an installed Fairlead to this binary's version, or change its values",
		Long: `Bring an installed Fairlead to this binary's version, or change its values.

Values of earlier runs stay unless they are set anew; --reset-values forgets them.
The addresses of API servers and of the cluster's DNS are read from the cluster
again. Connections go on while the pods are replaced.`,
		Example: "  fairlead upgrade\n  fairlead upgrade --set config.dns.ttl=10",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := f.options(cmd.OutOrStdout())
			if err != nil {
				return err
			}
			installer, err := f.installer(cmd)
			if err != nil {
				return err
			}
			notes, err := installer.Upgrade(cmd.Context(), o)
			if orInstall && errors.Is(err, install.ErrNotInstalled) {
				notes, err = installer.Install(cmd.Context(), o)
			}
			return printNotes(cmd.OutOrStdout(), notes, err)
		},
	}
	f.addFlags(cmd)
	cmd.Flags().BoolVar(&f.resetValues, "reset-values", false, "forget the values of earlier runs")
	cmd.Flags().BoolVar(&orInstall, "install", false, "install it if it is not installed")
	return cmd
}
