// Package compile shows what every plane of a node would get, without a cluster
// and without touching anything.
//
// In go the objects and the node; out comes a Result that prints as a table,
// JSON or YAML and is in a fixed order, so that two Results can be compared
// line by line. The same functions compile it that run on a node.
package compile

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/dns"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// Result is what every plane would get.
type Result struct {
	Node    desired.Node     `json:"node"`
	LB      []LB             `json:"lb"`
	DNS     []string         `json:"dns"`
	Reasons []desired.Reason `json:"reasons,omitempty"`
}

// LB is one entry of the load-balancing table.
type LB struct {
	Frontend string     `json:"frontend"`
	Service  string     `json:"service"`
	Port     string     `json:"port,omitempty"`
	Verdict  lb.Verdict `json:"verdict"`
	Affinity string     `json:"affinity,omitempty"`
	Backends []string   `json:"backends,omitempty"`
	// From is outside where this is for clients outside the cluster only.
	From    lb.Place `json:"from,omitempty"`
	Sources []string `json:"sources,omitempty"`
}

// All compiles o as seen from node n for every plane.
func All(o desired.Objects, n desired.Node, options lb.Options, config dns.Config) Result {
	state, _ := desired.Build(o, n, nil)
	table, lbReasons := lb.Compile(state, lb.Table{}, options)
	zone, dnsReasons := dns.Compile(state, dns.Table{}, config)
	r := Result{Node: n, LB: entries(table), DNS: records(state, zone), Reasons: slices.Concat(lbReasons, dnsReasons)}
	for _, status := range state.Statuses.All() {
		r.Reasons = append(r.Reasons, status.Reasons...)
	}
	slices.SortFunc(r.Reasons, func(a, b desired.Reason) int { return strings.Compare(line(a), line(b)) })
	return r
}

func line(r desired.Reason) string { return r.Object.String() + " " + r.Code + " " + r.Message }

func entries(t lb.Table) []LB {
	var frontends []lb.Frontend
	for f := range t.Entries.All() {
		frontends = append(frontends, f)
	}
	slices.SortFunc(frontends, lb.Frontend.Compare)
	all := make([]LB, 0, len(frontends))
	for _, f := range frontends {
		entry, _ := t.Entries.Get(f)
		all = append(all, row(f, entry, entry.Choice))
		if entry.Outside != nil {
			outside := row(f, entry, *entry.Outside)
			outside.From = lb.Outside
			all = append(all, outside)
		}
	}
	return all
}

func row(f lb.Frontend, entry *lb.Entry, choice lb.Choice) LB {
	e := LB{Frontend: f.String(), Service: entry.Service.String(), Port: entry.Port, Verdict: choice.Verdict()}
	if entry.Affinity > 0 {
		e.Affinity = entry.Affinity.String()
	}
	for _, backend := range choice.Backends {
		e.Backends = append(e.Backends, backend.String())
	}
	for _, prefix := range entry.Sources {
		e.Sources = append(e.Sources, prefix.String())
	}
	return e
}

// Print writes the Result for people to read.
func (r Result) Print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "lb")
	for _, e := range r.LB {
		service := e.Service
		if e.Port != "" {
			service += ":" + e.Port
		}
		detail := strings.Join(e.Backends, " ")
		if e.Affinity != "" {
			detail += " affinity " + e.Affinity
		}
		if len(e.Sources) > 0 {
			detail += " for " + strings.Join(e.Sources, " ")
		}
		if e.From != "" {
			detail += " from " + string(e.From)
		}
		row := []string{"  " + e.Frontend, service, string(e.Verdict)}
		if detail != "" {
			row = append(row, strings.TrimSpace(detail))
		}
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	fmt.Fprintln(w, "dns")
	for _, record := range r.DNS {
		fmt.Fprintf(w, "  %s\n", record)
	}
	fmt.Fprintln(w, "reasons")
	for _, reason := range r.Reasons {
		fmt.Fprintf(w, "  %s: %s: %s\n", reason.Object, reason.Code, reason.Message)
	}
	return w.Flush()
}
