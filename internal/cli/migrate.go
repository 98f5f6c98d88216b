package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/fairlead-net/fairlead/internal/agent"
	"github.com/fairlead-net/fairlead/internal/config"
	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/kube"
	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/migrate"
)

func newMigrate() *cobra.Command {
	cmd := &cobra.Command{
		Use: "migrate", Short: "Say what becomes of what another program serves, once Fairlead takes over",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newMigrateNginx())
	return cmd
}

// nginxMigration is a run of `fairlead migrate ingress-nginx`.
type nginxMigration struct {
	source
	gateway bool
	to      migrate.Target
	all     bool
}

func newMigrateNginx() *cobra.Command {
	var m nginxMigration
	var out output
	cmd := &cobra.Command{
		Use:   "ingress-nginx",
		Short: "Report what of ingress-nginx's Ingresses moves as it is, what differs and what is refused",
		Long: `Report what of ingress-nginx's Ingresses moves as it is, what differs and what is
refused, with its ConfigMap and its command line; nothing is changed. It is worked
out by what gateways use themselves.

The exit status is 1 if something is refused. With --gateway-api the same Ingresses
are printed as objects of Gateway API, and what these cannot say on standard error.`,
		Example: "  fairlead migrate ingress-nginx\n  fairlead migrate ingress-nginx -f manifests/ -o json\n" +
			"  fairlead migrate ingress-nginx --gateway-api > gateway.yaml",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := m.check(cmd, out); err != nil {
				return err
			}
			in, err := m.read(cmd.Context())
			if err != nil {
				return err
			}
			report := migrate.Build(in)
			if m.gateway {
				return m.print(cmd, in, report.Summary)
			}
			text := func(w io.Writer) error { return printMigration(w, report, m.all) }
			if err := out.print(cmd.OutOrStdout(), report, text); err != nil {
				return err
			}
			return refused(report.Summary)
		},
	}
	cmd.Flags().BoolVar(&m.all, "all", false, "list the Ingresses that move as they are too, with all that they have")
	cmd.Flags().BoolVar(&m.gateway, "gateway-api", false, "print the equivalent objects of Gateway API as YAML instead")
	cmd.Flags().StringVar(&m.to.GatewayClass, "gateway-class", "fairlead", "class of the Gateways, with --gateway-api")
	cmd.Flags().StringVar(&m.to.Namespace, "gateway-namespace", "default", "namespace of the Gateways, with --gateway-api")
	m.addClusterFlags(cmd)
	cmd.Flags().StringVarP(&m.dir, "filename", "f", "", "read manifests from this folder instead of a cluster")
	out.addFlag(cmd)
	return cmd
}

// check finds flags that do not go together.
func (m *nginxMigration) check(cmd *cobra.Command, out output) error {
	changed := cmd.Flags().Changed
	switch {
	case m.gateway && changed("output") && out.format != "yaml":
		return usageError{errors.New("--gateway-api prints YAML; leave --output out")}
	case !m.gateway && (changed("gateway-class") || changed("gateway-namespace")):
		return usageError{errors.New("--gateway-class and --gateway-namespace go with --gateway-api")}
	}
	for _, f := range []struct{ name, value string }{{"gateway-class", m.to.GatewayClass}, {"gateway-namespace", m.to.Namespace}} {
		if len(validation.IsDNS1123Subdomain(f.value)) > 0 {
			return usageError{fmt.Errorf("--%s %q is no name of an object", f.name, f.value)}
		}
	}
	return nil
}

// print writes objects of Gateway API, and what they cannot say.
func (m *nginxMigration) print(cmd *cobra.Command, in migrate.Input, s migrate.Summary) error {
	all := in.Gateways(m.to)
	if err := migrate.Write(cmd.OutOrStdout(), all); err != nil {
		return err
	}
	for _, d := range all {
		for _, note := range d.Notes {
			fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", d.Name(), note)
		}
	}
	return refused(s)
}

// refused is the error of a report in which something is.
func refused(s migrate.Summary) error {
	var what []string
	if s.Refused > 0 {
		what = append(what, fmt.Sprintf("%d of %d Ingresses", s.Refused, s.Ingresses))
	}
	if s.Settings > 0 {
		what = append(what, fmt.Sprintf("%d settings", s.Settings))
	}
	if len(what) == 0 {
		return nil
	}
	return fmt.Errorf("%s would not be served as they are written; the report says why", strings.Join(what, " and "))
}

// read returns what the report is made of.
func (m *nginxMigration) read(ctx context.Context) (migrate.Input, error) {
	view, containers, data, err := m.objects(ctx)
	if err != nil {
		return migrate.Input{}, err
	}
	if view.Objects.Ingresses.Len() == 0 {
		return migrate.Input{}, m.nothing()
	}
	in := migrate.Input{Config: agent.L7Config(m.config), ConfigMaps: data, Controllers: containers}
	in.Config.IngressNginx = true
	if in.Config.Nginx == nil {
		in.Config.Nginx = migrate.Settings(containers, data)
	}
	if id, ok := migrate.DefaultCertificate(containers); ok && in.Config.DefaultCertificate == (l7.CertificateID{}) {
		in.Config.DefaultCertificate = id
	}
	in.State, _ = desired.Build(view.Objects, view.Node, nil)
	in.Table, in.Reasons = l7.Compile(in.State, l7.Table{}, in.Config)
	return in, nil
}

// nothing says that there is no Ingress.
func (m *nginxMigration) nothing() error {
	if m.dir == "" {
		return errors.New("the cluster has no Ingress, so there is nothing to migrate")
	}
	files := 0
	// A folder that cannot be read has been an error before.
	_ = fs.WalkDir(os.DirFS(m.dir), ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, path.Ext(name)) {
			files++
		}
		return err
	})
	if files == 0 {
		return fmt.Errorf("folder %s has no .yaml, .yml or .json file, so there is nothing to migrate", m.dir)
	}
	return fmt.Errorf("the manifests in %s have no Ingress, so there is nothing to migrate", m.dir)
}

// objects reads a folder, or a cluster.
func (m *nginxMigration) objects(ctx context.Context) (kube.View, []migrate.Controller, map[desired.Name]map[string]string, error) {
	data := map[desired.Name]map[string]string{}
	if m.dir != "" {
		m.config = config.Default()
		manifests, err := m.manifests()
		if err != nil {
			return kube.View{}, nil, nil, err
		}
		if classes := &manifests.Objects.IngressClasses; classes.Len() == 0 {
			*classes = classes.Set("nginx", &desired.IngressClass{Name: "nginx", Controller: l7.ControllerNginx})
		}
		for name, d := range manifests.Data.All() {
			if name.ConfigMap {
				data[name.Name] = texts(d)
			}
		}
		return kube.View{Objects: manifests.Objects}, controllers(manifests.Containers), data, nil
	}
	m.ingresses = true
	view, err := m.view(ctx)
	if err != nil {
		return view, nil, nil, err
	}
	client, err := m.client()
	if err != nil {
		return view, nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	containers, err := client.Containers(ctx)
	all := controllers(containers)
	if err == nil {
		var found map[desired.Name]*kube.Data
		found, err = client.ConfigMaps(ctx, slices.Collect(maps.Keys(migrate.ConfigMaps(all))))
		for name, d := range found {
			data[name] = texts(d)
		}
	}
	if err != nil {
		fmt.Fprintf(m.stderr(), "fairlead: settings of ingress-nginx are left out: %v\n", err)
	}
	return view, all, data, nil
}

func (m *nginxMigration) manifests() (kube.Manifests, error) {
	if info, err := os.Stat(m.dir); err != nil || !info.IsDir() {
		return kube.Manifests{}, notFolder(m.dir)
	}
	manifests, err := kube.ReadManifests(os.DirFS(m.dir))
	if err != nil {
		return manifests, fmt.Errorf("manifests in %s: %w", m.dir, err)
	}
	return manifests, nil
}

func texts(d *kube.Data) map[string]string {
	all := map[string]string{}
	for key, value := range d.Keys {
		all[key] = string(value)
	}
	return all
}

// controllers are the containers that run ingress-nginx.
func controllers(of []kube.Container) []migrate.Controller {
	var all []migrate.Controller
	for _, c := range of {
		if migrate.IsController(c.Image, c.Args) {
			all = append(all, migrate.Controller{Owner: c.Owner, Args: c.Args})
		}
	}
	return all
}

func printMigration(out io.Writer, r migrate.Report, all bool) error {
	s := r.Summary
	fmt.Fprintf(out, "Ingresses of ingress-nginx: %d; as they are: %d, differ: %d, refused: %d\n", s.Ingresses, s.Same, s.Differ, s.Refused)
	if s.Settings > 0 {
		fmt.Fprintf(out, "Settings of ingress-nginx that are refused: %d\n", s.Settings)
	}
	if len(r.Others) > 0 {
		fmt.Fprintf(out, "Ingresses that are not of its classes: %d\n", len(r.Others))
	}
	for _, v := range []migrate.Verdict{migrate.Refused, migrate.Differs, migrate.Same} {
		for _, i := range r.Ingresses {
			if i.Verdict == v && (all || v != migrate.Same || len(i.Hidden)+len(i.Problems) > 0) {
				if err := printMigrated(out, i, all); err != nil {
					return err
				}
			}
		}
	}
	for _, o := range r.Settings {
		if err := printFindings(out, o.Object.String(), o.Findings, all); err != nil {
			return err
		}
	}
	for _, o := range r.Others {
		fmt.Fprintf(out, "\n%s is not of ingress-nginx: %s\n", o.Source, o.Why)
	}
	for _, list := range []struct {
		title string
		lines []string
	}{{"For all of them", r.Always}, {"Next", r.Next}} {
		if len(list.lines) > 0 {
			fmt.Fprintf(out, "\n%s:\n", list.title)
		}
		for n, line := range list.lines {
			fmt.Fprintf(out, "  %d. %s\n", n+1, line)
		}
	}
	return nil
}

func printMigrated(out io.Writer, i migrate.Ingress, all bool) error {
	fmt.Fprintf(out, "\nIngress %s/%s: %s\n", i.Namespace, i.Name, i.Verdict)
	if err := printFindings(out, "", append(slices.Clone(i.Annotations), i.Problems...), all); err != nil {
		return err
	}
	for _, line := range i.Hidden {
		fmt.Fprintf(out, "  hidden   %s\n", line)
	}
	return nil
}

// printFindings lists those that are not as they were; or all.
func printFindings(out io.Writer, title string, findings []migrate.Finding, all bool) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	titled := false
	for _, f := range findings {
		if f.Verdict == migrate.Same && !all {
			continue
		}
		if !titled && title != "" {
			fmt.Fprintf(out, "\n%s\n", title)
		}
		titled = true
		fmt.Fprintf(w, "  %s\t%s\t%s\n", f.Verdict, setting(f), f.Text)
	}
	return w.Flush()
}

// setting returns a name with its value, if that is short and of one line.
func setting(f migrate.Finding) string {
	if f.Value == "" || len(f.Value) > 60 || strings.ContainsAny(f.Value, "\r\n\t\x1b") {
		return f.What
	}
	return f.What + "=" + f.Value
}
