package main

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead-net/fairlead/lab/cluster"
)

var errPlane = errors.New("--plane is ebpf or nftables")

func newConformance() *cobra.Command {
	s := cluster.Suite{Procs: 4, Limit: 3 * time.Hour}
	var focus, skip string
	var list bool
	cmd := &cobra.Command{
		Use:   "conformance --plane ebpf|nftables",
		Short: "Run Kubernetes' own [sig-network] end-to-end specs on the running lab",
		Long: "Run Kubernetes' own [sig-network] end-to-end specs, unmodified, on the running lab, and write\n" +
			"docs/conformance/kubernetes-PLANE.xml. What is excluded, and why, is in lab/conformance/exclusions.txt.\n" +
			"With --focus or --skip the report stays in .lab/conformance. Exits with 1 if a spec fails.",
		Example: "  lab conformance --plane ebpf --list\n  lab conformance --plane nftables --focus 'session affinity' --procs 2",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if s.Plane != "ebpf" && s.Plane != "nftables" {
				return errPlane
			}
			var err error
			if s.Focus, err = expression("--focus", focus); err != nil {
				return err
			}
			if s.Skip, err = expression("--skip", skip); err != nil {
				return err
			}
			c, err := running(cmd)
			if err != nil {
				return err
			}
			if list {
				return listSpecs(cmd, c, &s)
			}
			return c.Conformance(cmd.Context(), &s)
		},
	}
	cmd.Flags().StringVar(&s.Plane, "plane", "", "what resolves Services: ebpf or nftables")
	cmd.Flags().StringVar(&focus, "focus", "", "only specs that match this regular expression")
	cmd.Flags().StringVar(&skip, "skip", "", "no specs that match this regular expression")
	cmd.Flags().IntVar(&s.Procs, "procs", s.Procs, "how many specs run at once")
	cmd.Flags().DurationVar(&s.Limit, "timeout", s.Limit, "how long all specs may take")
	cmd.Flags().BoolVar(&list, "list", false, "print what would run and what not, and run nothing")
	return cmd
}

// expression is nil for no expression.
func expression(flag, text string) (*regexp.Regexp, error) {
	if text == "" {
		return nil, nil
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return re, nil
}

func listSpecs(cmd *cobra.Command, c *cluster.Cluster, s *cluster.Suite) error {
	selection, err := c.BuildSuite(cmd.Context(), s)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	for _, spec := range selection.Parallel {
		fmt.Fprintln(out, "run     ", spec)
	}
	for _, spec := range selection.Serial {
		fmt.Fprintln(out, "serial  ", spec)
	}
	for _, e := range selection.Excluded {
		fmt.Fprintf(out, "exclude  %s\n         because: %s\n", e.Spec, e.Reason)
	}
	fmt.Fprintf(out, "%d run, %d serially, %d are excluded\n", len(selection.Parallel), len(selection.Serial), len(selection.Excluded))
	return nil
}
