package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead-net/fairlead/internal/install"
)

// chartFlags are what `install` and `upgrade` have in common.
type chartFlags struct {
	target      install.Target
	files       []string
	settings    []string
	dryRun      bool
	wait        bool
	timeout     time.Duration
	takeOverDNS bool
	resetValues bool
}

// addTargetFlags adds the flags that name a cluster and the release's namespace.
func addTargetFlags(cmd *cobra.Command, target *install.Target) {
	cmd.Flags().StringVar(&target.Kubeconfig, "kubeconfig", "", "kubeconfig file (default $KUBECONFIG, then ~/.kube/config)")
	cmd.Flags().StringVar(&target.Context, "context", "", "context of the kubeconfig (default its current one)")
	cmd.Flags().StringVarP(&target.Namespace, "namespace", "n", "fairlead-system", "namespace of the release, its node pods and its controller")
}

func (f *chartFlags) addFlags(cmd *cobra.Command) {
	addTargetFlags(cmd, &f.target)
	cmd.Flags().StringArrayVarP(&f.files, "values", "f", nil, "file of values; may be repeated, the last one wins")
	cmd.Flags().StringArrayVar(&f.settings, "set", nil, "one value, as PATH=VALUE; may be repeated, and wins over files")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "print what would be applied, checked by the API server, and change nothing")
	cmd.Flags().BoolVar(&f.wait, "wait", true, "wait until all pods are ready")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 5*time.Minute, "how long to wait")
	cmd.Flags().BoolVar(&f.takeOverDNS, "take-over-dns", false, "answer at the addresses of an existing Service kube-system/kube-dns")
}

// options reads the values and says where a dry run prints.
func (f *chartFlags) options(out io.Writer) (install.Options, error) {
	if f.timeout <= 0 {
		return install.Options{}, usageError{fmt.Errorf("--timeout %s is not above 0; to not wait at all use --wait=false", f.timeout)}
	}
	values, err := install.Values(f.files, f.settings)
	if err != nil {
		return install.Options{}, usageError{err}
	}
	o := install.Options{Values: values, TakeOverDNS: f.takeOverDNS, ResetValues: f.resetValues}
	if f.wait {
		o.Wait = f.timeout
	}
	if f.dryRun {
		o.Manifest = out
	}
	return o, nil
}

// installer reports steps to standard output, unless a dry run prints there.
func (f *chartFlags) installer(cmd *cobra.Command) (*install.Installer, error) {
	steps := cmd.OutOrStdout()
	if f.dryRun {
		steps = cmd.ErrOrStderr()
	}
	return install.New(f.target, steps)
}

func newInstall() *cobra.Command {
	var f chartFlags
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Install Fairlead into a cluster",
		Long: `Install Fairlead into a cluster, by the Helm chart that is part of this binary.

It reads the API servers' addresses and the address of the cluster's DNS from the
cluster, so that there is nothing to set on most clusters. An installation that
was interrupted is carried on. One that exists is left alone: 'fairlead upgrade'
changes it, and 'fairlead upgrade --install' does whichever is needed.`,
		Example: "  fairlead install\n  fairlead install --set config.logLevel=debug --set image.tag=dev\n  fairlead install --dry-run | less",
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
			notes, err := installer.Install(cmd.Context(), o)
			return printNotes(cmd.OutOrStdout(), notes, err)
		},
	}
	f.addFlags(cmd)
	return cmd
}

// printNotes prints what a user may try next, if all went well.
func printNotes(out io.Writer, notes string, err error) error {
	if err != nil || notes == "" {
		return err
	}
	_, err = fmt.Fprintf(out, "\n%s\n", strings.TrimSpace(notes))
	return err
}
