package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/fairlead-net/fairlead/internal/agent"
	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// serviceRow is one line of `fairlead services`.
type serviceRow struct {
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	Type      string   `json:"type"`
	Addresses []string `json:"addresses,omitempty"`
	Ports     []string `json:"ports,omitempty"`
	// Used of Total endpoints serve clients.
	Used     int      `json:"used"`
	Total    int      `json:"total"`
	Problems []string `json:"problems,omitempty"`
}

func newServices() *cobra.Command {
	var from source
	var out output
	var namespace string
	cmd := &cobra.Command{
		Use:   "services",
		Short: "List Services with their addresses, ports and endpoints in use",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			view, err := from.view(cmd.Context())
			if err != nil {
				return err
			}
			state, _ := desired.Build(view.Objects, view.Node, nil)
			table, reasons := lb.Compile(state, lb.Table{}, agent.LBOptions(from.config))
			reasons = append(reasons, balancerReasons(state, from.config)...)
			rows := serviceRows(state, table, reasons, namespace)
			return out.print(cmd.OutOrStdout(), rows, func(w io.Writer) error { return printServices(w, rows) })
		},
	}
	cmd.Flags().StringVarP(&namespace, "namespace", "n", "", "only this namespace (default: all)")
	from.addFlags(cmd)
	out.addFlag(cmd)
	return cmd
}

func serviceRows(state *desired.State, table lb.Table, compiled []desired.Reason, namespace string) []serviceRow {
	rows := []serviceRow{}
	for name, s := range state.Services.All() {
		if namespace != "" && name.Namespace != namespace {
			continue
		}
		row := serviceRow{Namespace: name.Namespace, Name: name.Name, Type: string(s.Type)}
		if s.Headless {
			row.Type = "Headless"
		}
		for _, address := range s.Addresses {
			row.Addresses = append(row.Addresses, address.String())
		}
		if s.ExternalName != "" {
			row.Addresses = []string{s.ExternalName}
		}
		for _, port := range s.Ports {
			row.Ports = append(row.Ports, port.String())
		}
		row.Used, row.Total = endpoints(s, table)
		for _, reason := range reasonsOf(state, compiled, name) {
			row.Problems = append(row.Problems, reason.Message)
		}
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b serviceRow) int {
		return desired.Name{Namespace: a.Namespace, Name: a.Name}.Compare(desired.Name{Namespace: b.Namespace, Name: b.Name})
	})
	return rows
}

// endpoints counts the distinct endpoints of a Service and those in use for at
// least one frontend; of a headless Service all that are ready are.
func endpoints(s *desired.Service, table lb.Table) (used, total int) {
	seen := map[string]bool{}
	for _, slice := range s.Slices {
		for _, e := range slice.Endpoints {
			seen[e.Address.String()] = seen[e.Address.String()] || s.Headless && e.Ready
		}
	}
	for f := range lb.Frontends(s, table.Options) {
		entry, ok := table.Entries.Get(f)
		if !ok || entry.Service != s.Name {
			continue // another Service has this frontend
		}
		for _, backend := range entry.Backends {
			seen[backend.Addr().String()] = true
		}
	}
	for _, inUse := range seen {
		if inUse {
			used++
		}
	}
	return used, len(seen)
}

// reasonsOf returns all that is to be said against one Service and its slices.
func reasonsOf(state *desired.State, compiled []desired.Reason, name desired.Name) []desired.Reason {
	var all []desired.Reason
	add := func(ref desired.Ref) {
		if status, ok := state.Statuses.Get(ref); ok {
			all = append(all, status.Reasons...)
		}
	}
	ref := desired.Ref{Kind: "Service", Namespace: name.Namespace, Name: name.Name}
	add(ref)
	for _, reason := range compiled {
		if reason.Object == ref {
			all = append(all, reason)
		}
	}
	if s, ok := state.Services.Get(name); ok {
		for _, slice := range s.Slices {
			add(desired.Ref{Kind: "EndpointSlice", Namespace: slice.Name.Namespace, Name: slice.Name.Name})
		}
	}
	return all
}

func printServices(out io.Writer, rows []serviceRow) error {
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "NAMESPACE\tNAME\tTYPE\tADDRESSES\tPORTS\tENDPOINTS\tPROBLEMS")
	for _, r := range rows {
		problem := "-"
		if len(r.Problems) > 0 {
			problem = fmt.Sprintf("%d, see: fairlead explain service %s/%s", len(r.Problems), r.Namespace, r.Name)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d/%d\t%s\n", r.Namespace, r.Name, r.Type,
			dash(strings.Join(r.Addresses, ",")), dash(strings.Join(r.Ports, ",")), r.Used, r.Total, problem)
	}
	return w.Flush()
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
