package cli

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead-net/fairlead/internal/agent"
	"github.com/fairlead-net/fairlead/internal/announce"
	"github.com/fairlead-net/fairlead/internal/config"
	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/ipam"
)

// balancers is what `fairlead lb` prints.
type balancers struct {
	Addresses []addressRow `json:"addresses"`
	Pools     []poolRow    `json:"pools"`
	// Peers are the sessions with routers.
	Peers []peerRow `json:"peers,omitempty"`
}

// addressRow is one address of one Service, or a Service that has none.
type addressRow struct {
	Service string     `json:"service"`
	Address netip.Addr `json:"address,omitzero"`
	Pool    string     `json:"pool,omitempty"`
	// Nodes announce the address by ARP and NDP: usually one.
	Nodes []announcer `json:"nodes,omitempty"`
	// Routed are those that tell routers of it by BGP, and Peers the BGPPeers of these.
	Routed []string `json:"routed,omitempty"`
	Peers  []string `json:"peers,omitempty"`
	// Problem says why there is no address, or why nobody announces it.
	Problem string `json:"problem,omitempty"`
}

// announcer is a node that announces an address.
type announcer struct {
	Node string `json:"node"`
	agent.Announced
}

// poolRow is one pool.
type poolRow struct {
	Pool      string   `json:"pool"`
	Addresses []string `json:"addresses"`
	Assigned  int64    `json:"assigned"`
	Available int64    `json:"available"`
	Problems  []string `json:"problems,omitempty"`
}

func newLB() *cobra.Command {
	var from source
	var out output
	cmd := &cobra.Command{
		Use:   "lb",
		Short: "List the addresses of load balancers: their Services, pools, and which node announces each, since when and why; and the sessions with routers",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			view, err := from.view(cmd.Context())
			if err != nil {
				return err
			}
			state, _ := desired.Build(view.Objects, view.Node, nil)
			nodes, err := from.announcers(cmd.Context())
			if err != nil {
				return err
			}
			all := listBalancers(state, from.config, nodes)
			return out.print(cmd.OutOrStdout(), all, func(w io.Writer) error { return printBalancers(w, all, time.Now()) })
		},
	}
	from.addFlags(cmd)
	out.addFlag(cmd)
	return cmd
}

// announcing is what nodes say of themselves.
type announcing struct {
	addresses map[netip.Addr][]announcer
	routes    map[string][]agent.AnnouncedRoute // by node
	sessions  []peerRow
}

// announcers asks every node what it announces. Manifests in a folder have no
// nodes.
func (s *source) announcers(ctx context.Context) (announcing, error) {
	nodes := announcing{addresses: map[netip.Addr][]announcer{}, routes: map[string][]agent.AnnouncedRoute{}}
	if s.dir != "" {
		return nodes, nil
	}
	client, err := s.client()
	if err != nil {
		return nodes, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	processes, err := client.Processes(ctx)
	if err != nil {
		return nodes, err
	}
	for _, p := range readStatuses(processes) {
		if p.Component == "node" && p.Status == nil {
			fmt.Fprintf(s.stderr(), "fairlead: node %s is left out of the answer: %s\n", p.Node, p.Problem)
		}
		if p.Status == nil {
			continue
		}
		for _, a := range p.Status.Announces {
			nodes.addresses[a.Address] = append(nodes.addresses[a.Address], announcer{p.Node, a})
		}
		nodes.routes[p.Node] = p.Status.Routes
		for _, session := range p.Status.Peers {
			nodes.sessions = append(nodes.sessions, peerRow{session, p.Node})
		}
	}
	return nodes, nil
}

// routed returns which nodes tell which BGPPeers of an address.
func (a *announcing) routed(address netip.Addr) (nodes, peers []string) {
	for node, routes := range a.routes {
		told := false
		for _, r := range routes {
			if r.Prefix.Contains(address) {
				told, peers = true, append(peers, r.Peers...)
			}
		}
		if told {
			nodes = append(nodes, node)
		}
	}
	slices.Sort(nodes)
	slices.Sort(peers)
	return nodes, slices.Compact(peers)
}

// listBalancers joins what Services have with who announces it.
func listBalancers(state *desired.State, c config.Config, nodes announcing) balancers {
	table, reasons := ipam.Compile(state, ipam.Table{}, agent.IPAMOptions(c.LoadBalancer))
	_, announced := announce.Compile(state, announce.Table{}, agent.AnnounceOptions(c))
	reasons = slices.Concat(reasons, announced)
	all := balancers{Addresses: []addressRow{}, Pools: []poolRow{}}
	for name, a := range table.Services.All() {
		problem := ""
		for _, reason := range []*desired.Reason{a.Lost, a.Problem} {
			if reason != nil {
				problem = reason.Message
			}
		}
		if len(a.Addresses) == 0 {
			all.Addresses = append(all.Addresses, addressRow{Service: name.String(), Problem: problem})
		}
		for i, address := range a.Addresses {
			row := addressRow{Service: name.String(), Address: address, Pool: a.Pools[i].Name, Nodes: nodes.addresses[address], Problem: problem}
			row.Routed, row.Peers = nodes.routed(address)
			all.Addresses = append(all.Addresses, row)
		}
	}
	slices.SortFunc(all.Addresses, func(a, b addressRow) int {
		if order := strings.Compare(a.Service, b.Service); order != 0 {
			return order
		}
		return a.Address.Compare(b.Address)
	})
	for name, pool := range state.Addressing.Pools.All() {
		row := poolRow{Pool: name.Name, Addresses: []string{}}
		for _, r := range pool.Ranges {
			row.Addresses = append(row.Addresses, r.String())
		}
		if usage, ok := table.Pools.Get(name); ok {
			row.Assigned, row.Available = usage.Assigned4+usage.Assigned6, usage.Available4+usage.Available6
		}
		row.Problems = problemsOf(state, reasons, desired.Ref{Kind: "IPAddressPool", Namespace: name.Namespace, Name: name.Name})
		all.Pools = append(all.Pools, row)
	}
	slices.SortFunc(all.Pools, func(a, b poolRow) int { return strings.Compare(a.Pool, b.Pool) })
	all.Peers = listPeers(state, reasons, nodes.sessions)
	return all
}

// describe says in one line who announces an address, since when and why.
func (r addressRow) describe(now time.Time) (who, since, why string) {
	var routed string
	if len(r.Routed) > 0 {
		routed = fmt.Sprintf("%s tell routers by BGP (%s)", strings.Join(r.Routed, ", "), strings.Join(r.Peers, ", "))
	}
	if len(r.Nodes) == 0 {
		return dash(strings.Join(r.Routed, ",")), "-", dash(strings.Join(nonEmpty(routed, r.Problem), "; "))
	}
	var names, reasons []string
	for _, n := range r.Nodes {
		names, reasons = append(names, n.Node), append(reasons, n.Why)
		if n.Conflict != "" {
			reasons = append(reasons, "but "+n.Conflict)
		}
	}
	if len(r.Nodes) > 1 {
		reasons = []string{"several nodes announce it: they do not see each other's probes"}
	}
	reasons = append(reasons, nonEmpty(routed, r.Problem)...)
	return strings.Join(names, ","), now.Sub(r.Nodes[0].Since).Round(time.Second).String(), strings.Join(reasons, "; ")
}

// nonEmpty returns those of some texts that say something.
func nonEmpty(texts ...string) []string {
	return slices.DeleteFunc(texts, func(text string) bool { return text == "" })
}

func printBalancers(out io.Writer, all balancers, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "SERVICE\tADDRESS\tPOOL\tNODE\tSINCE\tWHY")
	for _, r := range all.Addresses {
		address := "-"
		if r.Address.IsValid() {
			address = r.Address.String()
		}
		who, since, why := r.describe(now)
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Service, address, dash(r.Pool), who, since, why)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w, "\nPOOL\tADDRESSES\tASSIGNED\tAVAILABLE\tPROBLEMS")
	for _, p := range all.Pools {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\n", p.Pool, dash(strings.Join(p.Addresses, ",")), p.Assigned, p.Available, dash(strings.Join(p.Problems, "; ")))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	printPeers(w, all.Peers, now)
	return w.Flush()
}

// balancerReasons are what is to be said against objects by those who give
// addresses and announce them.
func balancerReasons(state *desired.State, c config.Config) []desired.Reason {
	_, given := ipam.Compile(state, ipam.Table{}, agent.IPAMOptions(c.LoadBalancer))
	_, announced := announce.Compile(state, announce.Table{}, agent.AnnounceOptions(c))
	return slices.Concat(given, announced)
}
