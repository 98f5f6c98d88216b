package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead-net/fairlead/internal/agent"
	"github.com/fairlead-net/fairlead/internal/config"
	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/dns"
	"github.com/fairlead-net/fairlead/internal/kube"
)

// looked is the result of `fairlead dns query`.
type looked struct {
	// From says whose look-up it is.
	From string `json:"from"`
	dns.Resolver
	Steps []dns.Step `json:"steps"`
	Notes []string   `json:"notes,omitempty"`
}

// query is what the command line asks.
type query struct {
	source
	from, namespace string // whose look-up it is: a pod's, or that of any in a namespace
	types           []string
}

func newQuery() *cobra.Command {
	var q query
	var out output
	cmd := &cobra.Command{
		Use:   "query NAME",
		Short: "Show what a name is answered with, and why, as a pod's resolver asks for it",
		Long: `Show what a name is answered with, and why.

NAME is looked up as it is, or, with --from or --namespace, along the search
path of a pod. An address stands for its reverse name. The answers are worked
out from the cluster's objects, as every DNS server of Fairlead does; what is
not the cluster's is asked from other servers, and not from here.`,
		Example: "  fairlead dns query shop --from demo/probe-x7k2p\n" +
			"  fairlead dns query _http._tcp.shop.demo.svc.cluster.local --type SRV\n" +
			"  fairlead dns query 10.96.0.10",
		Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			result, err := q.run(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return out.print(cmd.OutOrStdout(), result, result.print)
		},
	}
	cmd.Flags().StringVar(&q.from, "from", "", "look up as this pod does: NAMESPACE/NAME")
	cmd.Flags().StringVarP(&q.namespace, "namespace", "n", "", "look up as a pod in this namespace does that leaves its DNS to Kubernetes")
	cmd.Flags().StringSliceVarP(&q.types, "type", "t", nil, "types of records, by name or number (default A,AAAA; for an address PTR)")
	q.addFlags(cmd)
	out.addFlag(cmd)
	return cmd
}

func (q *query) run(ctx context.Context, name string) (looked, error) {
	types, err := q.read(&name)
	if err != nil {
		return looked{}, err
	}
	var pod kube.Pod
	if q.from != "" {
		of, err := parseName(q.from)
		if err != nil {
			return looked{}, err
		}
		if q.dir != "" {
			return looked{}, usageError{errors.New("pods are not read from a folder; use --namespace")}
		}
		if pod, err = q.pod(ctx, of); err != nil {
			return looked{}, err
		}
		q.node, q.namespace = pod.Node, of.Namespace
	}
	view, err := q.view(ctx)
	if err != nil {
		return looked{}, err
	}
	state, _ := desired.Build(view.Objects, view.Node, nil)
	zone, err := agent.DNSConfig(q.config).Complete()
	if err != nil {
		return looked{}, err
	}
	table, reasons := dns.Compile(state, dns.Table{}, zone)
	result := q.resolver(pod, zone.Domain)
	result.Steps = table.Lookup(result.Resolver, name, types...)
	result.Notes = append(result.Notes, result.remarks(q.config.DNS)...)
	for _, r := range reasons {
		result.Notes = append(result.Notes, fmt.Sprintf("%s: %s: %s", r.Object, r.Code, r.Message))
	}
	return result, nil
}

// read checks the name, which becomes the reverse name if it is an address, and
// the types.
func (q *query) read(name *string) ([]dns.Type, error) {
	if q.from != "" && q.namespace != "" {
		return nil, usageError{errors.New("--from and --namespace both say who asks; use one")}
	}
	types := []dns.Type{dns.TypeA, dns.TypeAAAA}
	if address, err := netip.ParseAddr(*name); err == nil {
		*name, types = dns.ReverseName(address.Unmap()), []dns.Type{dns.TypePTR}
	}
	if *name == "" || len(*name) > 253 || strings.ContainsAny(*name, " \t\r\n") || strings.Contains(strings.TrimPrefix(*name, "."), "..") {
		return nil, usageError{fmt.Errorf("%q is not a name: labels of 1 to 63 characters with dots between them, 253 in all", *name)}
	}
	if len(q.types) > 0 {
		types = nil
	}
	for _, text := range q.types {
		t, ok := dns.ParseType(text)
		if !ok {
			return nil, usageError{fmt.Errorf("--type %s: there is no such type of records here; use for example A, AAAA, SRV, PTR, TXT or TYPE257", text)}
		}
		types = append(types, t)
	}
	return types, nil
}

// resolver finds out whose resolv.conf counts. A pod's is written by the kubelet
// from its dnsPolicy and dnsConfig
// (https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/).
func (q *query) resolver(pod kube.Pod, domain string) looked {
	r := looked{From: "nobody in particular", Resolver: dns.Resolver{Ndots: 1}}
	if q.namespace == "" {
		return r
	}
	r.From = "a pod in namespace " + q.namespace
	r.Resolver = dns.PodResolver(q.namespace, domain)
	if q.from == "" {
		return r
	}
	r.From = "pod " + q.from
	elsewhere := pod.DNSPolicy == "Default" || pod.HostNetwork && pod.DNSPolicy != "ClusterFirstWithHostNet"
	switch {
	case pod.DNSPolicy == "None":
		r.Resolver = dns.Resolver{Ndots: 1}
		r.Notes = append(r.Notes, "dnsPolicy None: the pod asks the servers in its dnsConfig; the answers here are those that it gets if they are the cluster's")
	case elsewhere:
		r.Resolver = dns.Resolver{Ndots: 1}
		r.Notes = append(r.Notes, "the pod has its node's resolv.conf, and asks the cluster's DNS only if that names it: it is of dnsPolicy Default, or in its node's network without dnsPolicy ClusterFirstWithHostNet")
	default:
		r.Notes = append(r.Notes, "the node's resolv.conf can add to the search path; it is not known here")
	}
	for _, domain := range pod.Search {
		if domain = strings.TrimSuffix(domain, "."); !slices.Contains(r.Search, domain) {
			r.Search = append(r.Search, domain)
		}
	}
	if pod.Ndots != "" {
		n, err := strconv.Atoi(pod.Ndots)
		if err != nil || n < 0 {
			r.Notes = append(r.Notes, fmt.Sprintf("dnsConfig: ndots %q is no number; resolvers ignore it", pod.Ndots))
			return r
		}
		r.Ndots = min(n, 15) // the C library's RES_MAXNDOTS
	}
	return r
}

// remarks say what the steps do not.
func (l looked) remarks(c config.DNS) []string {
	var notes []string
	vain, last := 0, ""
	for _, s := range l.Steps {
		last = s.Name
	}
	for _, s := range l.Steps {
		if s.Name != last {
			vain++
		}
	}
	if vain > 0 {
		notes = append(notes, fmt.Sprintf("%d of %d questions are in vain, because of the search path; %s with the final dot asks for nothing else", vain, len(l.Steps), last))
	}
	for _, s := range l.Steps {
		if s.Result.Forward || s.Result.Chase != "" {
			to := "the servers in " + c.ResolvConf + " of the node's DNS server"
			if len(c.Upstreams) > 0 {
				var texts []string
				for _, u := range c.Upstreams {
					texts = append(texts, u.String())
				}
				to = strings.Join(texts, ", ")
			}
			return append(notes, "what is not the cluster's is asked from "+to)
		}
	}
	return notes
}

func (l looked) print(out io.Writer) error {
	fmt.Fprintf(out, "Asked by %s", l.From)
	if len(l.Search) > 0 {
		fmt.Fprintf(out, ", search %s, ndots %d", strings.Join(l.Search, " "), l.Ndots)
	}
	fmt.Fprintln(out)
	for i, s := range l.Steps {
		result := s.Result.Rcode.String()
		switch {
		case s.Result.Forward:
			result = "asked from other servers"
		case s.Result.Rcode == dns.NoError && len(s.Result.Answer) == 0:
			result += ", no data"
		}
		fmt.Fprintf(out, "\n%d. %s %s: %s\n", i+1, s.Name, s.Type, result)
		for _, why := range s.Why {
			fmt.Fprintf(out, "   %s\n", why)
		}
		for _, record := range s.Result.Answer {
			fmt.Fprintf(out, "   = %s\n", record)
		}
		for _, record := range s.Result.Additional {
			fmt.Fprintf(out, "   + %s\n", record)
		}
	}
	if len(l.Notes) > 0 {
		fmt.Fprintln(out)
	}
	for _, note := range l.Notes {
		if _, err := fmt.Fprintf(out, "Note: %s.\n", note); err != nil {
			return err
		}
	}
	return nil
}
