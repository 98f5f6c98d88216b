package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead-net/fairlead/internal/dns/server"
	"github.com/fairlead-net/fairlead/internal/kube"
)

// topped is what `fairlead dns top` prints.
type topped struct {
	Servers int `json:"servers"`
	// Seconds is how long the servers have counted, at most.
	Seconds  int                `json:"seconds"`
	Queries  uint64             `json:"queries"`
	Failed   uint64             `json:"failed"`
	Searched uint64             `json:"searched"`
	Names    []server.TopName   `json:"names"`
	Failures []server.TopName   `json:"failures"`
	Searches []server.TopSearch `json:"searches"`
	// Problems say which servers are left out, and why.
	Problems []string `json:"problems,omitempty"`
}

func newTop() *cobra.Command {
	var from source
	var out output
	var most int
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Show the names that are asked most, those that fail, and what search paths cost",
		Long: `Show the names that the cluster's DNS servers are asked most, the names that
fail, and what pods look up along their search paths in vain.

It is what the servers have counted in the last five to ten minutes. The
numbers are estimates: a busy server looks at some queries only.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if most < 1 {
				return usageError{errors.New("--number: show at least 1")}
			}
			client, err := from.client()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), 30*time.Second)
			defer cancel()
			servers, err := client.AskComponent(ctx, "dns", "dns/top")
			if err != nil {
				return err
			}
			all := mergeTop(servers, time.Now())
			if all.Servers == 0 {
				return errors.Join(errors.New("no DNS server of Fairlead says what it was asked; see: fairlead status"), problems(all.Problems))
			}
			all.cut(most)
			return out.print(cmd.OutOrStdout(), all, all.print)
		},
	}
	cmd.Flags().IntVarP(&most, "number", "n", 10, "how many names to show of each kind")
	from.addClusterFlags(cmd)
	out.addFlag(cmd)
	return cmd
}

// problems makes an error of texts.
func problems(texts []string) error {
	var all []error
	for _, text := range texts {
		all = append(all, errors.New(text))
	}
	return errors.Join(all...)
}

// mergeTop adds up what servers say.
func mergeTop(servers []kube.Process, now time.Time) topped {
	var all topped
	names, searches := map[server.TopName]server.TopName{}, map[server.TopSearch]server.TopSearch{}
	for _, p := range servers {
		var one server.Top
		problem := p.Problem
		if problem == "" {
			if err := json.Unmarshal(p.Answer, &one); err != nil {
				problem = "what it says is not readable (is it of another version?): " + err.Error()
			}
		}
		if problem != "" {
			all.Problems = append(all.Problems, fmt.Sprintf("the DNS server of node %s is left out: %s", p.Node, problem))
			continue
		}
		all.Servers++
		all.Seconds = max(all.Seconds, int(now.Sub(one.Since).Seconds()))
		all.Queries, all.Failed, all.Searched = all.Queries+one.Queries, all.Failed+one.Failed, all.Searched+one.Searched
		for _, n := range one.Names {
			key := server.TopName{Name: n.Name, Type: n.Type, Rcode: n.Rcode}
			sum := names[key]
			n.Queries, n.Over, n.Searched = n.Queries+sum.Queries, n.Over+sum.Over, n.Searched || sum.Searched
			names[key] = n
		}
		for _, s := range one.Searches {
			key := server.TopSearch{Name: s.Name, Namespace: s.Namespace}
			sum := searches[key]
			s.Queries, s.Over = s.Queries+sum.Queries, s.Over+sum.Over
			searches[key] = s
		}
	}
	all.Names, all.Failures, all.Searches = []server.TopName{}, []server.TopName{}, []server.TopSearch{}
	for _, n := range names {
		all.Names = append(all.Names, n)
		if n.Rcode != "NOERROR" && !n.Searched {
			all.Failures = append(all.Failures, n)
		}
	}
	for _, s := range searches {
		all.Searches = append(all.Searches, s)
	}
	return all
}

// cut sorts everything and keeps so many of each kind.
func (t *topped) cut(most int) {
	for _, list := range []*[]server.TopName{&t.Names, &t.Failures} {
		slices.SortFunc(*list, func(a, b server.TopName) int {
			return cmp.Or(cmp.Compare(b.Queries, a.Queries), strings.Compare(a.Name, b.Name), strings.Compare(a.Type, b.Type), strings.Compare(a.Rcode, b.Rcode))
		})
		*list = (*list)[:min(most, len(*list))]
	}
	slices.SortFunc(t.Searches, func(a, b server.TopSearch) int {
		return cmp.Or(cmp.Compare(b.Queries, a.Queries), strings.Compare(a.Name, b.Name), strings.Compare(a.Namespace, b.Namespace))
	})
	t.Searches = t.Searches[:min(most, len(t.Searches))]
}

// share returns which part of all queries so many are.
func (t topped) share(queries uint64) string {
	return fmt.Sprintf("%.1f %%", 100*float64(queries)/float64(max(t.Queries, 1)))
}

func (t topped) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintf(w, "%d DNS servers, %d queries in the last %s; %s failed, %s were in vain because of search paths\n",
		t.Servers, t.Queries, time.Duration(t.Seconds)*time.Second, t.share(t.Failed), t.share(t.Searched))
	table := func(title string, names []server.TopName) {
		if len(names) == 0 {
			return
		}
		fmt.Fprintf(w, "\n%s\tTYPE\tANSWER\tQUERIES\tSHARE\n", title)
		for _, n := range names {
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\n", n.Name, n.Type, n.Rcode, n.Queries, t.share(n.Queries))
		}
	}
	table("ASKED MOST", t.Names)
	table("FAILING", t.Failures)
	if len(t.Searches) > 0 {
		fmt.Fprintln(w, "\nLOOKED UP IN VAIN\tBY PODS OF\tQUERIES\tSHARE")
	}
	for _, s := range t.Searches {
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\n", s.Name, cmp.Or(s.Namespace, "any namespace"), s.Queries, t.share(s.Queries))
	}
	if len(t.Searches) > 0 {
		fmt.Fprintf(w, "\nPrograms that write the final dot (%s.) ask for nothing else; neither do pods with a lower ndots, for\n"+
			"names with that many dots:  dnsConfig: {options: [{name: ndots, value: \"1\"}]}\n", t.Searches[0].Name)
	}
	if len(t.Problems) > 0 {
		fmt.Fprintln(w)
	}
	for _, problem := range t.Problems {
		fmt.Fprintln(w, problem)
	}
	return w.Flush()
}
