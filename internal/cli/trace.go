package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead-net/fairlead/internal/agent"
	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// traced is the result of `fairlead trace`.
type traced struct {
	explainedConnection
	// Answer is what the node says.
	Answer agent.TraceAnswer `json:"answer"`
	// Lag says how the node's decision differs from that of the objects in the API
	// server, if it does.
	Lag []string `json:"lag,omitempty"`
}

func newTrace() *cobra.Command {
	var from source
	var out output
	cmd := &cobra.Command{
		Use:   "trace FROM TO:PORT[/PROTOCOL]",
		Short: "Show where a connection goes, and whether the node and its kernel see it the same way",
		Long: `Show where a connection goes, step by step, and whether the node that decides
about it, and that node's kernel, say the same.

FROM is a pod (NAMESPACE/NAME), a program on the node that --node names (host),
or a client outside the cluster (outside, or outside:ADDRESS) whose packets
arrive at that node. TO is an address or a Service (NAME.NAMESPACE). Nothing is
sent, and nothing is changed. Exits with 1 if there is a difference.`,
		Example: "  fairlead trace demo/probe-x7k2p shop.demo:80\n" +
			"  fairlead trace outside:203.0.113.9 192.0.2.10:30080 --node worker-1",
		Args: exactly("FROM", "TO:PORT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			result, err := trace(cmd.Context(), &from, args[0], args[1])
			if err != nil {
				return err
			}
			if err := out.print(cmd.OutOrStdout(), result, func(w io.Writer) error { return printTraced(w, result) }); err != nil {
				return err
			}
			return result.problem()
		},
	}
	from.addClusterFlags(cmd)
	cmd.Flags().StringVar(&from.node, "node", "", "the node that is meant, for host and outside")
	out.addFlag(cmd)
	return cmd
}

func trace(ctx context.Context, from *source, client, target string) (traced, error) {
	c, err := readConnection(ctx, from, client, target)
	if err != nil {
		return traced{}, err
	}
	if c.view.Node.Name == "" {
		return traced{}, usageError{errors.New("name the node at which the packets arrive with --node")}
	}
	node, err := from.client()
	if err != nil {
		return traced{}, err
	}
	question := agent.TraceQuestion{From: c.packet.From, Source: c.packet.Source, To: c.packet.To}
	content, err := node.AskNode(ctx, c.view.Node.Name, "trace", question.Query())
	if err != nil {
		return traced{}, err
	}
	var t traced
	if err := json.Unmarshal(content, &t.Answer); err != nil {
		return traced{}, fmt.Errorf("the answer of node %s is not readable (is it of another version?): %w", c.view.Node.Name, err)
	}
	if a := c.packet.To.Address; t.Answer.NodeAddress && !slices.Contains(c.view.NodeAddresses, a) {
		// The node has addresses that its Node object does not name.
		c.view.Node.Network = &desired.Network{Addresses: append(slices.Clone(c.view.NodeAddresses), a)}
		c.state, _ = desired.Build(c.view.Objects, c.view.Node, nil)
	}
	t.explainedConnection = c.explain()
	t.compare()
	return t, nil
}

// compare says how the node's decision differs.
func (t *traced) compare() {
	if t.Answer.Verdict != t.Verdict {
		t.Lag = append(t.Lag, fmt.Sprintf("it says %s instead of %s", t.Answer.Verdict, t.Verdict))
		return
	}
	if t.Verdict != lb.Forward {
		return
	}
	var want []string
	for _, c := range t.Candidates {
		if c.Used {
			want = append(want, c.Backend)
		}
	}
	for _, b := range want {
		if !slices.Contains(t.Answer.Backends, b) {
			t.Lag = append(t.Lag, "endpoint "+b+" is missing")
		}
	}
	for _, b := range t.Answer.Backends {
		if !slices.Contains(want, b) {
			t.Lag = append(t.Lag, "endpoint "+b+" is gone from the API server")
		}
	}
}

// problem is the error that a difference is, or that there is no saying.
func (t traced) problem() error {
	different, unknown := len(t.Lag) > 0, false
	for _, k := range t.Answer.Kernel {
		different, unknown = different || len(k.Differences) > 0, unknown || k.Problem != ""
	}
	switch {
	case different:
		return fmt.Errorf("node %s does not serve what the API server says; if it stays so, see: fairlead status", t.Answer.Node)
	case unknown:
		return fmt.Errorf("the kernel of node %s could not be asked about everything", t.Answer.Node)
	}
	return nil
}

func printTraced(out io.Writer, t traced) error {
	if err := printTrace(out, t.explainedConnection); err != nil {
		return err
	}
	line := "same"
	if len(t.Lag) > 0 {
		line = "DIFFERENT: " + strings.Join(t.Lag, "; ")
	}
	fmt.Fprintf(out, "node %s, at revision %d: %s\n", t.Answer.Node, t.Answer.Revision, line)
	for _, k := range t.Answer.Kernel {
		switch {
		case k.Problem != "":
			line = "not known: " + k.Problem
		case len(k.Differences) > 0:
			line = "DIFFERENT (" + k.Held + "): " + strings.Join(k.Differences, "; ")
		default:
			line = "same (" + k.Held + ")"
		}
		if _, err := fmt.Fprintf(out, "kernel, %s: %s\n", k.Plane, line); err != nil {
			return err
		}
	}
	return nil
}
