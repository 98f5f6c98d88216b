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
}

// addressRow is one address of one Service, or a Service that has none.
type addressRow struct {
	Service string     `json:"service"`
	Address netip.Addr `json:"address,omitzero"`
	Pool    string     `json:"pool,omitempty"`
	// Nodes announce the address by ARP and NDP: usually one.
	Nodes []announcer `json:"nodes,omitempty"`
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
		Short: "List the addresses of load balancers: their Services, pools, and which node announces each, since when and why",
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
			all := listBalancers(state, from.config.LoadBalancer, nodes)
			return out.print(cmd.OutOrStdout(), all, func(w io.Writer) error { return printBalancers(w, all, time.Now()) })
		},
	}
	from.addFlags(cmd)
	out.addFlag(cmd)
	return cmd
}

// announcers asks every node what it announces. Manifests in a folder have no
// nodes.
func (s *source) announcers(ctx context.Context) (map[netip.Addr][]announcer, error) {
	if s.dir != "" {
		return nil, nil
	}
	client, err := s.client()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	processes, err := client.Processes(ctx)
	if err != nil {
		return nil, err
	}
	nodes := map[netip.Addr][]announcer{}
	for _, p := range readStatuses(processes) {
		if p.Component == "node" && p.Status == nil {
			fmt.Fprintf(s.stderr(), "fairlead: node %s is left out of the answer: %s\n", p.Node, p.Problem)
		}
		if p.Status == nil {
			continue
		}
		for _, a := range p.Status.Announces {
			nodes[a.Address] = append(nodes[a.Address], announcer{p.Node, a})
		}
	}
	return nodes, nil
}

// listBalancers joins what Services have with who announces it.
func listBalancers(state *desired.State, c config.LoadBalancer, nodes map[netip.Addr][]announcer) balancers {
	table, reasons := ipam.Compile(state, ipam.Table{}, agent.IPAMOptions(c))
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
			row := addressRow{Service: name.String(), Address: address, Pool: a.Pools[i].Name, Nodes: nodes[address], Problem: problem}
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
		ref := desired.Ref{Kind: "IPAddressPool", Namespace: name.Namespace, Name: name.Name}
		if status, ok := state.Statuses.Get(ref); ok {
			reasons = append(slices.Clone(reasons), status.Reasons...)
		}
		for _, reason := range reasons {
			if reason.Object == ref {
				row.Problems = append(row.Problems, reason.Message)
			}
		}
		all.Pools = append(all.Pools, row)
	}
	slices.SortFunc(all.Pools, func(a, b poolRow) int { return strings.Compare(a.Pool, b.Pool) })
	return all
}

// describe says in one line who announces an address, since when and why.
func (r addressRow) describe(now time.Time) (who, since, why string) {
	if len(r.Nodes) == 0 {
		return "-", "-", dash(r.Problem)
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
	if r.Problem != "" {
		reasons = append(reasons, r.Problem)
	}
	return strings.Join(names, ","), now.Sub(r.Nodes[0].Since).Round(time.Second).String(), strings.Join(reasons, "; ")
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
	return w.Flush()
}

// balancerReasons are what is to be said against objects by those who give
// addresses and announce them.
func balancerReasons(state *desired.State, c config.Config) []desired.Reason {
	_, given := ipam.Compile(state, ipam.Table{}, agent.IPAMOptions(c.LoadBalancer))
	_, announced := announce.Compile(state, announce.Table{}, agent.AnnounceOptions(c))
	return slices.Concat(given, announced, agent.WithoutBGP(state))
}
