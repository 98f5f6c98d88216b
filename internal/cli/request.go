package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/fairlead-net/fairlead/internal/agent"
	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7"
)

// explainedRequest is the result of `fairlead explain request`.
type explainedRequest struct {
	Method string `json:"method"`
	Host   string `json:"host"`
	// Path is what rules are compared with, Sent what a backend gets.
	Path string `json:"path"`
	Sent string `json:"sent"`
	l7.Explanation
	Reasons []desired.Reason `json:"reasons,omitempty"`
}

// asked is what the command line asks.
type asked struct {
	source
	headers []string
}

func newExplainRequest() *cobra.Command {
	var a asked
	var out output
	cmd := &cobra.Command{
		Use:   "request METHOD URL",
		Short: "Show which rule of which Ingress takes a request, and why the others do not",
		Long: `Show which rule of which Ingress takes a request, and why the others do not.

URL is http:// or https:// with a host and a path; nothing is sent to it. It is
worked out from the objects, by what gateways use themselves.`,
		Example: "  fairlead explain request GET https://shop.example.com/cart\n" +
			"  fairlead explain request POST http://shop.example.com/api -H 'X-Canary: always' -f manifests/",
		Args: exactly("METHOD", "URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			result, err := a.run(cmd.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			return out.print(cmd.OutOrStdout(), result, result.print)
		},
	}
	// A value may have commas, so this is no list with commas between.
	cmd.Flags().StringArrayVarP(&a.headers, "header", "H", nil, "a header of the request, 'NAME: VALUE'; can be given several times")
	cmd.Flags().BoolVar(&a.nginx, "ingress-nginx", false, "also serve the classes of ingress-nginx, with -f (a cluster's configuration says it: migration.ingressNginx)")
	a.addFlags(cmd)
	out.addFlag(cmd)
	return cmd
}

func (a *asked) run(ctx context.Context, method, address string) (explainedRequest, error) {
	result, listener, q, err := a.read(method, address)
	if err != nil {
		return explainedRequest{}, err
	}
	if a.nginx && a.dir == "" {
		return explainedRequest{}, usageError{errors.New("--ingress-nginx goes with -f; a cluster's configuration says it")}
	}
	a.ingresses = true
	view, err := a.view(ctx)
	if err != nil {
		return explainedRequest{}, err
	}
	a.config.Migration.IngressNginx = a.config.Migration.IngressNginx || a.nginx
	config := agent.L7Config(a.config)
	state, _ := desired.Build(view.Objects, view.Node, nil)
	table, reasons := l7.Compile(state, l7.Table{}, config)
	result.Explanation, _ = table.Explain(listener, q)
	involved := map[desired.Ref]bool{}
	for _, r := range result.Rules {
		involved[r.Source] = true
	}
	for _, r := range reasons {
		if involved[r.Object] {
			result.Reasons = append(result.Reasons, r)
		}
	}
	return result, nil
}

// read makes a request of the command line, as a gateway would of what it receives.
func (a *asked) read(method, address string) (explainedRequest, string, l7.Request, error) {
	wrong := func(format string, args ...any) (explainedRequest, string, l7.Request, error) {
		return explainedRequest{}, "", l7.Request{}, usageError{fmt.Errorf(format, args...)}
	}
	listener, rest, _ := strings.Cut(address, "://")
	if listener != l7.ListenerHTTP && listener != l7.ListenerHTTPS {
		return wrong("%q does not begin with http:// or https://", address)
	}
	authority, target := rest, ""
	if at := strings.IndexAny(rest, "/?#"); at >= 0 {
		authority, target = rest[:at], rest[at:]
	}
	target, _, _ = strings.Cut(target, "#") // clients keep it to themselves
	path, query, _ := strings.Cut(target, "?")
	u, err := url.Parse("//" + authority)
	if err != nil || u.Hostname() == "" {
		return wrong("%q has no host", address)
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	match, wire, err := l7.Normalize(path)
	if err != nil {
		return wrong("a gateway answers this with 400: %v", err)
	}
	q := l7.Request{Method: method, Host: host, Path: match, Query: query}
	for _, text := range a.headers {
		name, value, ok := strings.Cut(text, ":")
		if !ok || strings.TrimSpace(name) == "" {
			return wrong("--header %q is not of the form NAME: VALUE", text)
		}
		q.Header = append(q.Header, l7.Field{Name: strings.ToLower(strings.TrimSpace(name)), Value: strings.TrimSpace(value)})
	}
	if query != "" {
		wire += "?" + query
	}
	return explainedRequest{Method: method, Host: host, Path: match, Sent: wire}, listener, q, nil
}

// shown is how many rules that do not take a request are shown of many.
const shown = 20

func (e explainedRequest) print(out io.Writer) error {
	host := e.Host
	if address, err := netip.ParseAddr(host); err == nil && address.Is6() {
		host = "[" + host + "]"
	}
	fmt.Fprintf(out, "%s %s://%s%s: %s\n", e.Method, e.Listener, host, e.Sent, e.Answer)
	if e.Certificate != "" {
		fmt.Fprintf(out, "certificate: %s\n", e.Certificate)
	}
	for _, b := range e.Backends {
		fmt.Fprintf(out, "%.4g%% to %s: %s\n", b.Share, b.Backend, strings.Join(nonEmpty(append(b.Endpoints, b.Note, b.Balance)...), ", "))
	}
	for _, line := range e.Filters {
		fmt.Fprintf(out, "%s\n", line)
	}
	entry := "no host"
	if e.Explanation.Host != "" {
		entry = "host " + e.Explanation.Host
	}
	fmt.Fprintf(out, "\n%s: %s\n", entry, e.Why)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	rest, left := shown, 0
	for _, r := range e.Rules {
		mark := "  no "
		switch {
		case r.Wins:
			mark = "  yes"
		case !r.Matches && rest == 0:
			left++
			continue
		case !r.Matches:
			rest--
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s %s\t%s\n", mark, r.Type, r.Path, r.Source, r.Rule, r.Why)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if left > 0 {
		fmt.Fprintf(out, "  and %d more rules of this host that do not take it; -o json shows them\n", left)
	}
	for _, u := range e.Unserved {
		fmt.Fprintf(out, "\n%s has rules for this host, but is not served: %s\n", u.Source, u.Why)
	}
	for _, reason := range e.Reasons {
		if _, err := fmt.Fprintf(out, "\n%s: %s: %s\n", reason.Object, reason.Code, reason.Message); err != nil {
			return err
		}
	}
	return nil
}
