package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead-net/fairlead/internal/agent"
	"github.com/fairlead-net/fairlead/internal/kube"
)

// processStatus is one line, or more, of `fairlead status`.
type processStatus struct {
	Component string        `json:"component"`
	Node      string        `json:"node"`
	Pod       string        `json:"pod"`
	Problem   string        `json:"problem,omitempty"`
	Status    *agent.Status `json:"status,omitempty"`
}

func newStatus() *cobra.Command {
	var from source
	var out output
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show for every node and plane whether it is healthy, what it runs on, and what fell back",
		Long: "Show for every node and plane whether it is healthy, what it runs on, and what fell back and why.\n" +
			"Exits with 1 if anything is not healthy.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := from.client()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), 30*time.Second)
			defer cancel()
			processes, err := client.Processes(ctx)
			if err != nil {
				return err
			}
			if len(processes) == 0 {
				return errors.New("no Fairlead pods in this cluster; install it with: fairlead install")
			}
			all := readStatuses(processes)
			if err := out.print(cmd.OutOrStdout(), all, func(w io.Writer) error { return printStatus(w, all) }); err != nil {
				return err
			}
			return unhealthy(all)
		},
	}
	from.addClusterFlags(cmd)
	out.addFlag(cmd)
	return cmd
}

func readStatuses(processes []kube.Process) []processStatus {
	all := make([]processStatus, 0, len(processes))
	for _, p := range processes {
		s := processStatus{Component: p.Component, Node: p.Node, Pod: p.Namespace + "/" + p.Pod, Problem: p.Problem}
		if p.Problem == "" {
			s.Status = &agent.Status{}
			if err := json.Unmarshal(p.Answer, s.Status); err != nil {
				s.Status, s.Problem = nil, "its status is not readable: "+err.Error()
			}
		}
		all = append(all, s)
	}
	return all
}

// problems lists what is wrong with one process.
func (s processStatus) problems() []string {
	if s.Status == nil {
		return []string{s.Problem}
	}
	problems := s.Status.Problems
	for _, plane := range s.Status.Planes {
		if !plane.Healthy {
			problem := plane.Problem
			if problem == "" {
				problem = "has applied nothing yet"
			}
			problems = append(problems, plane.Plane+": "+problem)
		}
	}
	return problems
}

func unhealthy(all []processStatus) error {
	bad := 0
	for _, s := range all {
		if len(s.problems()) > 0 {
			bad++
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d processes are not healthy", bad, len(all))
	}
	return nil
}

func printStatus(out io.Writer, all []processStatus) error {
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "COMPONENT\tNODE\tPLANE\tHEALTHY\tREVISION\tLAST CHANGE\tNOTES")
	for _, s := range all {
		if s.Status == nil {
			fmt.Fprintf(w, "%s\t%s\t-\tno\t-\t-\t\n", s.Component, s.Node)
			continue
		}
		for _, p := range s.Status.Planes {
			healthy, age := "yes", "-"
			if !p.Healthy {
				healthy = "no"
			}
			if !p.AppliedAt.IsZero() {
				age = time.Since(p.AppliedAt).Round(time.Second).String() + " ago"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d/%d\t%s\t%s\n", s.Component, s.Node, p.Plane, healthy, p.Applied, p.Wanted, age, strings.Join(p.Notes, "; "))
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, s := range all {
		lines := s.problems()
		if s.Status != nil {
			for _, warning := range s.Status.Warnings {
				lines = append(lines, "warning: "+warning)
			}
		}
		for _, line := range lines {
			if _, err := fmt.Fprintf(out, "\n%s on %s (%s): %s\n", s.Component, s.Node, s.Pod, line); err != nil {
				return err
			}
		}
	}
	return nil
}
