package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/fairlead-net/fairlead/internal/agent"
	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/kube"
	"github.com/fairlead-net/fairlead/internal/lb"
)

func newExplainConnection() *cobra.Command {
	var from source
	var out output
	cmd := &cobra.Command{
		Use:   "connection FROM TO:PORT[/PROTOCOL]",
		Short: "Show where a connection goes, and why",
		Long: `Show where a connection goes, and why.

FROM is a pod (NAMESPACE/NAME), a program on a node (node/NAME, or host for the
node that --node names), or a client outside the cluster (outside, or
outside:ADDRESS) whose packets arrive at the node that --node names. TO is an
address or a Service (NAME.NAMESPACE).

'fairlead trace' asks the node's kernel as well.`,
		Example: "  fairlead explain connection demo/probe-x7k2p shop.demo:80\n" +
			"  fairlead explain connection outside:203.0.113.9 192.0.2.10:30080 --node worker-1",
		Args: exactly("FROM", "TO:PORT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			trace, err := explainConnection(cmd.Context(), &from, args[0], args[1])
			if err != nil {
				return err
			}
			return out.print(cmd.OutOrStdout(), trace, func(w io.Writer) error { return printTrace(w, trace) })
		},
	}
	from.addFlags(cmd)
	out.addFlag(cmd)
	return cmd
}

// explainedConnection is the result of `fairlead explain connection`.
type explainedConnection struct {
	lb.Trace
	Node string `json:"node,omitempty"`
}

func explainConnection(ctx context.Context, from *source, client, target string) (explainedConnection, error) {
	c, err := readConnection(ctx, from, client, target)
	if err != nil {
		return explainedConnection{}, err
	}
	return c.explain(), nil
}

// connection is one that a user asks about.
type connection struct {
	packet  lb.Packet
	view    kube.View
	state   *desired.State
	options lb.Options
}

// readConnection finds out who connects to what, and reads what decides it.
func readConnection(ctx context.Context, from *source, client, target string) (connection, error) {
	place, addresses, err := from.clientOf(ctx, client)
	if err != nil {
		return connection{}, err
	}
	c := connection{packet: lb.Packet{From: place}}
	if c.view, err = from.view(ctx); err != nil {
		return connection{}, err
	}
	c.options = agent.LBOptions(from.config)
	if from.dir != "" {
		c.options.ExternalIPs = true // a folder does not say whether they are served
	}
	if c.view.Node.Network == nil {
		// Those in the Node object are all that can be known from here.
		c.view.Node.Network = &desired.Network{Addresses: c.view.NodeAddresses}
	}
	c.state, _ = desired.Build(c.view.Objects, c.view.Node, nil)
	if c.packet.To, err = parseTarget(c.state, target); err != nil {
		return connection{}, err
	}
	for _, address := range addresses {
		if address.Is4() == c.packet.To.Address.Is4() {
			c.packet.Source = address
		}
	}
	return c, nil
}

func (c connection) explain() explainedConnection {
	table, _ := lb.Compile(c.state, lb.Table{}, c.options)
	return explainedConnection{Trace: table.Trace(c.packet), Node: c.view.Node.Name}
}

// clientOf reads who connects, and sets the node that decides about it.
func (s *source) clientOf(ctx context.Context, text string) (lb.Place, []netip.Addr, error) {
	kind, rest, _ := strings.Cut(text, "/")
	if before, after, colon := strings.Cut(text, ":"); colon && before == string(lb.Outside) {
		kind, rest = before, after
	}
	switch kind {
	case string(lb.Host):
		if rest == "" && s.node == "" {
			return "", nil, usageError{errors.New("host is a program on the node that --node names; name one")}
		}
		if rest == "" {
			return lb.Host, nil, nil
		}
	case "node":
		if rest == "" {
			return "", nil, usageError{errors.New("node/ wants the name of a node after it")}
		}
		s.node = rest
		return lb.Host, nil, nil
	case string(lb.Outside):
		if rest == "" {
			return lb.Outside, nil, nil
		}
		address, err := netip.ParseAddr(rest)
		if err != nil {
			return "", nil, usageError{fmt.Errorf("%q is not of the form outside:ADDRESS", text)}
		}
		return lb.Outside, []netip.Addr{address}, nil
	}
	name, err := parseName(text)
	if err != nil {
		return "", nil, err
	}
	if s.dir != "" {
		return "", nil, usageError{errors.New("pods are not read from a folder; name a node (node/NAME) or outside")}
	}
	pod, err := s.pod(ctx, name)
	if err != nil {
		return "", nil, err
	}
	s.node = pod.Node
	if pod.HostNetwork {
		return lb.Host, pod.Addresses, nil
	}
	return lb.Pod, pod.Addresses, nil
}

func (s *source) pod(ctx context.Context, name desired.Name) (kube.Pod, error) {
	client, err := s.client()
	if err != nil {
		return kube.Pod{}, err
	}
	return client.Pod(ctx, name)
}

// parseTarget reads ADDRESS:PORT or NAME.NAMESPACE:PORT, with /PROTOCOL after it
// unless it is TCP.
func parseTarget(state *desired.State, text string) (lb.Frontend, error) {
	var f lb.Frontend
	rest, protocol, _ := strings.Cut(text, "/")
	var ok bool
	if f.Protocol, ok = desired.ParseProtocol(protocol); !ok {
		return f, usageError{fmt.Errorf("protocol %q is none of tcp, udp and sctp", protocol)}
	}
	colon := strings.LastIndex(rest, ":")
	if colon < 0 {
		return f, usageError{fmt.Errorf("%q is not of the form TO:PORT or TO:PORT/PROTOCOL", text)}
	}
	port, err := strconv.ParseUint(rest[colon+1:], 10, 16)
	if err != nil || port == 0 {
		return f, usageError{fmt.Errorf("%q is not a port number (1 to 65535)", rest[colon+1:])}
	}
	f.Port = uint16(port)
	host := strings.Trim(rest[:colon], "[]")
	if f.Address, err = netip.ParseAddr(host); err == nil {
		f.Address = f.Address.Unmap()
		return f, nil
	}
	labels := strings.Split(host, ".")
	if len(labels) < 2 {
		return f, usageError{fmt.Errorf("%q is neither an address nor of the form NAME.NAMESPACE", host)}
	}
	name := desired.Name{Namespace: labels[1], Name: labels[0]}
	s, ok := state.Services.Get(name)
	switch {
	case !ok:
		return f, fmt.Errorf("there is no Service %s%s", name, similar(state, name))
	case len(s.Addresses) == 0:
		return f, fmt.Errorf("Service %s has no address of its own: clients get those of its endpoints, or an alias, from DNS; name an address instead", name)
	}
	f.Address = s.Addresses[0]
	return f, nil
}

func printTrace(out io.Writer, e explainedConnection) error {
	fmt.Fprintf(out, "From %s to %s\n", clientText(e), e.To)
	if e.Service != nil {
		fmt.Fprintf(out, "1. %s is the %s of Service %s%s\n", e.Frontend, e.Kind, e.Service, withPort(e.Port))
	} else {
		fmt.Fprintf(out, "1. %s is nobody's frontend\n", e.To)
	}
	decided := "by nftables, at the first packet"
	switch {
	case e.Carrier == lb.Socket:
		decided = "in the socket when it connects (by nftables, at the first packet, where eBPF is off)"
	case e.From == lb.Outside && e.Service != nil:
		decided = "at the first packet, by eBPF at the uplink where that serves it, else by nftables"
	}
	fmt.Fprintf(out, "2. decided %s\n", decided)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if len(e.Candidates) > 0 {
		fmt.Fprintln(w, "3. endpoints:")
	}
	for _, c := range e.Candidates {
		mark := "     no "
		if c.Used {
			mark = "     yes"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", mark, c.Backend, dash(c.Pod), dash(c.Node), c.Why)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "=> %s\n", outcome(e.Trace))
	return err
}

func clientText(e explainedConnection) string {
	client := map[lb.Place]string{lb.Pod: "a pod", lb.Host: "a program", lb.Outside: "outside the cluster"}[e.From]
	if e.Source != "" {
		client += " (" + e.Source + ")"
	}
	switch {
	case e.Node == "":
		return client
	case e.From == lb.Outside:
		return client + ", arriving at node " + e.Node + ","
	}
	return client + " on node " + e.Node
}

func withPort(name string) string {
	if name == "" {
		return ""
	}
	return ", port " + name
}

// outcome is the verdict in words.
func outcome(t lb.Trace) string {
	switch t.Verdict {
	case lb.Refuse:
		return "refused at once: " + t.Why
	case lb.Drop:
		return "dropped without an answer: " + t.Why
	case lb.Pass:
		return "left alone: " + t.Why
	}
	used := 0
	for _, c := range t.Candidates {
		if c.Used {
			used++
		}
	}
	text := fmt.Sprintf("goes to one of %d endpoints, by chance", used)
	if used == 1 {
		text = "goes to the only endpoint"
	}
	if t.Affinity != "" {
		text += "; a client keeps the one it had for " + t.Affinity + " after its last connection"
	}
	return text
}
