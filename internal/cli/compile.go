package cli

import (
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/fairlead-net/fairlead/internal/compile"
	"github.com/fairlead-net/fairlead/internal/dns"
	"github.com/fairlead-net/fairlead/internal/lb"
)

func newCompile() *cobra.Command {
	var from source
	var out output
	var config dns.Config
	cmd := &cobra.Command{
		Use:   "compile -f DIR",
		Short: "Print what every plane would get from these manifests; no cluster needed",
		Example: `  fairlead compile -f manifests/
  fairlead compile -f manifests/ --node worker-1 --zone east -o yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if from.dir == "" {
				return usageError{errors.New("name a folder of manifests with -f")}
			}
			view, err := from.view(cmd.Context())
			if err != nil {
				return err
			}
			result := compile.All(view.Objects, view.Node, lb.Options{ExternalIPs: true}, config)
			return out.print(cmd.OutOrStdout(), result, func(w io.Writer) error { return result.Print(w) })
		},
	}
	cmd.Flags().StringVarP(&from.dir, "filename", "f", "", "folder of manifests")
	cmd.Flags().StringVar(&config.Domain, "cluster-domain", dns.DefaultDomain, "DNS zone of the cluster")
	from.addNodeFlags(cmd)
	out.addFlag(cmd)
	return cmd
}
