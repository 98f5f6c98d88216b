package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/fairlead-net/fairlead/internal/agent"
	"github.com/fairlead-net/fairlead/internal/config"
	"github.com/fairlead-net/fairlead/internal/dns/corefile"
	"github.com/fairlead-net/fairlead/internal/dns/rules"
)

// imported is what `fairlead dns import-corefile` prints.
type imported struct {
	Servers  []importedServer   `json:"servers"`
	Problems []corefile.Problem `json:"problems"`
	// Settings are the sections of fairlead.yaml that correspond to the Corefile.
	Settings corefile.Settings `json:"settings"`
}

// importedServer is one server block.
type importedServer struct {
	corefile.Position
	Keys       []string            `json:"keys"`
	Directives []importedDirective `json:"directives"`
}

// importedDirective is one directive and what it means in Fairlead.
type importedDirective struct {
	corefile.Position
	Directive string   `json:"directive"`
	Effect    string   `json:"effect"`
	Notes     []string `json:"notes,omitempty"`
}

func newDNS() *cobra.Command {
	cmd := &cobra.Command{
		Use: "dns", Short: "Questions about cluster DNS",
		Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newImportCorefile(), newQuery(), newTop())
	return cmd
}

func newImportCorefile() *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "import-corefile FILE",
		Short: "Say what a Corefile of CoreDNS means in Fairlead, and what of it is not supported; no cluster needed",
		Example: `  kubectl -n kube-system get configmap coredns -o jsonpath='{.data.Corefile}' | fairlead dns import-corefile -
  fairlead dns import-corefile Corefile -o yaml`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			source, err := readCorefile(cmd.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			result := importCorefile(source, corefile.Surroundings{Env: os.LookupEnv, Files: agent.BesideCorefile(args[0])}, func(name string) ([]byte, error) {
				file, err := agent.ReadCorefile(filepath.Join(filepath.Dir(args[0]), filepath.Base(name)))
				return []byte(file.Text), err
			})
			if err := out.print(cmd.OutOrStdout(), result, result.print); err != nil {
				return err
			}
			if n := len(result.Problems); n > 0 {
				return fmt.Errorf("%s is not followed to the letter; problems: %d", source.Name, n)
			}
			return nil
		},
	}
	out.addFlag(cmd)
	return cmd
}

// readCorefile reads a file, or standard input for "-".
func readCorefile(in io.Reader, name string) (corefile.Source, error) {
	if name == "-" {
		content, err := io.ReadAll(io.LimitReader(in, 1<<20+1)) // a byte more than the parser takes
		return corefile.Source{Name: "Corefile", Text: string(content)}, err
	}
	return agent.ReadCorefile(name)
}

// importCorefile says what a Corefile means in Fairlead. Files that it names lie beside
// it.
func importCorefile(source corefile.Source, around corefile.Surroundings, beside rules.Files) imported {
	result := imported{Servers: []importedServer{}, Problems: []corefile.Problem{}}
	file, problem := corefile.Parse(source, around)
	if problem != nil {
		result.Problems = append(result.Problems, *problem)
		return result
	}
	said, problems := corefile.Read(file)
	for _, s := range said.Servers {
		row := importedServer{Position: s.Position, Keys: []string{}, Directives: []importedDirective{}}
		for _, k := range s.Keys {
			row.Keys = append(row.Keys, k.String())
		}
		for _, d := range s.Directives {
			row.Directives = append(row.Directives, importedDirective{d.Position, d.Text, d.Effect(), d.Notes})
		}
		result.Servers = append(result.Servers, row)
	}
	result.Problems = append(append(result.Problems, problems...), agent.Unfollowed(said, beside)...)
	result.Settings = said.Settings()
	if err := agent.CheckCorefile(said, rightsFor(result.Settings)); err != nil {
		result.Problems = append(result.Problems, corefile.Problem{
			Position: corefile.Position{File: source.Name, Line: 1}, Kind: corefile.Mistake, Message: "the file would not be followed: " + err.Error(),
		})
	}
	return result
}

// rightsFor is a configuration that gives the rights which settings need.
func rightsFor(settings corefile.Settings) config.Config {
	own := config.Default()
	own.DNS.MulticlusterZones = settings.DNS.MulticlusterZones
	if settings.DNS.Pods != "" {
		own.DNS.Pods = settings.DNS.Pods
	}
	return own
}

func (r imported) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	for _, s := range r.Servers {
		fmt.Fprintf(w, "SERVER %s\n", strings.Join(s.Keys, ", "))
		for _, d := range s.Directives {
			fmt.Fprintf(w, "  %s\t%s\n", d.Directive, strings.Join(slices.Concat([]string{d.Effect}, d.Notes), "; "))
		}
		fmt.Fprintln(w)
	}
	if len(r.Servers) > 0 {
		settings, err := yaml.Marshal(r.Settings)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "FAIRLEAD.YAML\n%s\n", settings)
	}
	if len(r.Problems) == 0 {
		fmt.Fprintln(w, "All of it is understood and supported.")
	} else {
		fmt.Fprintln(w, "PROBLEMS")
	}
	for _, p := range r.Problems {
		fmt.Fprintf(w, "%s: %s\n", p.Position, p.Message)
	}
	return w.Flush()
}
