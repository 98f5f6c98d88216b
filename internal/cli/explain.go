package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/fairlead-net/fairlead/internal/agent"
	"github.com/fairlead-net/fairlead/internal/config"
	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
)

func newExplain() *cobra.Command {
	cmd := &cobra.Command{
		Use: "explain", Short: "Say why something is as it is",
		// Without these, a misspelt subcommand would print help and succeed.
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newExplainService(), newExplainConnection(), newExplainRequest())
	return cmd
}

// explainedService is the result of `fairlead explain service`.
type explainedService struct {
	Service   string           `json:"service"`
	Type      string           `json:"type"`
	Node      desired.Node     `json:"node,omitzero"`
	Note      string           `json:"note,omitempty"`
	Frontends []lb.Explanation `json:"frontends"`
	Reasons   []desired.Reason `json:"reasons,omitempty"`
}

func newExplainService() *cobra.Command {
	var from source
	var out output
	cmd := &cobra.Command{
		Use:     "service NAMESPACE/NAME",
		Short:   "Show a Service's frontends and endpoints, which are used, and why the others are not",
		Example: "  fairlead explain service demo/shop --node worker-1",
		Args:    exactly("NAMESPACE/NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := parseName(args[0])
			if err != nil {
				return err
			}
			view, err := from.view(cmd.Context())
			if err != nil {
				return err
			}
			state, _ := desired.Build(view.Objects, view.Node, nil)
			explained, err := explainService(state, name, from.config)
			if err != nil {
				return err
			}
			return out.print(cmd.OutOrStdout(), explained, func(w io.Writer) error { return printExplained(w, explained) })
		},
	}
	from.addFlags(cmd)
	out.addFlag(cmd)
	return cmd
}

// exactly wants as many arguments as it names.
func exactly(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != len(names) {
			return usageError{fmt.Errorf("%d arguments given, wanted %s", len(args), strings.Join(names, " "))}
		}
		return nil
	}
}

// parseName reads NAMESPACE/NAME; a name alone is in namespace default.
func parseName(text string) (desired.Name, error) {
	namespace, name, ok := strings.Cut(text, "/")
	if !ok {
		namespace, name = "default", text
	}
	if namespace == "" || name == "" || strings.Contains(name, "/") {
		return desired.Name{}, usageError{fmt.Errorf("%q is not of the form NAMESPACE/NAME", text)}
	}
	return desired.Name{Namespace: namespace, Name: name}, nil
}

func explainService(state *desired.State, name desired.Name, c config.Config) (explainedService, error) {
	s, ok := state.Services.Get(name)
	if !ok {
		return explainedService{}, fmt.Errorf("there is no Service %s%s", name, similar(state, name))
	}
	table, compiled := lb.Compile(state, lb.Table{}, agent.LBOptions(c))
	compiled = append(compiled, balancerReasons(state, c)...)
	e := explainedService{
		Service: name.String(), Type: string(s.Type), Node: state.Node,
		Frontends: table.Explain(s), Reasons: reasonsOf(state, compiled, name),
	}
	switch {
	case s.Foreign != "":
		e.Note = s.Foreign + ", so Fairlead leaves it alone"
	case s.Type == desired.ExternalName:
		e.Note = "an alias in DNS for " + s.ExternalName + "; there is nothing to balance"
	case s.Headless:
		e.Note = "headless: clients get its endpoints from DNS and connect to them directly"
	}
	return e, nil
}

// similar names Services that may have been meant.
func similar(state *desired.State, name desired.Name) string {
	var found []string
	for other := range state.Services.All() {
		if other.Name == name.Name || other.Namespace == name.Namespace && strings.Contains(other.Name, name.Name) {
			found = append(found, other.String())
		}
	}
	if len(found) == 0 {
		return "; 'fairlead services' lists them"
	}
	slices.Sort(found)
	return "; did you mean " + strings.Join(found, " or ") + "?"
}

func printExplained(out io.Writer, e explainedService) error {
	view := "no node in particular (choose one with --node)"
	if e.Node.Name != "" {
		view = "node " + e.Node.Name
	}
	fmt.Fprintf(out, "Service %s, type %s, seen from %s\n", e.Service, e.Type, view)
	if e.Note != "" {
		fmt.Fprintf(out, "%s\n", e.Note)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, f := range e.Frontends {
		fmt.Fprintf(w, "\n%s  %s  port %s: %s\n", f.Frontend, f.Kind, f.Port, verdictText(f))
		for _, c := range f.Candidates {
			mark := "  no "
			if c.Used {
				mark = "  yes"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", mark, c.Backend, dash(c.Pod), dash(c.Node), c.Why)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, reason := range e.Reasons {
		if _, err := fmt.Fprintf(out, "\n%s: %s: %s\n", reason.Object, reason.Code, reason.Message); err != nil {
			return err
		}
	}
	return nil
}

func verdictText(f lb.Explanation) string {
	used := 0
	for _, c := range f.Candidates {
		if c.Used {
			used++
		}
	}
	text := map[lb.Verdict]string{
		lb.Forward: fmt.Sprintf("goes to one of %d endpoints", used),
		lb.Refuse:  "refused at once, as no endpoint can serve it",
		lb.Drop:    "dropped, as no endpoint is on this node (traffic policy Local)",
		lb.Pass:    "not served",
	}[f.Verdict]
	if f.Affinity != "" {
		text += ", a client keeps its endpoint for " + f.Affinity
	}
	if f.From == lb.Outside {
		text = "from outside the cluster " + text
	}
	if len(f.Sources) > 0 {
		text += ", only for clients in " + strings.Join(f.Sources, " ")
	}
	if f.Holder != "" {
		text = "belongs to Service " + f.Holder
	}
	return text
}
